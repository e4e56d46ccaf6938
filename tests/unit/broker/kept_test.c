/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept when the process ends at a bad moment; crowd_kept_test.c finds such moments. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "broker/config/config.h"
#include "broker/conn/owed.h"
#include "broker/counters.h"
#include "broker/route/index.h"
#include "broker/session/kept.h"
#include "broker/shard/shard.h"
#include "broker/store/capture.h"
#include "broker/store/difference.h"
#include "broker/store/keeper.h"
#include "broker/store/store.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_disk.h"

#define LASTING TERMS(.session_expiry_s = UINT32_MAX)

static struct fake_disk disk;
static struct fake_node *n;
static const char *durability = "data.durability=sync"; /* a test is a process of its own */

static void open_disk(unsigned shards)
{
    n = fake_disk_again(&disk, shards,
                        SETTINGS(durability, "limits.session_expiry_max_s=4294967295",
                                 "limits.packet_bytes_max=65536",
                                 "limits.session_queue_messages_max=10000",
                                 "limits.inflight_max=50", "data.checkpoint_interval_s=5",
                                 "data.journal_segment_bytes=1MiB"));
}

static void begin(unsigned shards)
{
    fake_disk_begin(&disk);
    open_disk(shards);
}

static bool no_time(void *context, struct bytes client_id)
{
    (void)context;
    (void)client_id;
    return false;
}

static uint64_t state(void)
{
    return fake_disk_state(n, no_time, NULL);
}

/* All is on disk; then the process is killed, and the next one has so many shards. */
static void restart(unsigned shards)
{
    fake_node_advance(n, 100);
    cr_expect(fake_disk_is_quiet(&disk));
    const uint64_t before = state();
    fake_disk_crash(&disk, NULL, NULL);
    open_disk(shards);
    cr_expect_eq(state(), before);
}

/* The session has it, whether or not its client has heard of it. */
Test(kept, a_subscription_stays_though_its_client_did_not_wait)
{
    begin(3);
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    static const char *const filters[] = {"a", "b", "c/+", "d/#", "$share/g/e", "#", "+/f"};
    for (unsigned i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        client_send_subscribe(c, ASK(.filter = filters[i], .qos = 1));
        fake_node_step(n, fake_node_home(n, "me"));
        client_reset(c); /* the index is other shards' in part */
        fake_node_settle(n);
        restart(3);
        c = client_connect(n, 0, "me", LASTING);
        cr_expect(c->connack.session_present);
        client_say(client_connect(n, 0, "other", TERMS(.clean_start = true)), "c/f", "x", 1);
        (void)client_heard(c);
    }
    restart(2);
    fake_disk_end(&disk);
}

/* What is acknowledged is written now and then only: a client may have been sent more than the
 * window holds of what is in the queue after a crash. It was sent without DUP then, and of a shared
 * subscription to others. */
Test(kept, what_was_sent_is_known_though_acknowledgements_were_not_written)
{
    begin(1);
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    client_subscribe(c, "t", 1);
    client_reset(c);
    struct fake_client *publisher = client_connect(n, 0, "publisher", TERMS(.clean_start = true));
    for (unsigned i = 0; i < 3000; i++) {
        client_say(publisher, "t", "x", 1);
        cr_assert_not_null(client_take(publisher, MQTT_PUBACK));
    }
    fake_node_advance(n, 100);
    c = client_connect(n, 0, "me", TERMS(.session_expiry_s = UINT32_MAX, .silent = true));
    fake_disk_hold(&disk, true);
    unsigned heard = 0;
    for (const struct got *g; (g = client_take(c, MQTT_PUBLISH)) != NULL; heard++) {
        client_send_ack(c, MQTT_PUBACK, g->packet_id, 0);
    }
    cr_expect_geq(heard, KEPT_DONE_AHEAD_MAX);
    cr_expect_leq(heard, KEPT_DONE_AHEAD_MAX + n->config->limits.inflight_max);
    fake_disk_crash(&disk, NULL, NULL);

    open_disk(1);
    c = client_connect(n, 0, "me", LASTING);
    unsigned again = 0, all = 0;
    for (const struct got *g; (g = client_take(c, MQTT_PUBLISH)) != NULL; all++) {
        again += g->dup;
        cr_expect(g->dup || all >= heard, "it was sent before");
    }
    cr_expect_eq(all, 3000);
    cr_expect_lt(again, heard + n->config->limits.inflight_max + 1);
    fake_disk_end(&disk);
}

/* The disk being slow, it goes on when that is not any more. */
Test(kept, acknowledgements_that_are_not_written_hold_up_a_session_until_they_are)
{
    begin(1);
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    client_subscribe(c, "t", 1);
    fake_disk_hold(&disk, true);
    struct fake_client *publisher = client_connect(n, 0, "publisher", TERMS(.clean_start = true));
    for (unsigned i = 0; i < 3000; i++) {
        client_say(publisher, "t", "x", 0);
        client_say(publisher, "t", "x", 1);
    }
    unsigned heard = client_heard_count(c);
    cr_expect_lt(heard, 6000);
    fake_disk_hold(&disk, false);
    heard += client_heard_count(c);
    cr_expect_eq(heard, 6000);
    fake_disk_end(&disk);
}

/* The answer to a message of it may be owed only after that. It wrote into the session, which was
 * freed by then. */
Test(kept, a_session_may_be_kept_no_more_while_its_message_waits_for_the_disk)
{
    begin(1);
    struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
    client_subscribe(sub, "t", 2);
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    fake_disk_hold(&disk, true);
    client_send_publish(c, SAY(.topic = "t", .payload = "x", .qos = 2, .retain = true));
    fake_node_settle(n);
    c = client_connect(n, 0, "me", TERMS(.version = MQTT_V5)); /* its session ends with it */
    fake_disk_hold(&disk, false);
    while (fake_node_count(n, METRIC_deliveries_queued) == 0) {
        fake_node_step(n, 0); /* the message is retained; that it is queued is to be written */
    }
    fake_disk_hold(&disk, true);
    client_reset(c);
    c = client_connect(n, 0, "me", TERMS(.clean_start = true));
    fake_disk_hold(&disk, false);
    cr_expect_str_eq(client_heard(sub), "t=x/2");
    fake_disk_end(&disk);
}

/* Who does not wait for answers is not read from, when many are owed. */
Test(kept, answers_that_wait_for_the_disk_are_bounded)
{
    begin(1);
    struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
    client_subscribe(sub, "t", 1);
    struct fake_client *c = client_connect(n, 0, "me", TERMS(.clean_start = true));
    fake_disk_hold(&disk, true);
    for (unsigned i = 0; i < 3 * OWED_MAX; i++) {
        client_say(c, "t", "x", 1);
    }
    fake_node_settle(n);
    cr_expect_leq(n->node->answers_owed, OWED_MAX);
    cr_expect_geq(n->node->answers_owed, OWED_MAX / 2);
    cr_expect_null(client_take(c, MQTT_PUBACK));
    fake_disk_hold(&disk, false);
    unsigned acknowledged = 0;
    while (client_take(c, MQTT_PUBACK) != NULL) {
        acknowledged++;
    }
    cr_expect_eq(acknowledged, 3 * OWED_MAX);
    fake_disk_end(&disk);
}

/* What finds no room in the journal comes after what did, and what comes then after that. */
Test(kept, entries_are_written_in_order_though_there_was_no_room)
{
    begin(1);
    struct fake_client *c = client_connect(n, 0, "me", LASTING);
    client_subscribe(c, "t", 1);
    client_reset(c);
    fake_node_settle(n);
    fake_disk_hold(&disk, true);
    for (unsigned i = 0; i < 60; i++) {
        c = client_connect(n, 0, "", TERMS(.clean_start = true)); /* each waits, when it has to */
        client_send_publish(c, SAY(.topic = "t", .payload = "x", .payload_len = 60000, .qos = 1));
        client_say(c, "t", "y", 1);
        fake_node_settle(n);
    }
    cr_expect_gt(fake_node_count(n, METRIC_journal_late), 0);
    fake_disk_hold(&disk, false);
    fake_node_settle(n);
    cr_expect_eq(fake_node_count(n, METRIC_deliveries_queued), 120);
    restart(1);
    fake_disk_end(&disk);
}

/* What was taken before is neither acknowledged nor refused until it works again. */
Test(kept, a_disk_that_fails_is_tried_again_and_nothing_is_taken_meanwhile)
{
    static const struct {
        int error;
        uint8_t reason;
    } rows[] = {{EIO, MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR},
                {ENOSPC, MQTT_REASON_QUOTA_EXCEEDED}};
    begin(1);
    struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
    client_subscribe(sub, "t", 1);
    client_reset(sub);
    struct fake_client *c = client_connect(n, 0, "me", TERMS(.clean_start = true));
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        io_fake_fail_file(n->node->shards[0]->io, rows[i].error, 100);
        const uint16_t taken = client_say(c, "t", "x", 1);
        cr_expect_null(client_take(c, MQTT_PUBACK));
        cr_expect_eq(n->node->disk_troubles, 1);
        const uint16_t refused = client_say(c, "t", "y", 1);
        const struct got *g = NULL;
        fake_node_advance(n, 999);
        cr_expect_null(client_take(c, MQTT_PUBACK), "answers are in order");
        fake_node_advance(n, 1);
        g = client_take(c, MQTT_PUBACK);
        cr_assert(g != NULL && g->packet_id == taken && g->reason == 0);
        g = client_take(c, MQTT_PUBACK);
        cr_assert(g != NULL && g->packet_id == refused && g->reason == rows[i].reason);
        cr_expect_eq(n->node->disk_troubles, 0);
        client_say(c, "t", "z", 1);
        g = client_take(c, MQTT_PUBACK);
        cr_assert(g != NULL && g->reason == 0);
    }
    restart(1);
    sub = client_connect(n, 0, "sub", LASTING);
    cr_expect_str_eq(client_heard(sub), "t=x/1 t=z/1 t=x/1 t=z/1");
    fake_disk_end(&disk);
}

/* ---- checkpoints */

static void queue_for_many(unsigned sessions)
{
    char id[16];
    for (unsigned i = 0; i < sessions; i++) {
        snprintf(id, sizeof id, "s%u", i);
        struct fake_client *c = client_connect(n, 0, id, LASTING);
        client_subscribe(c, "t", 2);
        client_reset(c);
    }
    fake_node_settle(n);
    struct fake_client *c = client_connect(n, 0, "publisher", TERMS(.clean_start = true));
    client_say(c, "t", "for all", 2);
    fake_node_settle(n);
}

static struct capture *capture(void)
{
    return n->node->shards[0]->capture;
}

static void begin_checkpoint(void)
{
    cr_assert_eq(capture()->state, CAPTURE_IDLE);
    capture()->due_ms = 0;
    fake_node_step(n, 0);
    cr_assert_eq(capture()->state, CAPTURE_COLLECTING);
}

Test(kept, the_process_may_end_while_a_checkpoint_is_put_together)
{
    begin(1);
    queue_for_many(400);
    const uint64_t before = state();
    begin_checkpoint();
    fake_node_step(n, 0);
    cr_assert_eq(capture()->state, CAPTURE_COLLECTING, "it takes more than a turn");
    fake_disk_crash(&disk, NULL, NULL);
    open_disk(2);
    cr_expect_eq(state(), before);
    fake_disk_end(&disk);
}

static void let_files_grow(bool may)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = may ? limit.rlim_max : 1;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static uint64_t oldest_needed(void)
{
    return journal_oldest_needed(n->node->shards[0]->store->journal);
}

/* The checkpoint's thread writes in vain; the journal has nothing to write meanwhile. */
static void fail_to_write_checkpoint(void)
{
    let_files_grow(false);
    do {
        fake_node_step(n, 0);
    } while (capture()->state != CAPTURE_AGAIN);
    let_files_grow(true);
}

/* Until it succeeds nothing is lost, and the journal keeps what the checkpoint lacks. */
Test(kept, a_checkpoint_that_is_refused_is_tried_again)
{
    signal(SIGXFSZ, SIG_IGN);
    begin(1);
    queue_for_many(3);
    fake_node_advance(n, 100);
    const uint64_t made = fake_node_count(n, METRIC_checkpoints);
    const uint64_t needed = oldest_needed();
    struct fake_client *c = client_connect(n, 0, "publisher", TERMS(.clean_start = true));
    begin_checkpoint();
    for (unsigned failed = 1; failed <= 3; failed++) {
        fail_to_write_checkpoint();
        cr_expect_eq(fake_node_count(n, METRIC_checkpoint_failures), failed);
        for (unsigned i = 0; i < 20; i++) { /* the next checkpoint's */
            client_send_publish(c,
                                SAY(.topic = "t", .payload = "x", .payload_len = 60000, .qos = 1));
            const struct got *puback = client_take(c, MQTT_PUBACK);
            cr_assert_not_null(puback);
            cr_expect_eq(puback->reason, 0, "what has to be kept is taken");
        }
        cr_assert_eq(capture()->state, CAPTURE_AGAIN);
        cr_expect_eq(oldest_needed(), needed);
        capture()->due_ms = 0;
    }
    cr_expect_gt(n->node->shards[0]->store->slot->segments, 1, "the journal grows");
    fake_node_advance(n, 2000);
    cr_expect_eq(fake_node_count(n, METRIC_checkpoints), made + 2, "and what came meanwhile");
    cr_expect_gt(oldest_needed(), needed);
    restart(1);
    fake_disk_end(&disk);
}

/* The process may end before: the journal has it all. */
Test(kept, a_checkpoint_that_was_refused_may_have_been_the_last)
{
    signal(SIGXFSZ, SIG_IGN);
    begin(1);
    queue_for_many(3);
    fake_node_advance(n, 100);
    begin_checkpoint();
    fail_to_write_checkpoint();
    restart(2);
    fake_disk_end(&disk);
}

/* The journal may be all that knows who has the message: its segments stay until it is settled. */
Test(kept, a_checkpoint_is_not_done_while_an_exchange_is_open)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct fake_client *on[2] = {NULL, NULL}; /* a subscriber on each shard */
    begin(2);
    for (unsigned i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct fake_client **const c = &on[fake_node_home(n, ids[i])];
        if (*c == NULL) {
            *c = client_connect(n, 0, ids[i], LASTING);
            client_subscribe(*c, "t", 2);
        }
    }
    cr_assert(on[0] != NULL && on[1] != NULL);
    struct fake_client *publisher = client_connect(n, 0, "publisher", LASTING);
    fake_node_advance(n, 100);
    io_fake_files_hold(n->node->shards[1]->io, true);
    client_say(publisher, "t", "x", 2);
    fake_node_advance(n, 100);
    cr_expect_str_eq(client_heard(on[0]), "t=x/2");
    const uint64_t made = fake_node_count(n, METRIC_checkpoints);
    begin_checkpoint();
    fake_node_advance(n, 1000);
    cr_expect_eq(capture()->state, CAPTURE_WRITING);
    cr_expect_eq(fake_node_count(n, METRIC_checkpoints), made);
    cr_expect_null(client_take(publisher, MQTT_PUBREC));
    io_fake_files_hold(n->node->shards[1]->io, false);
    fake_node_advance(n, 1000);
    cr_expect_eq(capture()->state, CAPTURE_IDLE);
    cr_expect_eq(fake_node_count(n, METRIC_checkpoints), made + 1);
    cr_expect_not_null(client_take(publisher, MQTT_PUBREC));
    cr_expect_str_eq(client_heard(on[1]), "t=x/2");
    restart(1);
    fake_disk_end(&disk);
}

/* Exchanges and wills are finished at a start by turns of the shards, which may take long: what is
 * new by then is for the first checkpoint, of all shards together. */
Test(kept, no_checkpoint_begins_before_the_first)
{
    begin(1);
    struct shard *const s = n->node->shards[0];
    struct capture *const usual = s->capture;
    struct capture *const early = s->capture = capture_create(s, NULL, 1000);
    cr_assert_not_null(early);
    difference_entry(s);
    fake_node_advance(n, 5000);
    cr_expect_eq(early->state, CAPTURE_NOT_YET);
    cr_expect(changes_are_none(&early->taking));
    cr_expect_eq(capture_sleep_ms(s), UINT64_MAX);
    s->capture = usual;
    capture_destroy(early);
    fake_disk_end(&disk);
}

/* It was received when it is retained: a checkpoint that said so before had its repetition be
 * answered, and the message was nowhere. */
Test(kept, a_retained_message_is_received_when_it_is_on_disk_and_not_before)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    const char *id = NULL;    /* of a session on one shard, */
    const char *topic = NULL; /* … and a topic of the other one */
    begin(2);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        id = fake_node_home(n, names[i]) == 0 ? names[i] : id;
        topic = index_owner(n->node->index, bytes_text(names[i])) == 1 ? names[i] : topic;
    }
    cr_assert(id != NULL && topic != NULL);
    struct fake_client *c = client_connect(n, 0, id, LASTING);
    fake_node_advance(n, 100);
    io_fake_files_hold(n->node->shards[1]->io, true);
    const struct say *const say =
        SAY(.topic = topic, .payload = "x", .qos = 2, .retain = true, .packet_id = 7);
    client_send_publish(c, say);
    fake_node_settle(n);
    client_connect(n, 0, id, LASTING); /* the session changes */
    fake_node_advance(n, 100);
    const uint64_t made = fake_node_count(n, METRIC_checkpoints);
    begin_checkpoint();
    fake_node_advance(n, 100);
    cr_expect_eq(fake_node_count(n, METRIC_checkpoints), made + 1);
    fake_disk_crash(&disk, NULL, NULL);

    open_disk(2);
    c = client_connect(n, 0, id, LASTING);
    cr_expect(c->connack.session_present);
    client_send_publish(c, SAY(.topic = topic, .payload = "x", .qos = 2, .retain = true,
                               .dup = true, .packet_id = 7));
    cr_expect_not_null(client_take(c, MQTT_PUBCOMP));
    struct fake_client *sub = client_connect(n, 0, "sub", TERMS(.clean_start = true));
    client_subscribe(sub, topic, 0);
    cr_expect_not_null(client_take(sub, MQTT_PUBLISH));
    fake_disk_end(&disk);
}

/* ---- a message that comes to a shard in several records */

#define BATCH 24u

/* What is acknowledged is on disk for the subscription and for the group's member, although their
 * records may be read in two turns. */
static void publish_and_crash(const char *away, const char *publisher, unsigned before,
                              unsigned turns)
{
    fake_disk_begin(&disk);
    open_disk(2);
    fake_node_shrink_mail(n, 1024);
    struct fake_client *s = client_connect(n, 0, away, LASTING);
    cr_assert_eq(client_subscribe(s, "t", 1), 1);
    cr_assert_eq(client_subscribe(s, "$share/g/t", 1), 1);
    cr_assert_eq(client_subscribe(s, "u", 1), 1);
    client_reset(s);
    fake_node_advance(n, 100);
    struct fake_client *const p = client_connect(n, 0, publisher, TERMS(.clean_start = true));
    for (unsigned i = 0; i < before; i++) {
        client_send_publish(
            p, SAY(.topic = "u", .payload = "z", .qos = 1, .packet_id = (uint16_t)(BATCH + 1 + i)));
    }
    for (uint16_t i = 0; i < BATCH; i++) {
        const char payload[] = {(char)('a' + i), '\0'};
        client_send_publish(
            p, SAY(.topic = "t", .payload = payload, .qos = 1, .packet_id = (uint16_t)(i + 1)));
    }
    for (unsigned i = 0; i < turns; i++) {
        if (i + 2 >= turns) { /* what the other shard writes last is not on disk */
            io_fake_files_hold(n->node->shards[1]->io, true);
        }
        fake_node_step(n, i % 2);
    }
    bool acknowledged[BATCH] = {false};
    client_read(p); /* without a further turn */
    for (size_t i = p->got_first; i < p->got_count; i++) {
        if (p->got[i].type == MQTT_PUBACK && p->got[i].packet_id <= BATCH) {
            acknowledged[p->got[i].packet_id - 1] = true;
        }
    }
    fake_disk_crash(&disk, NULL, NULL);

    open_disk(2);
    unsigned copies[26] = {0};
    s = client_connect(n, 0, away, LASTING);
    fake_node_settle(n);
    for (const struct got *g; (g = client_take(s, MQTT_PUBLISH)) != NULL;) {
        copies[g->payload[0] - 'a'] += g->topic[0] == 't';
    }
    for (unsigned i = 0; i < BATCH; i++) {
        cr_expect(!acknowledged[i] || copies[i] == 2, "message %u of %u turns: %u copies", i, turns,
                  copies[i]);
    }
    fake_disk_end(&disk);
}

Test(kept, what_comes_in_several_records_is_kept_when_all_have_come)
{
    const char *ids[2] = {NULL, NULL};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    begin(2);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        ids[fake_node_home(n, names[i])] = names[i];
    }
    fake_disk_end(&disk);
    cr_assert(ids[0] != NULL && ids[1] != NULL);
    for (unsigned before = 0; before < 8; before++) {
        for (unsigned turns = 5; turns <= 9; turns++) {
            publish_and_crash(ids[1], ids[0], before, turns);
        }
    }
}

/* ---- durability by topic */

#define HASTY                                                                                      \
    SETTINGS(disk.setting, "topics.0.filter=hasty/slow", "topics.0.durability=sync",               \
             "topics.1.filter=hasty/#")

/* A publisher of its own, since answers of one connection are in order. */
static struct fake_client *publisher_says(const struct say *say)
{
    struct fake_client *c = client_connect(n, 0, "", TERMS(.clean_start = true));
    client_send_publish(c, say);
    return c;
}

/* What such a topic gets at QoS 1 waits for no disk, retained or not; all else does. */
Test(kept, topics_that_need_not_wait_are_acknowledged_at_once)
{
    static const struct {
        const char *topic;
        uint8_t qos;
        bool retain, deletes, at_once;
    } rows[] = {
        {"hasty/1", 1, false, false, true},     {"hasty/2", 1, true, false, true},
        {"hasty/3", 1, true, true, true},       {"hasty", 1, false, false, true},
        {"hasty/1", 2, false, false, false},    {"hasty/4", 2, true, false, false},
        {"hasty/slow", 1, false, false, false}, {"hasty/slow", 1, true, false, false},
        {"x", 1, false, false, false},          {"x", 1, true, false, false},
        {"hasty/5", 1, false, false, true}, /* whatever others wait for */
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct fake_client *c[ROWS];
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        begin(shards);
        fake_node_configure(n, HASTY);
        struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
        client_subscribe(sub, "#", 2);
        client_subscribe(sub, "$share/g/#", 2);
        client_say(sub, "hasty/3", "to be deleted", 0);
        client_reset(sub);
        fake_node_advance(n, 100);
        fake_disk_hold(&disk, true);
        for (unsigned i = 0; i < ROWS; i++) {
            c[i] = publisher_says(SAY(.topic = rows[i].topic, .qos = rows[i].qos,
                                      .payload = rows[i].deletes ? "" : "x",
                                      .retain = rows[i].retain));
            const enum mqtt_type type = rows[i].qos == 1 ? MQTT_PUBACK : MQTT_PUBREC;
            cr_expect_eq(client_take(c[i], type) != NULL, rows[i].at_once, "row %u", i);
        }
        fake_disk_hold(&disk, false);
        for (unsigned i = 0; i < ROWS; i++) {
            const enum mqtt_type type = rows[i].qos == 1 ? MQTT_PUBACK : MQTT_PUBREC;
            cr_expect_eq(client_take(c[i], type) == NULL, rows[i].at_once, "row %u", i);
        }
        restart(shards);
        sub = client_connect(n, 0, "sub", LASTING);
        cr_expect_eq(client_heard_count(sub), 2 * ROWS);
        fake_disk_end(&disk);
    }
}

/* Nor does the next packet wait for one that nobody answers. */
Test(kept, a_retained_message_of_such_a_topic_holds_up_nothing)
{
    begin(1);
    fake_node_configure(n, HASTY);
    fake_node_advance(n, 100);
    fake_disk_hold(&disk, true);
    struct fake_client *c = publisher_says(SAY(.topic = "hasty/1", .payload = "x", .retain = true));
    client_say(c, "hasty/2", "x", 1);
    cr_expect_not_null(client_take(c, MQTT_PUBACK));
    client_send_publish(c, SAY(.topic = "x", .payload = "x", .retain = true));
    client_say(c, "hasty/2", "x", 1);
    cr_expect_null(client_take(c, MQTT_PUBACK));
    fake_disk_hold(&disk, false);
    cr_expect_not_null(client_take(c, MQTT_PUBACK));
    fake_disk_end(&disk);
}

/* Answers of one connection are in the order of its messages. */
Test(kept, what_need_not_wait_is_acknowledged_after_what_came_before)
{
    begin(1);
    fake_node_configure(n, HASTY);
    struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
    client_subscribe(sub, "#", 1);
    fake_disk_hold(&disk, true);
    struct fake_client *c = publisher_says(SAY(.topic = "x", .payload = "x", .qos = 1));
    const uint16_t hasty = client_say(c, "hasty/1", "x", 1);
    cr_expect_null(client_take(c, MQTT_PUBACK));
    fake_disk_hold(&disk, false);
    const struct got *g = client_take(c, MQTT_PUBACK);
    cr_assert(g != NULL && g->packet_id != hasty);
    g = client_take(c, MQTT_PUBACK);
    cr_assert(g != NULL && g->packet_id == hasty);
    fake_disk_end(&disk);
}

/* A crash loses what was acknowledged in the last STORE_LAZY_MS, and the metric says so. */
Test(kept, what_need_not_wait_is_on_disk_soon)
{
    begin(1);
    struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
    client_subscribe(sub, "#", 1);
    client_reset(sub);
    for (unsigned ms = STORE_LAZY_MS - 1; ms <= STORE_LAZY_MS; ms++) {
        fake_node_advance(n, 100);
        fake_node_configure(n, HASTY);
        cr_expect_eq(counters_unkept_ms(n->node), 0);
        struct fake_client *c = publisher_says(SAY(.topic = "hasty/1", .payload = "x", .qos = 1));
        cr_expect_not_null(client_take(c, MQTT_PUBACK));
        fake_node_advance(n, ms);
        cr_expect_eq(counters_unkept_ms(n->node), ms < STORE_LAZY_MS ? ms : 0);
        fake_disk_crash(&disk, NULL, NULL);
        open_disk(1);
    }
    sub = client_connect(n, 0, "sub", LASTING);
    cr_expect_str_eq(client_heard(sub), "hasty/1=x/1");
    fake_disk_end(&disk);
}

/* A message that some shard may have to keep, and does not, hangs on nothing that is not told. */
Test(kept, what_need_not_wait_delays_no_other)
{
    begin(1);
    fake_node_configure(n, HASTY);
    struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
    client_subscribe(sub, "hasty/#", 1);
    client_subscribe(sub, "x", 0);
    client_reset(sub);
    fake_node_advance(n, 100);
    struct fake_client *c = client_connect(n, 0, "me", TERMS(.clean_start = true));
    client_say(c, "hasty/1", "x", 1);
    cr_expect_not_null(client_take(c, MQTT_PUBACK));
    const uint64_t syncs = fake_node_count(n, METRIC_journal_syncs);
    client_say(c, "x", "x", 1);
    cr_expect_not_null(client_take(c, MQTT_PUBACK));
    cr_expect_eq(fake_node_count(n, METRIC_journal_syncs), syncs);
    client_send_publish(c, SAY(.topic = "x", .qos = 1, .retain = true)); /* deletes nothing */
    cr_expect_not_null(client_take(c, MQTT_PUBACK));
    fake_disk_end(&disk);
}

/* Publishers of another shard hear of a disk that is too slow for them: what waits is bounded. */
Test(kept, what_need_not_wait_does_where_the_disk_is_behind)
{
    enum { MESSAGES = 400 };
    static struct fake_client *c[MESSAGES];
    begin(2);
    fake_node_configure(n, HASTY);
    struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
    const unsigned home = fake_node_home(n, "sub");
    client_subscribe(sub, "hasty/#", 1);
    client_reset(sub);
    fake_node_advance(n, 100);
    fake_disk_hold(&disk, true);
    unsigned at_once = 0;
    for (unsigned i = 0; i < MESSAGES; i++) {
        c[i] = client_connect(n, 1 - home, "", TERMS(.clean_start = true));
        client_send_publish(
            c[i], SAY(.topic = "hasty/1", .payload = "x", .payload_len = 10000, .qos = 1));
        at_once += client_take(c[i], MQTT_PUBACK) != NULL;
    }
    cr_expect_gt(at_once, 0);
    cr_expect_lt(at_once, MESSAGES);
    cr_expect_gt(fake_node_count(n, METRIC_journal_late), 0);
    fake_disk_hold(&disk, false);
    for (unsigned i = 0; i < MESSAGES; i++) {
        at_once += client_take(c[i], MQTT_PUBACK) != NULL;
    }
    cr_expect_eq(at_once, MESSAGES);
    restart(2);
    fake_disk_end(&disk);
}

/* Nothing waits for the disk then; but what the journal has no room for was never bounded. */
Test(kept, an_interval_does_not_acknowledge_what_finds_no_room)
{
    enum { MESSAGES = 400 };
    static struct fake_client *c[MESSAGES];
    durability = "data.durability=interval";
    begin(2);
    struct fake_client *sub = client_connect(n, 0, "sub", LASTING);
    const unsigned home = fake_node_home(n, "sub");
    client_subscribe(sub, "t", 1);
    client_reset(sub);
    fake_node_advance(n, 2000);
    fake_disk_hold(&disk, true);
    unsigned at_once = 0;
    for (unsigned i = 0; i < MESSAGES; i++) {
        c[i] = client_connect(n, 1 - home, "", TERMS(.clean_start = true));
        client_send_publish(c[i],
                            SAY(.topic = "t", .payload = "x", .payload_len = 10000, .qos = 1));
        at_once += client_take(c[i], MQTT_PUBACK) != NULL;
    }
    cr_expect_gt(at_once, 0);
    cr_expect_lt(at_once, MESSAGES);
    fake_disk_hold(&disk, false);
    for (unsigned i = 0; i < MESSAGES; i++) {
        at_once += client_take(c[i], MQTT_PUBACK) != NULL;
    }
    cr_expect_eq(at_once, MESSAGES);
    fake_disk_end(&disk);
}
