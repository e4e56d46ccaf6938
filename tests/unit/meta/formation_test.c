/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that pass each other messages when a test says so, and disks that are durable at once, or
 * when it says so. What else can go wrong between them is the simulator's (tests/sim/meta_suite.c).
 */
#include "cluster/meta/formation.h"

#include <criterion/criterion.h>
#include <string.h>

#define NODES    4u
#define MAIL_MAX 256u

struct peer {
    struct formation *formation;
    struct node_uuid uuid;
    uint8_t record[FORMATION_RECORD_MAX];
    size_t record_len;
    uint8_t kept[FORMATION_RECORD_MAX]; /* what a crash leaves */
    size_t kept_len;
    unsigned starts;
    bool is_slow; /* nothing is durable by itself */
    bool is_cut;  /* hears nothing */
};

struct mail {
    struct node_uuid from, to;
    uint8_t bytes[FORMATION_RECORD_MAX];
    size_t len;
};

static struct peer peers[NODES];
static struct mail mail[MAIL_MAX];
static unsigned mail_count;
static uint64_t now_ms = 5000;
static unsigned initial_size = 3;

static void on_write(void *context, struct bytes record)
{
    struct peer *const p = context;
    memcpy(p->record, record.at, record.len);
    p->record_len = record.len;
}

static void on_send(void *context, struct node_uuid to, struct bytes message)
{
    const struct peer *const p = context;
    cr_assert_eq(p->record_len, p->kept_len, "it speaks before its disk has it");
    cr_assert_eq(memcmp(p->record, p->kept, p->kept_len), 0);
    cr_assert_lt(mail_count, MAIL_MAX);
    struct mail *const m = &mail[mail_count++];
    m->from = p->uuid;
    m->to = to;
    m->len = message.len;
    memcpy(m->bytes, message.at, message.len);
}

static void sync_disk(struct peer *p)
{
    memcpy(p->kept, p->record, p->record_len);
    p->kept_len = p->record_len;
    formation_durable(p->formation, formation_written(p->formation), now_ms);
}

static void start(unsigned i)
{
    struct peer *const p = &peers[i];
    struct formation_conf conf = formation_conf_defaults();
    formation_destroy(p->formation);
    p->uuid = (struct node_uuid){{1, (uint8_t)i}};
    conf.self = p->uuid;
    conf.random[0] = (uint8_t)i;
    conf.random[1] = (uint8_t)++p->starts;
    conf.initial_size = initial_size;
    conf.events = (struct formation_events){on_write, on_send, p};
    p->formation = formation_create(&conf);
    cr_assert_not_null(p->formation);
    memcpy(p->record, p->kept, p->kept_len);
    p->record_len = p->kept_len;
    if (p->kept_len > 0) {
        cr_assert(formation_recover(p->formation, bytes_of(p->kept, p->kept_len)));
    }
}

static void begin(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        start(i);
    }
}

static void end(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        formation_destroy(peers[i].formation);
    }
}

static void turn(unsigned i, unsigned sees)
{
    struct formation_seen seen[NODES];
    static const char *const names[] = {"a", "b", "c", "d"};
    unsigned count = 0;
    for (unsigned k = 0; k < NODES; k++) {
        const bool is_member = formation_phase(peers[k].formation) == FORMATION_FORMED;
        if ((sees & 1u << k) != 0) {
            seen[count++] = (struct formation_seen){
                .node = {.uuid = peers[k].uuid, .name = bytes_text(names[k])},
                .cluster =
                    is_member ? formation_cluster(peers[k].formation) : (struct cluster_uuid){{0}}};
        }
    }
    formation_turn(peers[i].formation, seen, count, now_ms);
    if (!peers[i].is_slow) {
        sync_disk(&peers[i]);
    }
}

static void pass_mail(void)
{
    static struct mail some[MAIL_MAX];
    const unsigned count = mail_count;
    memcpy(some, mail, count * sizeof mail[0]);
    mail_count = 0;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned k = 0; k < NODES; k++) {
            if (node_uuid_equal(peers[k].uuid, some[i].to) && !peers[k].is_cut) {
                formation_received(peers[k].formation, some[i].from,
                                   bytes_of(some[i].bytes, some[i].len), now_ms);
                if (!peers[k].is_slow) {
                    sync_disk(&peers[k]);
                }
            }
        }
    }
}

static void run_ms(unsigned ms, unsigned sees)
{
    for (unsigned i = 0; i < ms; i += 250) {
        now_ms += 250;
        for (unsigned k = 0; k < NODES; k++) {
            if ((sees & 1u << k) != 0) {
                turn(k, sees);
            }
        }
        pass_mail();
    }
}

static enum formation_phase phase(unsigned i)
{
    return formation_phase(peers[i].formation);
}

static void all_are_of_one(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        cr_expect_eq(phase(i), FORMATION_FORMED, "%u", i);
        cr_expect(cluster_uuid_equal(formation_cluster(peers[i].formation),
                                     formation_cluster(peers[first].formation)));
        cr_expect_eq(formation_number(peers[i].formation), i - first + 1);
    }
}

Test(formation, three_that_see_each_other_are_a_cluster)
{
    begin();
    run_ms(3000, 0x3);
    cr_expect_eq(phase(0), FORMATION_EMPTY, "two are too few");
    run_ms(3000, 0x7);
    all_are_of_one(0, 3);
    cr_expect(
        bytes_equal(formation_members(peers[0].formation), formation_members(peers[2].formation)));
    end();
}

Test(formation, one_alone_is_one_if_that_is_wanted)
{
    initial_size = 1;
    begin();
    run_ms(500, 0x1);
    all_are_of_one(0, 1);
    end();
}

Test(formation, who_comes_later_waits_to_be_welcomed)
{
    uint8_t out[NODE_META_HEAD_MAX];
    begin();
    run_ms(3000, 0x7);
    run_ms(3000, 0xf);
    cr_expect_eq(phase(3), FORMATION_EMPTY);
    const struct cluster_uuid cluster = formation_cluster(peers[0].formation);
    formation_received(peers[3].formation, peers[0].uuid,
                       bytes_of(out, formation_welcome(out, cluster, 9)), now_ms);
    cr_expect_neq(phase(3), FORMATION_FORMED, "it is not on disk");
    sync_disk(&peers[3]);
    cr_expect_eq(phase(3), FORMATION_FORMED);
    cr_expect_eq(formation_number(peers[3].formation), 9);
    cr_expect_eq(formation_members(peers[3].formation).len, 0);
    start(3);
    cr_expect_eq(formation_number(peers[3].formation), 9);
    end();
}

Test(formation, nothing_is_said_before_the_disk_has_it)
{
    begin();
    peers[0].is_slow = true;
    run_ms(3000, 0x7);
    cr_expect_eq(phase(1), FORMATION_EMPTY);
    sync_disk(&peers[0]);
    pass_mail();
    cr_expect_eq(phase(1), FORMATION_PROMISED);
    run_ms(2000, 0x7);
    cr_expect_eq(phase(1), FORMATION_PROMISED, "that all have promised is not on disk");
    sync_disk(&peers[0]);
    run_ms(2000, 0x7);
    all_are_of_one(0, 3);
    end();
}

Test(formation, who_has_proposed_dies_and_comes_back)
{
    begin();
    peers[2].is_cut = true;
    run_ms(1000, 0x7);
    cr_expect_eq(phase(0), FORMATION_PROPOSED);
    cr_expect_eq(phase(1), FORMATION_PROMISED);
    mail_count = 0;
    run_ms(30000, 0x6);
    cr_expect_eq(phase(1), FORMATION_PROMISED, "it keeps to it");
    cr_expect(node_uuid_equal(formation_waits_for(peers[1].formation), peers[0].uuid));
    start(0);
    start(1);
    peers[2].is_cut = false;
    run_ms(3000, 0x7);
    all_are_of_one(0, 3);
    end();
}

Test(formation, what_is_given_up_is_given_up_for_all)
{
    begin();
    peers[2].is_cut = true;
    run_ms(1000, 0x7);
    const struct cluster_uuid first = formation_cluster(peers[0].formation);
    cr_expect_eq(phase(1), FORMATION_PROMISED);
    peers[1].is_cut = true;
    run_ms(10000, 0x3);
    cr_expect_eq(phase(0), FORMATION_EMPTY);
    peers[1].is_cut = peers[2].is_cut = false;
    run_ms(5000, 0x7);
    all_are_of_one(0, 3);
    cr_expect_not(cluster_uuid_equal(first, formation_cluster(peers[0].formation)));
    end();
}

/* Two propose, with a node in common: it is of one only, and the other one begins again. */
Test(formation, of_two_at_once_one_comes_about)
{
    begin();
    turn(0, 0x7);
    turn(1, 0xe);
    cr_expect_eq(phase(0), FORMATION_PROPOSED);
    cr_expect_eq(phase(1), FORMATION_PROPOSED);
    run_ms(8000, 0xf);
    all_are_of_one(0, 3);
    cr_expect_eq(phase(3), FORMATION_EMPTY);
    end();
}

Test(formation, who_sees_a_cluster_gives_up_its_own)
{
    begin();
    turn(1, 0xe);
    cr_expect_eq(phase(1), FORMATION_PROPOSED);
    const struct formation_seen seen = {.node = {.uuid = {{9}}, .name = bytes_text("x")},
                                        .cluster = {{5}}};
    formation_turn(peers[1].formation, &seen, 1, now_ms);
    cr_expect_eq(phase(1), FORMATION_EMPTY);
    sync_disk(&peers[1]);
    mail_count = 0;
    turn(0, 0x7);
    pass_mail();
    end();
}

Test(formation, only_who_has_proposed_says_that_it_is_given_up)
{
    uint8_t out[NODE_META_HEAD_MAX];
    begin();
    peers[2].is_cut = true;
    run_ms(1000, 0x7);
    const struct node_form abandoned = {.kind = NODE_FORM_ABANDONED,
                                        .cluster = formation_cluster(peers[1].formation)};
    const struct bytes message = bytes_of(out, node_form_encode(out, &abandoned));
    formation_received(peers[1].formation, peers[2].uuid, message, now_ms);
    cr_expect_eq(phase(1), FORMATION_PROMISED);
    formation_received(peers[1].formation, peers[0].uuid, message, now_ms);
    cr_expect_eq(phase(1), FORMATION_EMPTY);
    end();
}

Test(formation, who_has_promised_is_not_welcomed_elsewhere)
{
    uint8_t out[NODE_META_HEAD_MAX];
    begin();
    peers[2].is_cut = true;
    run_ms(1000, 0x7);
    formation_received(peers[1].formation, peers[3].uuid,
                       bytes_of(out, formation_welcome(out, (struct cluster_uuid){{5}}, 9)),
                       now_ms);
    cr_expect_eq(phase(1), FORMATION_PROMISED);
    end();
}

Test(formation, records_and_messages_that_nobody_wrote_are_refused)
{
    begin();
    cr_expect_not(formation_recover(peers[0].formation, bytes_of(NULL, 0)));
    cr_expect_not(formation_recover(peers[0].formation, bytes_of("\x01\x01\x09", 3)));
    formation_received(peers[0].formation, peers[1].uuid, bytes_of("\x01\x01\x09", 3), now_ms);
    cr_expect_eq(phase(0), FORMATION_EMPTY);
    end();
}
