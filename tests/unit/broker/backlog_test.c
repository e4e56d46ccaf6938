/* SPDX-License-Identifier: Apache-2.0 */
/* Queues whose middle is on disk only, at their bounds; crowd_kept_test.c has short ones. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/config/config.h"
#include "broker/message.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/capture.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_disk.h"

#define LASTING TERMS(.session_expiry_s = UINT32_MAX)

static struct fake_disk disk;
static struct fake_node *n;

static void open_disk(void)
{
    n = fake_disk_again(&disk, 1,
                        SETTINGS("limits.session_expiry_max_s=4294967295",
                                 "limits.packet_bytes_max=65536", "limits.inflight_max=50",
                                 "data.checkpoint_interval_s=5",
                                 "data.journal_segment_bytes=1MiB"));
}

static void begin(void)
{
    fake_disk_begin(&disk);
    open_disk();
}

/* A session that has this subscription, and nobody is connected to it. */
static void subscribe_and_leave(const char *id, const char *filter)
{
    struct fake_client *c = client_connect(n, 0, id, LASTING);
    client_subscribe(c, filter, 1);
    client_reset(c);
    fake_node_settle(n);
}

/* Payloads are numbers, from `first` on. */
static void publish_numbers(const char *topic, unsigned first, unsigned end, size_t payload_len)
{
    struct fake_client *c = client_connect(n, 0, "publisher", TERMS(.clean_start = true));
    for (unsigned i = first; i < end; i++) {
        char number[16];
        snprintf(number, sizeof number, "%06u", i);
        client_send_publish(
            c, SAY(.topic = topic, .payload = number, .payload_len = payload_len, .qos = 1));
        cr_assert_not_null(client_take(c, MQTT_PUBACK));
    }
}

static void make_checkpoint(void)
{
    fake_node_advance(n, 6000);
    cr_expect_eq(n->node->shards[0]->capture->state, CAPTURE_IDLE);
}

static struct session *session_of(const char *id)
{
    struct session *const session = session_find(fake_node_enter(n, 0), bytes_text(id));
    cr_assert_not_null(session);
    return session;
}

/* Takes so many, which have to be the next ones; the first of all is not acknowledged. */
static void take_numbers(struct fake_client *c, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        const struct got *const g = client_take(c, MQTT_PUBLISH);
        cr_assert_not_null(g);
        cr_assert_eq(strtoul(g->payload, NULL, 10), i);
        if (i > 0) {
            client_send_ack(c, MQTT_PUBACK, g->packet_id, 0);
        }
    }
}

/* Its messages came back from the disk as long as it had fewer than 256 of them, however large. */
Test(backlog, who_does_not_take_what_is_large_has_little_of_it_in_memory)
{
    begin();
    subscribe_and_leave("me", "t");
    publish_numbers("t", 0, 200, 50000);
    make_checkpoint();
    cr_expect_eq(n->node->deliveries_on_disk, 200);
    struct fake_client *c = client_connect(
        n, 0, "me", TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 2, .silent = true));
    fake_node_settle(n);
    cr_expect_lt(outqueue_waiting_bytes(&session_of("me")->out), 5 * BACKLOG_PART_BYTES + 60000);
    take_numbers(c, 0, 200);
    cr_expect_eq(n->node->deliveries_on_disk, 0);
    fake_disk_end(&disk);
}

/* It ran after a queue that grew by more than was taken in a turn, until there was no memory left.
 */
Test(backlog, a_checkpoint_has_an_end_however_much_comes)
{
    enum { TURNS = 24, AT_ONCE = 400 };
    begin();
    subscribe_and_leave("me", "t");
    struct fake_client *c =
        client_connect(n, 0, "publisher", TERMS(.clean_start = true, .silent = true));
    for (unsigned turn = 0; turn < TURNS; turn++) { /* 5 MB: one is due after half of them */
        for (unsigned i = 0; i < AT_ONCE; i++) {
            client_send_publish(c, SAY(.topic = "t", .payload = "x", .payload_len = 500, .qos = 1));
        }
        fake_node_step(n, 0);
    }
    cr_expect_gt(session_of("me")->kept->stored_end, 0);
    cr_expect_neq(n->node->shards[0]->capture->state, CAPTURE_COLLECTING);
    fake_node_settle(n);
    make_checkpoint();
    make_checkpoint();
    cr_expect_eq(n->node->deliveries_on_disk, TURNS * AT_ONCE);
    fake_disk_end(&disk);
}

/* It had 2,048 messages in memory, however large, when there was none left for others. */
Test(backlog, who_is_there_and_takes_nothing_has_what_is_large_on_disk)
{
    begin();
    struct fake_client *c = client_connect(
        n, 0, "me", TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 2, .silent = true));
    client_subscribe(c, "t", 1);
    publish_numbers("t", 0, 100, 50000);
    make_checkpoint();
    cr_expect_eq(n->node->deliveries_on_disk, 0, "there is enough");
    n->config->limits.message_memory_max = 8u << 20;
    publish_numbers("t", 100, 101, 50000);
    make_checkpoint();
    cr_expect_gt(n->node->deliveries_on_disk, 70);
    cr_expect_gt(outqueue_waiting(&session_of("me")->out), 10);
    publish_numbers("t", 101, 110, 50000);
    take_numbers(c, 0, 110);
    fake_disk_end(&disk);
}

/* While memory is full there is no reading ahead, and yet all of it comes. */
Test(backlog, what_is_on_disk_is_read_though_memory_is_full)
{
    begin();
    subscribe_and_leave("me", "t");
    publish_numbers("t", 0, 100, 5000);
    make_checkpoint();
    const uint64_t usual = n->config->limits.message_memory_max;
    n->config->limits.message_memory_max = 1;
    struct fake_client *c = client_connect(
        n, 0, "me", TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 2, .silent = true));
    fake_node_settle(n);
    cr_expect_lt(outqueue_waiting_bytes(&session_of("me")->out), 3 * BACKLOG_PART_BYTES);
    take_numbers(c, 0, 100);
    n->config->limits.message_memory_max = usual;
    fake_disk_end(&disk);
}

/* Who has taken all that was on disk, and stops: what comes then goes there again. */
Test(backlog, who_stops_with_nothing_on_disk_has_it_there_later)
{
    begin();
    subscribe_and_leave("me", "t");
    publish_numbers("t", 0, 10, 0);
    make_checkpoint();
    struct fake_client *c = client_connect(
        n, 0, "me", TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 10, .silent = true));
    publish_numbers("t", 10, 3000, 0);
    make_checkpoint();
    const unsigned there = (unsigned)n->node->deliveries_on_disk;
    cr_assert_gt(there, 0);
    publish_numbers("t", 3000, 4000, 0);
    take_numbers(c, 0, 2900);
    cr_assert_eq(n->node->deliveries_on_disk, 0);
    cr_assert_not_null(session_of("me")->kept->backlog);
    cr_expect_lt(outqueue_waiting(&session_of("me")->out), BACKLOG_KEEP);
    publish_numbers("t", 4000, 9000, 0);
    make_checkpoint();
    cr_expect_gt(n->node->deliveries_on_disk, 4000);
    take_numbers(c, 2900, 9000);
    fake_disk_end(&disk);
}

/* What is done has a place in the queue as long as an older one is not; so places were few. */
Test(backlog, what_was_sent_is_known_though_much_of_it_is_done_and_the_oldest_is_not)
{
    begin();
    subscribe_and_leave("me", "t");
    publish_numbers("t", 0, 6000, 0);
    make_checkpoint();
    cr_assert_eq(n->node->deliveries_on_disk, 6000);
    struct fake_client *c =
        client_connect(n, 0, "me", TERMS(.session_expiry_s = UINT32_MAX, .silent = true));
    take_numbers(c, 0, 2100);
    fake_node_advance(n, 100);
    fake_disk_hold(&disk, true);
    unsigned heard = 2100;
    for (const struct got *g; (g = client_take(c, MQTT_PUBLISH)) != NULL; heard++) {
        client_send_ack(c, MQTT_PUBACK, g->packet_id, 0);
    }
    cr_expect_geq(heard, 3000);
    fake_disk_crash(&disk, NULL, NULL);

    open_disk();
    c = client_connect(n, 0, "me", LASTING);
    unsigned last = 0;
    for (const struct got *g; (g = client_take(c, MQTT_PUBLISH)) != NULL;) {
        last = (unsigned)strtoul(g->payload, NULL, 10);
        cr_assert(g->dup || last >= heard, "%u was sent before", last);
    }
    cr_expect_eq(last, 5999);
    fake_disk_end(&disk);
}

/* What came later was given to others first. */
Test(backlog, what_a_member_leaves_behind_of_a_long_queue_goes_to_others_in_order)
{
    begin();
    subscribe_and_leave("me", "t");
    subscribe_and_leave("me", "$share/g/u");
    publish_numbers("t", 0, 10, 0);
    publish_numbers("u", 10, 600, 0);
    make_checkpoint();
    cr_assert_eq(n->node->deliveries_on_disk, 10);
    client_connect(n, 0, "me",
                   TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 1, .silent = true));
    fake_node_settle(n);
    cr_assert_gt(outqueue_waiting(&session_of("me")->out), 100);
    cr_assert_not_null(session_of("me")->kept->backlog);
    struct fake_client *other = client_connect(n, 0, "other", LASTING);
    client_subscribe(other, "$share/g/u", 1);
    client_connect(n, 0, "me", TERMS(.clean_start = true));
    unsigned next = 10;
    for (const struct got *g; (g = client_take(other, MQTT_PUBLISH)) != NULL; next++) {
        cr_assert_eq(strtoul(g->payload, NULL, 10), next);
    }
    cr_expect_eq(next, 600);
    fake_disk_end(&disk);
}

/* It was for a group that is not known any more when it is read again. */
Test(backlog, what_came_by_a_group_that_was_left_is_as_any_other)
{
    begin();
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    client_subscribe(c, "$share/g/u", 1);
    client_reset(c);
    publish_numbers("u", 0, 10, 0);
    make_checkpoint();
    c = client_connect(n, 0, "me",
                       TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 1, .silent = true));
    client_unsubscribe(c, "$share/g/u");
    client_reset(c);
    fake_node_advance(n, 100);
    fake_disk_crash(&disk, NULL, NULL);
    open_disk();
    make_checkpoint();
    cr_assert_eq(n->node->deliveries_on_disk, 9);
    c = client_connect(n, 0, "me",
                       TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 2, .silent = true));
    fake_node_settle(n);
    struct outqueue *const q = &session_of("me")->out;
    uint64_t at = 0;
    for (const struct delivery *d; (d = outqueue_walk(q, &at)) != NULL;) {
        cr_expect_not(d->of_group);
    }
    take_numbers(c, 0, 10);
    fake_disk_end(&disk);
}

/* Each had a copy of its own. */
Test(backlog, who_read_the_same_have_it_once)
{
    enum { MANY = 20, LEN = 50000 };
    begin();
    char id[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "s%u", i);
        subscribe_and_leave(id, "t");
    }
    publish_numbers("t", 0, 1, LEN);
    make_checkpoint();
    cr_expect_eq(n->node->deliveries_on_disk, MANY);
    const uint64_t before = message_memory();
    struct fake_client *all[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "s%u", i);
        all[i] = client_connect(n, 0, id, TERMS(.session_expiry_s = UINT32_MAX, .silent = true));
    }
    fake_node_settle(n);
    cr_expect_eq(n->node->deliveries_on_disk, 0);
    cr_expect_lt(message_memory() - before, 2 * LEN);
    for (unsigned i = 0; i < MANY; i++) {
        const struct got *const g = client_take(all[i], MQTT_PUBLISH);
        cr_assert_not_null(g);
        client_send_ack(all[i], MQTT_PUBACK, g->packet_id, 0);
    }
    fake_node_settle(n);
    make_checkpoint();
    fake_disk_end(&disk);
}

static unsigned reads; /* of the start */

void __real_checkpoint_read_now(struct checkpoint *cp, struct checkpoint_read *r);
void __wrap_checkpoint_read_now(struct checkpoint *cp, struct checkpoint_read *r);

void __wrap_checkpoint_read_now(struct checkpoint *cp, struct checkpoint_read *r)
{
    reads++;
    __real_checkpoint_read_now(cp, r);
}

/* Their bodies were read to find out that nobody wants them. */
Test(backlog, a_start_reads_nothing_of_what_was_dropped_on_disk)
{
    begin();
    subscribe_and_leave("me", "t");
    publish_numbers("t", 0, 300, 1000);
    make_checkpoint();
    cr_expect_eq(n->node->deliveries_on_disk, 300);
    fake_node_reload(n,
                     SETTINGS(disk.setting, "limits.session_expiry_max_s=4294967295",
                              "limits.packet_bytes_max=65536", "limits.inflight_max=50",
                              "limits.session_queue_messages_max=300",
                              "data.checkpoint_interval_s=5", "data.journal_segment_bytes=1MiB"));
    publish_numbers("t", 300, 400, 1000);
    fake_node_advance(n, 200);
    cr_expect_eq(n->node->deliveries_on_disk, 200);
    fake_disk_crash(&disk, NULL, NULL);
    reads = 0;
    open_disk();
    cr_expect_eq(reads, 0);
    cr_expect_eq(n->node->deliveries_on_disk, 200);
    struct fake_client *const c = client_connect(
        n, 0, "me", TERMS(.session_expiry_s = UINT32_MAX, .receive_maximum = 10, .silent = true));
    take_numbers(c, 100, 400);
    fake_disk_end(&disk);
}
