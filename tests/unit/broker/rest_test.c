/* SPDX-License-Identifier: Apache-2.0 */
/* What a session takes of memory while its client is away, of which there may be a million. */
#include <criterion/criterion.h>
#include <stddef.h>

#include "broker/config/config.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_disk.h"

#define LASTING TERMS(.session_expiry_s = UINT32_MAX)
#define SILENT  TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 1, .silent = true)

static struct fake_disk disk;
static struct fake_node *n;

static void begin(void)
{
    fake_disk_begin(&disk);
    n = fake_disk_again(&disk, 1,
                        SETTINGS("limits.session_expiry_max_s=4294967295",
                                 "limits.session_queue_messages_max=100",
                                 "data.checkpoint_interval_s=1"));
}

static struct session *session_of(const char *id)
{
    struct session *const session = session_find(fake_node_enter(n, 0), bytes_text(id));
    cr_assert_not_null(session);
    return session;
}

static void leave(struct fake_client *c)
{
    client_reset(c);
    fake_node_settle(n);
}

static void publish(const char *topic, unsigned count, bool retain)
{
    struct fake_client *const c = client_connect(n, 0, "", TERMS(.clean_start = true));
    for (unsigned i = 0; i < count; i++) {
        client_send_publish(c, SAY(.topic = topic, .payload = "x", .qos = 1, .retain = retain));
        fake_node_settle(n);
    }
    leave(c);
}

static void expect_nothing(const struct session *session)
{
    cr_expect_null(session->conn);
    cr_expect_null(session->out.ring);
    cr_expect_null(session->pending);
    cr_expect_null(session->kept->gate);
}

/* With 22 bytes of identifier, what the allocator gives for these is 192, 64, and 48 bytes. */
Test(rest, so_much_it_takes)
{
    cr_expect_leq(offsetof(struct session, client_id) + 22, 192);
    cr_expect_leq(sizeof(struct kept), 64);
    cr_expect_leq(sizeof(struct backlog), 48);
}

Test(rest, what_was_there_for_the_client_goes_with_it)
{
    begin();
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    const struct session *const me = session_of("me");
    cr_expect_not_null(me->kept->gate);
    client_subscribe(c, "t", 1);
    publish("t", 1, false);
    cr_expect_str_eq(client_heard(c), "t=x/1");
    client_say(c, "u", "x", 2);
    fake_node_settle(n);
    cr_expect_not_null(client_take(c, MQTT_PUBCOMP));
    cr_expect_not_null(me->out.ring);
    cr_expect_not_null(me->pending);
    leave(c);
    expect_nothing(me);

    c = client_connect(n, 0, "me", LASTING);
    publish("t", 1, false);
    cr_expect_str_eq(client_heard(c), "t=x/1");
    leave(c);
    fake_disk_end(&disk);
}

Test(rest, what_is_not_finished_stays_until_it_is)
{
    begin();
    struct fake_client *c = client_connect(n, 0, "me", SILENT);
    client_subscribe(c, "t", 1);
    const struct session *const me = session_of("me");
    const uint16_t packet_id = client_say(c, "u", "x", 2);
    fake_node_settle(n);
    publish("t", 1, false);
    leave(c);
    cr_expect(session_has_received(me, packet_id));
    cr_expect_not(outqueue_is_empty(&me->out));

    c = client_connect(n, 0, "me", LASTING);
    cr_expect_str_eq(client_heard(c), "t=x/1d");
    client_send_ack(c, MQTT_PUBREL, packet_id, 0);
    const struct got *const g = client_take(c, MQTT_PUBCOMP);
    cr_assert_not_null(g);
    cr_expect_eq(g->reason, 0);
    leave(c);
    expect_nothing(me);
    fake_disk_end(&disk);
}

Test(rest, retained_messages_are_still_owed)
{
    begin();
    publish("t/1", 1, true);
    publish("t/2", 1, true);
    struct fake_client *c = client_connect(n, 0, "me", SILENT);
    client_subscribe(c, "t/#", 1);
    const struct session *const me = session_of("me");
    leave(c);
    c = client_connect(n, 0, "me", LASTING);
    cr_expect_str_eq(client_heard(c), "t/1=x/1rd t/2=x/1r");
    leave(c);
    expect_nothing(me);
    fake_disk_end(&disk);
}

/* The answer came to a session that had nothing any more to note it in. */
Test(rest, a_retained_message_may_be_stored_when_its_client_has_gone)
{
    begin();
    struct fake_client *const c = client_connect(n, 0, "me", LASTING);
    const struct session *const me = session_of("me");
    fake_disk_hold(&disk, true);
    client_send_publish(c, SAY(.topic = "t", .payload = "x", .qos = 1, .retain = true));
    fake_node_settle(n);
    client_reset(c);
    fake_node_settle(n);
    cr_assert_not_null(me->pending);
    cr_expect_not_null(me->pending->retaining);
    fake_disk_hold(&disk, false);
    fake_node_settle(n);
    expect_nothing(me);
    fake_disk_end(&disk);
}

/* Its numbers go on, and with them the packet identifiers. */
Test(rest, a_queue_that_is_on_disk_takes_what_says_so)
{
    begin();
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    client_subscribe(c, "t", 1);
    publish("t", 3, false);
    (void)client_heard(c);
    leave(c);
    publish("t", 20, false);
    fake_node_advance(n, 3000);
    const struct session *const me = session_of("me");
    expect_nothing(me);
    cr_assert_not_null(me->kept->backlog);
    cr_expect_null(me->kept->backlog->after);
    cr_expect_eq(me->kept->backlog->count, 20);
    c = client_connect(n, 0, "me", LASTING);
    const struct got *const g = client_take(c, MQTT_PUBLISH);
    cr_assert_not_null(g);
    cr_expect_eq(g->packet_id, 4);
    cr_expect_eq(client_heard_count(c), 19);
    leave(c);
    expect_nothing(me);
    fake_disk_end(&disk);
}

/* What was dropped is written later than it is done. The next process takes what was sent for the
 * first of the queue: so nothing is sent before that is on disk. */
Test(rest, nothing_is_sent_before_what_came_to_pass_meanwhile_is_on_disk)
{
    begin();
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    client_subscribe(c, "t", 1);
    leave(c);
    fake_disk_hold(&disk, true);
    publish("t", 300, false);
    c = client_open(n, 0);
    c->version = MQTT_V5;
    client_send_connect(c, "me", SILENT);
    fake_node_settle(n);
    const struct session *const me = session_of("me");
    cr_assert_not_null(me->conn);
    cr_expect_eq(outqueue_in_flight(&me->out), 0);
    fake_disk_hold(&disk, false);
    fake_node_settle(n);
    cr_expect_eq(outqueue_in_flight(&me->out), 1);
    cr_expect_not_null(client_take(c, MQTT_PUBLISH));
    fake_disk_end(&disk);
}
