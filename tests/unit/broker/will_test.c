/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The will of a kept session, on a node that may end at any moment (fake_disk.h): published exactly
 * once, whatever was on disk by then.
 */
#include "broker/session/will.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/conn/owed.h"
#include "broker/ownership/ownership.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_disk.h"
#include "tests/unit/route/random.h"

#define ROUNDS  100u
#define SHARDS  2u
#define HEIRS   4u
#define STEPS   40u
#define LASTS_S 300u
#define DELAY_S 100u

static struct fake_disk disk;
static struct fake_node *n;

static void open_disk(void)
{
    n = fake_disk_again(&disk, SHARDS,
                        SETTINGS("limits.packet_bytes_max=65536", "data.checkpoint_interval_s=1",
                                 "data.journal_segment_bytes=1MiB"));
}

static void begin(void)
{
    fake_disk_begin(&disk);
    open_disk();
}

/* What is not on disk by now is lost. */
static void crash(void)
{
    fake_disk_crash(&disk, NULL, NULL);
    open_disk();
    fake_node_settle(n);
}

static void hold(unsigned shard, bool hold)
{
    io_fake_files_hold(n->node->shards[shard]->io, hold);
}

static void leave(struct fake_client *c)
{
    client_send_disconnect(c, 0);
    client_finish(c);
    fake_node_settle(n);
}

static struct fake_client *enter(const char *id)
{
    struct fake_client *const c =
        client_connect(n, 0, id, TERMS(.session_expiry_s = LASTS_S, .receive_maximum = 100));
    cr_assert_eq(c->connack.type, MQTT_CONNACK);
    return c;
}

/* Sessions that are away, on both shards. */
static void subscribe_heirs(void)
{
    for (unsigned i = 0; i < HEIRS; i++) {
        char id[16];
        snprintf(id, sizeof id, "heir-%u", i);
        struct fake_client *const c = enter(id);
        client_subscribe(c, "w", 1 + i % 2);
        leave(c);
    }
    struct fake_client *const member = enter("member");
    client_subscribe(member, "$share/g/w", 2);
    leave(member);
}

/* How many with that payload came, as client_heard() has them. */
static unsigned count_of(const char *heard, const char *payload)
{
    char text[16];
    unsigned count = 0;
    snprintf(text, sizeof text, "w=%s/", payload);
    for (const char *at = heard; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

/* ---- whenever the process ends */

enum how {
    DROP,     /* the connection ends */
    TAKEOVER, /* by another connection, with another will */
    CLEAN,    /* likewise, and its session ends */
    END,      /* the session ends before the delay of the will is over */
    LATER,    /* the delay is over */
    HOWS,
};

struct life {
    struct random random;
    struct fake_client *next; /* the testator's second connection; NULL: none */
    enum how how;
    uint8_t qos;
    bool retain;
    bool is_told; /* CONNACK came for the second connection */
};

static void send_second(struct life *l)
{
    const bool clean_start = l->how != TAKEOVER;
    l->next = client_open(n, 1);
    l->next->version = MQTT_V5;
    client_send_connect(l->next, "testator",
                        TERMS(.session_expiry_s = LASTS_S, .clean_start = clean_start,
                              .will_topic = "w", .will_payload = "2", .will_qos = l->qos,
                              .will_retain = l->retain));
}

static void begin_life(struct life *l)
{
    struct random *const r = &l->random;
    l->how = (enum how)random_below(r, HOWS);
    l->qos = (uint8_t)(1 + random_below(r, 2));
    l->retain = random_below(r, 2) == 0;
    l->next = NULL;
    l->is_told = false;
    begin();
    subscribe_heirs();
    struct fake_client *const c =
        client_connect(n, 0, "testator",
                       TERMS(.session_expiry_s = LASTS_S, .will_topic = "w", .will_payload = "1",
                             .will_qos = l->qos, .will_retain = l->retain,
                             .will_delay_s = l->how == END || l->how == LATER ? DELAY_S : 0));
    cr_assert_eq(c->connack.type, MQTT_CONNACK);
    if (l->how == DROP) {
        client_finish(c);
    } else if (l->how == LATER) {
        client_finish(c);
        fake_node_settle(n);
        fake_node_advance(n, DELAY_S * 1000 - 1);
        hold(random_below(r, SHARDS), true);
        fake_node_advance(n, 1);
    } else if (l->how == END) {
        client_finish(c);
        fake_node_settle(n);
        send_second(l);
    } else {
        send_second(l);
    }
}

/* Shards run and sleep, and disks work and stand still, as it comes. */
static void go_on(struct life *l)
{
    struct random *const r = &l->random;
    for (unsigned left = random_below(r, STEPS); left > 0; left--) {
        switch (random_below(r, 8)) {
        case 0:
            hold(random_below(r, SHARDS), random_below(r, 2) == 0);
            break;
        case 1:
            if (random_below(r, 4) == 0) {
                fake_node_advance(n, random_below(r, 2 * STORE_LAZY_MS));
            }
            break;
        default:
            fake_node_step(n, random_below(r, SHARDS));
            break;
        }
    }
    if (l->next != NULL) {
        client_read(l->next);
        for (size_t i = 0; i < l->next->got_count; i++) {
            l->is_told = l->is_told || l->next->got[i].type == MQTT_CONNACK;
        }
    }
}

static void check_heir(const struct life *l, const char *id)
{
    struct fake_client *const c = enter(id);
    cr_expect(c->connack.session_present);
    const char *const heard = client_heard(c);
    const unsigned second = count_of(heard, "2");
    const unsigned long long seed = l->random.seed;
    cr_expect_eq(count_of(heard, "1"), 1, "%s heard '%s'; how %d, TEST_SEED=%llu", id, heard,
                 (int)l->how, seed);
    cr_expect_leq(second, 1, "%s heard '%s'; how %d, TEST_SEED=%llu", id, heard, (int)l->how, seed);
    cr_expect(second == 1 || !l->is_told, "%s heard '%s'; how %d, TEST_SEED=%llu", id, heard,
              (int)l->how, seed);
}

static void check_retained(const struct life *l)
{
    struct fake_client *const c = client_connect(n, 0, "look", TERMS());
    client_subscribe(c, "w", 0);
    const char *const heard = client_heard(c);
    const bool any = strcmp(heard, "w=1/0r") == 0 || strcmp(heard, "w=2/0r") == 0;
    cr_expect(l->retain ? any : heard[0] == '\0', "retained: '%s'; TEST_SEED=%llu", heard,
              (unsigned long long)l->random.seed);
}

Test(will, exactly_once_whenever_the_process_ends)
{
    struct life l = {.random = random_init()};
    for (unsigned round = 0; round < ROUNDS; round++) {
        l.random.seed = l.random.state;
        begin_life(&l);
        go_on(&l);
        crash();
        fake_node_advance(n, (DELAY_S + 1) * 1000);
        for (unsigned i = 0; i < HEIRS; i++) {
            char id[16];
            snprintf(id, sizeof id, "heir-%u", i);
            check_heir(&l, id);
        }
        check_heir(&l, "member");
        check_retained(&l);
        fake_disk_end(&disk);
    }
}

/* ---- steps of it */

static struct fake_client *testator(uint8_t qos, bool retain)
{
    return client_connect(n, 0, "testator",
                          TERMS(.session_expiry_s = LASTS_S, .will_topic = "w", .will_payload = "1",
                                .will_qos = qos, .will_retain = retain));
}

/* Nobody gets it before the next process would know of that. */
Test(will, nobody_gets_it_before_it_is_out_of_the_session)
{
    for (uint8_t qos = 0; qos <= 2; qos++) {
        begin();
        struct fake_client *const c = client_connect(n, 0, "now", TERMS());
        client_subscribe(c, "w", 2);
        struct fake_client *const t = testator(qos, false);
        hold(fake_node_home(n, "testator"), true);
        client_finish(t);
        fake_node_settle(n);
        cr_expect_str_eq(client_heard(c), "", "QoS %u", qos);
        hold(fake_node_home(n, "testator"), false);
        char want[16];
        snprintf(want, sizeof want, "w=1/%u", qos);
        cr_expect_str_eq(client_heard(c), want);
        fake_disk_end(&disk);
    }
}

/* A disk that fails does not keep it from those who need no disk. */
Test(will, a_disk_that_fails_does_not_hold_it_up)
{
    begin();
    struct fake_client *const c = client_connect(n, 0, "now", TERMS());
    client_subscribe(c, "w", 2);
    struct fake_client *const t = testator(2, false);
    struct shard *const s = n->node->shards[fake_node_home(n, "testator")];
    io_fake_fail_file(s->io, EIO, 0);
    client_finish(t);
    cr_expect_str_eq(client_heard(c), "w=1/2");
    cr_expect_not(will_is_none(s));
    fake_node_advance(n, 2000); /* it is tried again */
    cr_expect_str_eq(client_heard(c), "");
    cr_expect(will_is_none(s));
    fake_disk_end(&disk);
}

/* What a client was told is retained is not undone by a will of before. */
Test(will, what_was_retained_after_it_stays)
{
    static const char *const newer[] = {"new", ""};
    for (unsigned i = 0; i < 2; i++) {
        begin();
        client_finish(testator(1, true));
        fake_node_settle(n);
        struct shard *const s = n->node->shards[fake_node_home(n, "testator")];
        cr_expect_not(will_is_none(s)); /* WILL_GONE waits for company */
        struct fake_client *const c = client_connect(n, 0, "now", TERMS());
        const uint16_t packet_id = client_send_publish(
            c, SAY(.topic = "w", .payload = newer[i], .qos = 1, .retain = true));
        fake_node_settle(n);
        const struct got *const ack = client_take(c, MQTT_PUBACK);
        cr_assert_not_null(ack);
        cr_expect_eq(ack->packet_id, packet_id);
        crash();
        struct fake_client *const look = client_connect(n, 0, "look", TERMS());
        client_subscribe(look, "w", 0);
        cr_expect_str_eq(client_heard(look), i == 0 ? "w=new/0r" : "");
        fake_disk_end(&disk);
    }
}

/* A will without a payload takes the retained message away, also when that is left to the start. */
Test(will, an_empty_one_deletes)
{
    for (unsigned is_held = 0; is_held < 2; is_held++) {
        begin();
        struct fake_client *const c = client_connect(n, 0, "now", TERMS());
        client_send_publish(c, SAY(.topic = "w", .payload = "old", .qos = 1, .retain = true));
        struct fake_client *const t =
            client_connect(n, 0, "testator",
                           TERMS(.session_expiry_s = LASTS_S, .will_topic = "w", .will_payload = "",
                                 .will_qos = 1, .will_retain = true));
        client_finish(t);
        for (unsigned step = 0; step < 3 || !is_held; step++) { /* WILL_DUE is on disk, no more */
            fake_node_step(n, fake_node_home(n, "testator"));
            if (!fake_node_is_busy(n)) {
                break;
            }
            fake_node_step(n, is_held ? fake_node_home(n, "testator") : 0);
            fake_node_step(n, is_held ? fake_node_home(n, "testator") : 1);
        }
        crash();
        fake_node_settle(n);
        fake_node_advance(n, 1);
        struct fake_client *const look = client_connect(n, 0, "look", TERMS());
        client_subscribe(look, "w", 0);
        cr_expect_str_eq(client_heard(look), "");
        fake_disk_end(&disk);
    }
}

/* ---- what checkpoints wait for */

Test(will, it_is_open_until_its_end_is_on_disk)
{
    begin();
    subscribe_heirs();
    struct fake_client *const t = testator(1, false);
    const struct node *const node = n->node;
    const uint64_t before_ms = fake_node_now_ms();
    fake_node_advance(n, 10);
    cr_expect(will_none_since(node, fake_node_now_ms()));
    client_finish(t);
    fake_node_settle(n);
    const unsigned home = fake_node_home(n, "testator");
    cr_expect(will_none_since(node, before_ms)); /* one that began earlier need not wait */
    cr_expect_not(will_none_since(node, fake_node_now_ms()));
    hold(home, true);
    fake_node_advance(n, 2 * STORE_LAZY_MS);
    cr_expect_not(will_none_since(node, fake_node_now_ms()));
    cr_expect_eq(atomic_load(&node->wills_open), 1);
    hold(home, false);
    fake_node_settle(n);
    cr_expect(will_none_since(node, fake_node_now_ms()));
    cr_expect_eq(atomic_load(&node->wills_open), 0);
    fake_disk_end(&disk);
}

/* The same of QoS 2 from a kept session: RECEIVED is said when all have the message, and is on disk
 * later. */
Test(will, so_is_an_exchange)
{
    begin();
    subscribe_heirs();
    struct fake_client *const c = enter("publisher");
    const struct node *const node = n->node;
    const unsigned home = fake_node_home(n, "publisher");
    struct shard *const s = node->shards[home];
    client_send_publish(c, SAY(.topic = "w", .payload = "x", .qos = 2));
    cr_expect(owed_none_since(node, fake_node_now_ms()));
    while (s->receipts.count == 0) {
        fake_node_step(n, home);
    }
    while (s->receipts.count > 0) {
        cr_expect_not(owed_none_since(node, fake_node_now_ms()));
        fake_node_step(n, 1 - home);
        fake_node_step(n, home);
    }
    cr_expect_not(owed_none_since(node, fake_node_now_ms())); /* RECEIVED is under way */
    fake_node_settle(n);
    cr_expect(owed_none_since(node, fake_node_now_ms()));
    fake_disk_end(&disk);
}

/* ---- in a cluster */

static void crash_in_cluster(bool with_others)
{
    static const uint8_t name[] = "n";
    struct identity self = {.generation = 1, .name_len = 1};
    memcpy(self.name, name, 1);
    memset(self.cluster.bytes, 1, sizeof self.cluster.bytes);
    memset(self.node.bytes, 2, sizeof self.node.bytes);
    fake_disk_crash(&disk, NULL, NULL);
    n = fake_disk_again(&disk, SHARDS,
                        SETTINGS("limits.packet_bytes_max=65536", "cluster.listen=127.0.0.1:1"));
    cr_assert(remote_create(n->node, &self));
    cr_assert(ownership_create(n->node, &self));
    for (unsigned i = 0; i < SHARDS; i++) {
        n->node->shards[i]->remote->live = with_others;
    }
    fake_node_settle(n);
}

/* How many wills its sessions have left behind. */
static uint64_t published(void)
{
    fake_node_advance(n, 1000);
    const uint64_t early = fake_node_count(n, METRIC_wills_published);
    cr_expect_eq(early, 0, "the others are not known yet");
    fake_node_advance(n, 60000);
    return fake_node_count(n, METRIC_wills_published);
}

/* What others have published when this node was gone, it does not publish again; nor at its next
 * start. If there are none, nobody else has. */
Test(will, of_a_former_start_is_left_to_others)
{
    for (unsigned others = 0; others < 2; others++) {
        begin();
        (void)testator(1, false);
        crash_in_cluster(others == 1);
        cr_expect_eq(published(), others == 0);
        crash_in_cluster(false);
        cr_expect_eq(published(), 0);
        fake_disk_end(&disk);
    }
}
