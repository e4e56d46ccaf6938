/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three servers that pass each other every message at once, a disk that is durable when a test says
 * so, and a clock that is moved by hand. What can go wrong between them is the simulator's
 * (tests/sim/consensus_suite.c).
 */
#include "cluster/consensus/consensus.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVERS     3u
#define RECORDS_MAX 512u
#define MAIL_MAX    512u

struct server {
    struct consensus *consensus;
    uint64_t id;
    struct bytes records[RECORDS_MAX]; /* by malloc() */
    size_t count, durable;
    char applied[256]; /* each entry's first byte */
    size_t applied_len;
    unsigned committed, unknown;
    uint64_t last_ticket;
};

struct mail {
    uint64_t from, to;
    struct bytes message;
};

static struct server servers[SERVERS];
static struct mail mail[MAIL_MAX];
static size_t mail_count;
static uint64_t now_ms = 1000;
static uint64_t cut_off;    /* nobody hears of that one, and it hears of nobody */
static bool disks_are_slow; /* nothing becomes durable by itself */

static struct bytes copy(struct bytes b)
{
    uint8_t *const at = malloc(b.len + 1);
    cr_assert_not_null(at);
    memcpy(at, b.at, b.len);
    return bytes_of(at, b.len);
}

static void on_write(void *context, struct bytes record)
{
    struct server *const s = context;
    cr_assert_lt(s->count, RECORDS_MAX);
    s->records[s->count++] = copy(record);
}

static void on_send(void *context, uint64_t to, struct bytes message)
{
    const struct server *const s = context;
    cr_assert_lt(mail_count, MAIL_MAX);
    mail[mail_count++] = (struct mail){.from = s->id, .to = to, .message = copy(message)};
}

static void on_apply(void *context, uint64_t index, struct bytes entry)
{
    struct server *const s = context;
    (void)index;
    cr_assert_lt(s->applied_len, sizeof s->applied - 1);
    s->applied[s->applied_len++] = (char)entry.at[0];
}

static bool on_snapshot(void *context, struct bytes *data)
{
    const struct server *const s = context;
    *data = copy(bytes_of(s->applied, s->applied_len));
    return true;
}

static bool on_restore(void *context, struct bytes data)
{
    struct server *const s = context;
    memcpy(s->applied, data.at, data.len);
    s->applied_len = data.len;
    return true;
}

static void on_proposed(void *context, uint64_t ticket, enum consensus_end end)
{
    struct server *const s = context;
    s->last_ticket = ticket;
    s->committed += end == CONSENSUS_COMMITTED;
    s->unknown += end == CONSENSUS_UNKNOWN;
}

static struct consensus *create(struct server *s)
{
    struct consensus_conf conf = consensus_conf_defaults();
    conf.group = 1;
    conf.self = s->id;
    conf.seed = s->id;
    conf.snapshot_every = 20;
    conf.trailing_max = 5;
    conf.proposals_bytes_max = 1000;
    conf.events = (struct consensus_events){.write = on_write,
                                            .send = on_send,
                                            .apply = on_apply,
                                            .snapshot = on_snapshot,
                                            .restore = on_restore,
                                            .proposed = on_proposed,
                                            .context = s};
    struct consensus *const c = consensus_create(&conf);
    cr_assert_not_null(c);
    return c;
}

static void begin(unsigned count)
{
    uint8_t list[SERVERS * NODE_SERVER_BYTES];
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct node_server server = {.id = i + 1, .role = 1};
        len += node_server_encode(list + len, &server);
    }
    for (unsigned i = 0; i < count; i++) {
        servers[i].id = i + 1;
        servers[i].consensus = create(&servers[i]);
        cr_assert_eq(consensus_bootstrap(servers[i].consensus, bytes_of(list, len)), CONSENSUS_OK);
        cr_assert_eq(consensus_start(servers[i].consensus, now_ms), CONSENSUS_OK);
    }
}

static void end(void)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        consensus_destroy(servers[i].consensus);
        for (size_t k = 0; k < servers[i].count; k++) {
            free((void *)(uintptr_t)servers[i].records[k].at);
        }
    }
    for (size_t i = 0; i < mail_count; i++) {
        free((void *)(uintptr_t)mail[i].message.at);
    }
}

/* kill -9, and a start with what the disk has. */
static void restart(struct server *s)
{
    consensus_destroy(s->consensus);
    while (s->count > s->durable) {
        free((void *)(uintptr_t)s->records[--s->count].at);
    }
    s->applied_len = 0;
    s->consensus = create(s);
    for (size_t i = 0; i < s->count; i++) {
        cr_assert_eq(consensus_recover(s->consensus, s->records[i]), CONSENSUS_OK);
    }
    cr_assert_eq(consensus_start(s->consensus, now_ms), CONSENSUS_OK);
}

static void sync_disk(struct server *s)
{
    s->durable = s->count;
    consensus_durable(s->consensus, consensus_written(s->consensus), now_ms);
}

static void drop_mail(void)
{
    for (size_t i = 0; i < mail_count; i++) {
        free((void *)(uintptr_t)mail[i].message.at);
    }
    mail_count = 0;
}

static void pass_mail(void)
{
    struct mail some[MAIL_MAX];
    const size_t count = mail_count;
    memcpy(some, mail, count * sizeof mail[0]);
    mail_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct node_consensus message;
        struct server *const s = &servers[some[i].to - 1];
        cr_assert_eq(node_consensus_decode(&message, some[i].message), NODE_OK);
        const bool is_cut = some[i].from == cut_off || some[i].to == cut_off;
        if (s->consensus != NULL && !is_cut) {
            cr_expect_eq(consensus_received(s->consensus, some[i].from, &message, now_ms),
                         CONSENSUS_OK);
        }
        free((void *)(uintptr_t)some[i].message.at);
    }
}

static void run_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10) {
        now_ms += 10;
        for (unsigned k = 0; k < SERVERS; k++) {
            if (servers[k].consensus != NULL) {
                consensus_turn(servers[k].consensus, now_ms);
                if (!disks_are_slow) {
                    sync_disk(&servers[k]);
                }
            }
        }
        pass_mail();
    }
}

/* Another one that leads. */
static struct server *leader_but(const struct server *former)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        if (&servers[i] != former && servers[i].consensus != NULL &&
            consensus_leads(servers[i].consensus)) {
            return &servers[i];
        }
    }
    return NULL;
}

static struct server *leader(void)
{
    struct server *found = NULL;
    for (unsigned i = 0; i < SERVERS; i++) {
        if (servers[i].consensus != NULL && consensus_leads(servers[i].consensus)) {
            cr_expect_null(found, "two lead");
            found = &servers[i];
        }
    }
    return found;
}

static enum consensus_err propose(struct server *s, const char *entry, uint64_t ticket)
{
    return consensus_propose(s->consensus, bytes_text(entry), ticket, now_ms);
}

Test(consensus, what_a_majority_has_is_applied_by_all)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    cr_assert_not_null(s);
    cr_assert_eq(propose(s, "a", 7), CONSENSUS_OK);
    cr_assert_eq(propose(s, "b", 8), CONSENSUS_OK);
    run_ms(300);
    cr_expect_eq(s->committed, 2);
    cr_expect_eq(s->last_ticket, 8);
    for (unsigned i = 0; i < SERVERS; i++) {
        cr_expect_str_eq(servers[i].applied, "ab");
        cr_expect_eq(consensus_leader(servers[i].consensus), s->id);
    }
    cr_expect_eq(propose(&servers[s->id % SERVERS], "c", 9), CONSENSUS_NOT_LEADER);
    end();
}

Test(consensus, nothing_is_said_before_the_disk_has_it)
{
    disks_are_slow = true;
    begin(3);
    run_ms(5000);
    cr_expect_null(leader(), "elected by votes that a crash would undo");
    cr_expect_eq(mail_count, 0);
    disks_are_slow = false;
    run_ms(5000);
    cr_expect_not_null(leader());
    end();
}

Test(consensus, one_alone_commits_what_its_disk_has)
{
    begin(1);
    run_ms(50);
    struct server *const s = leader();
    cr_assert_not_null(s);
    disks_are_slow = true;
    cr_assert_eq(propose(s, "a", 1), CONSENSUS_OK);
    run_ms(1000);
    cr_expect_eq(s->committed, 0);
    sync_disk(s);
    cr_expect_eq(s->committed, 1);
    end();
}

Test(consensus, what_was_told_outlives_a_start)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    char entry[2] = "A";
    for (uint64_t i = 0; i < 50; i++) {
        entry[0] = (char)('A' + i);
        cr_assert_eq(propose(s, entry, i), CONSENSUS_OK);
        run_ms(20);
    }
    run_ms(300);
    cr_expect_eq(s->committed, 50);
    cr_expect_gt(consensus_figures(s->consensus).snapshots, 0);
    for (unsigned i = 0; i < SERVERS; i++) {
        restart(&servers[i]);
        run_ms(3000);
    }
    run_ms(5000);
    cr_assert_not_null(leader());
    for (unsigned i = 0; i < SERVERS; i++) {
        cr_expect_eq(servers[i].applied_len, 50);
        cr_expect_eq(memcmp(servers[i].applied, s->applied, 50), 0);
    }
    end();
}

Test(consensus, who_has_missed_much_gets_a_snapshot)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    struct server *const late = &servers[s->id % SERVERS];
    consensus_destroy(late->consensus);
    late->consensus = NULL;
    for (uint64_t i = 0; i < 60; i++) {
        cr_assert_eq(propose(s, "x", i), CONSENSUS_OK);
        run_ms(100);
    }
    cr_expect_eq(s->committed, 60);
    late->consensus = create(late);
    for (size_t i = 0; i < late->count; i++) {
        cr_assert_eq(consensus_recover(late->consensus, late->records[i]), CONSENSUS_OK);
    }
    cr_assert_eq(consensus_start(late->consensus, now_ms), CONSENSUS_OK);
    run_ms(2000);
    cr_expect_eq(late->applied_len, 60);
    cr_expect_eq(consensus_figures(late->consensus).restored, 1);
    end();
}

/* A leader's entries, of one byte each, that follow the one of that index and term. */
struct appended {
    uint64_t from, term, index, index_term, committed;
    const char *entries; /* one each */
    uint64_t entries_term;
};

static void receive_append(const struct server *s, const struct appended *a)
{
    uint8_t items[64 * (NODE_ENTRY_BYTES + 1)];
    size_t len = 0;
    for (const char *e = a->entries; *e != '\0'; e++) {
        const struct node_entry entry = {
            .term = a->entries_term, .type = 1, .data = bytes_of((const uint8_t *)e, 1)};
        cr_assert_leq(len + NODE_ENTRY_BYTES + 1, sizeof items);
        len += node_entry_encode(items + len, &entry);
    }
    const struct node_consensus message = {.kind = NODE_APPEND,
                                           .group = 1,
                                           .term = a->term,
                                           .index = a->index,
                                           .index_term = a->index_term,
                                           .other = a->committed,
                                           .data = bytes_of(items, len)};
    cr_expect_eq(consensus_received(s->consensus, a->from, &message, now_ms), CONSENSUS_OK);
}

/* The last message that anybody has sent. */
static struct node_consensus last_mail(void)
{
    struct node_consensus message = {.kind = 0};
    cr_assert_gt(mail_count, 0);
    cr_assert_eq(node_consensus_decode(&message, mail[mail_count - 1].message), NODE_OK);
    return message;
}

Test(consensus, entries_that_a_snapshot_has_are_not_written_again)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    struct server *const late = &servers[s->id % SERVERS];
    for (uint64_t i = 0; i < 30; i++) {
        cr_assert_eq(propose(s, "x", i), CONSENSUS_OK);
        run_ms(100);
    }
    const struct consensus_figures before = consensus_figures(late->consensus);
    cr_expect_gt(before.snapshots, 0, "it does not have its first entries any more");
    const struct appended all = {
        .from = s->id, .term = before.term, .entries = "xxxxxxxxxxxx", .entries_term = 1};
    receive_append(late, &all);
    cr_expect_eq(last_mail().kind, NODE_APPENDED);
    cr_expect_eq(last_mail().other, 0);
    cr_expect_geq(last_mail().index, 20, "all that its snapshot has");
    cr_expect_eq(consensus_figures(late->consensus).last, before.last);
    run_ms(500);
    cr_assert_eq(propose(s, "y", 30), CONSENSUS_OK);
    run_ms(500);
    cr_expect_eq(late->applied_len, 31);
    cr_expect_eq(memcmp(late->applied, s->applied, 31), 0);
    end();
}

/* Entry 1 is the configuration, which all begin with. */
Test(consensus, a_leader_does_not_hear_of_what_an_earlier_one_sent)
{
    begin(3);
    struct server *const s = &servers[0];
    const struct appended first = {
        .from = 2, .term = 2, .index = 1, .index_term = 1, .entries = "abc", .entries_term = 2};
    receive_append(s, &first);
    sync_disk(s);
    cr_expect_eq(last_mail().index, 4);
    const struct appended second = {
        .from = 3, .term = 3, .index = 1, .index_term = 1, .committed = 4, .entries = ""};
    receive_append(s, &second);
    sync_disk(s);
    cr_expect_eq(last_mail().term, 3);
    cr_expect_eq(last_mail().other, 0);
    cr_expect_eq(last_mail().index, 1, "what the earlier one sent is not what this one has");
    cr_expect_eq(s->applied_len, 0, "nor what it has committed");
    const struct appended third = {.from = 3,
                                   .term = 3,
                                   .index = 1,
                                   .index_term = 1,
                                   .committed = 4,
                                   .entries = "ABC",
                                   .entries_term = 3};
    receive_append(s, &third);
    sync_disk(s);
    cr_expect_eq(last_mail().index, 4);
    cr_expect_str_eq(s->applied, "ABC");
    end();
}

/* What was sent in term 2 is on the disk when another one leads already, who has said `second`. */
static void write_late(const struct appended *second)
{
    begin(3);
    struct server *const s = &servers[0];
    const struct appended first = {
        .from = 2, .term = 2, .index = 1, .index_term = 1, .entries = "abc", .entries_term = 2};
    receive_append(s, &first);
    receive_append(s, second);
    sync_disk(s);
    cr_expect_gt(mail_count, 0);
    for (size_t i = 0; i < mail_count; i++) {
        struct node_consensus said;
        cr_assert_eq(node_consensus_decode(&said, mail[i].message), NODE_OK);
        cr_expect(mail[i].to != 3 || said.other != 0 || said.index <= 1);
    }
    end();
}

Test(consensus, what_is_written_late_is_told_to_nobody_else)
{
    const struct appended second = {
        .from = 3, .term = 3, .index = 1, .index_term = 1, .entries = ""};
    write_late(&second);
}

Test(consensus, what_is_written_late_is_not_told_to_who_was_refused)
{
    const struct appended second = {
        .from = 3, .term = 3, .index = 9, .index_term = 2, .entries = ""};
    write_late(&second);
}

/* Of one that leads again, before the disk has what was written first. */
Test(consensus, an_entry_may_go_and_come_again_while_it_is_written)
{
    begin(3);
    struct server *const s = &servers[0];
    const struct appended first = {
        .from = 2, .term = 2, .index = 1, .index_term = 1, .entries = "a", .entries_term = 2};
    const struct appended other = {
        .from = 3, .term = 3, .index = 1, .index_term = 1, .entries = "b", .entries_term = 3};
    const struct appended again = {
        .from = 2, .term = 4, .index = 1, .index_term = 1, .entries = "a", .entries_term = 2};
    receive_append(s, &first);
    receive_append(s, &other);
    receive_append(s, &again);
    sync_disk(s);
    cr_expect_eq(last_mail().index, 2);
    const struct appended more = {.from = 2,
                                  .term = 4,
                                  .index = 2,
                                  .index_term = 2,
                                  .committed = 3,
                                  .entries = "c",
                                  .entries_term = 4};
    receive_append(s, &more);
    sync_disk(s);
    cr_expect_eq(last_mail().other, 0);
    cr_expect_eq(last_mail().index, 3);
    cr_expect_str_eq(s->applied, "ac");
    end();
}

/* It leads, and its disk has an entry of an earlier leader, which nobody else has; nothing of its
 * own yet. */
static struct server *lead_with_what_another_sent(void)
{
    begin(3);
    struct server *const s = &servers[0];
    const struct appended before = {
        .from = 2, .term = 2, .index = 1, .index_term = 1, .entries = "a", .entries_term = 2};
    receive_append(s, &before);
    sync_disk(s);
    consensus_destroy(servers[2].consensus);
    servers[2].consensus = NULL;
    for (unsigned i = 0; i < 1000 && leader() == NULL; i++) {
        run_ms(10);
    }
    cr_assert_eq(leader(), s, "the other one has less");
    return s;
}

static void receive_appended(const struct server *s, uint64_t index)
{
    const struct node_consensus message = {.kind = NODE_APPENDED,
                                           .group = 1,
                                           .term = consensus_figures(s->consensus).term,
                                           .index = index};
    cr_expect_eq(consensus_received(s->consensus, 2, &message, now_ms), CONSENSUS_OK);
}

/* As another one may be elected that lacks it (Ongaro, figure 3.7). */
Test(consensus, what_an_earlier_leader_sent_is_committed_by_an_entry_of_this_one)
{
    struct server *const s = lead_with_what_another_sent();
    receive_appended(s, 2);
    cr_expect_eq(consensus_figures(s->consensus).committed, 1);
    receive_appended(s, 3);
    sync_disk(s);
    receive_appended(s, 3);
    cr_expect_eq(consensus_figures(s->consensus).committed, 3);
    cr_expect_str_eq(s->applied, "a");
    end();
}

/* What it has written as a leader goes, and more that was before it. */
Test(consensus, who_leads_no_more_may_end_while_it_writes)
{
    struct server *const s = lead_with_what_another_sent();
    cr_assert_eq(propose(s, "b", 1), CONSENSUS_OK);
    const struct consensus_figures f = consensus_figures(s->consensus);
    cr_assert_eq(f.last, 4, "one of its own before that");
    cr_assert_eq(f.committed, 1);
    const struct appended other = {.from = 3,
                                   .term = f.term + 1,
                                   .index = 1,
                                   .index_term = 1,
                                   .entries = "A",
                                   .entries_term = f.term + 1};
    receive_append(s, &other);
    end();
}

/* By then it asks for votes itself. */
Test(consensus, a_snapshot_that_is_written_late_is_told_to_nobody)
{
    uint8_t list[SERVERS * NODE_SERVER_BYTES];
    size_t len = 0;
    for (unsigned i = 0; i < SERVERS; i++) {
        const struct node_server server = {.id = i + 1, .role = 1};
        len += node_server_encode(list + len, &server);
    }
    begin(3);
    struct server *const s = &servers[0];
    const struct node_consensus message = {.kind = NODE_INSTALL,
                                           .group = 1,
                                           .term = 2,
                                           .index = 5,
                                           .index_term = 2,
                                           .other = 1,
                                           .configuration = bytes_of(list, len),
                                           .data = bytes_text("abcd")};
    cr_assert_eq(consensus_received(s->consensus, 2, &message, now_ms), CONSENSUS_OK);
    for (unsigned i = 0; i < 30; i++) {
        now_ms += 100;
        consensus_turn(s->consensus, now_ms);
    }
    sync_disk(s);
    cr_expect_gt(mail_count, 0);
    for (size_t i = 0; i < mail_count; i++) {
        struct node_consensus said;
        cr_assert_eq(node_consensus_decode(&said, mail[i].message), NODE_OK);
        cr_expect(mail[i].to == 2 || mail[i].to == 3);
        cr_expect_eq(said.kind, NODE_VOTE);
    }
    cr_expect_str_eq(s->applied, "abcd");
    end();
}

Test(consensus, proposals_have_a_bound_and_an_end)
{
    char large[400] = "";
    memset(large, 'L', sizeof large - 1);
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    disks_are_slow = true;
    cr_expect_eq(propose(s, large, 1), CONSENSUS_OK, "it is the batch");
    cr_expect_eq(propose(s, large, 2), CONSENSUS_OK);
    cr_expect_eq(propose(s, large, 3), CONSENSUS_OK);
    cr_expect_eq(propose(s, large, 4), CONSENSUS_BUSY);
    consensus_destroy(s->consensus);
    s->consensus = NULL;
    cr_expect_eq(s->committed, 0);
    cr_expect_eq(s->unknown, 3);
    end();
}

Test(consensus, another_one_leads_when_it_is_asked)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    const uint64_t to = s->id % SERVERS + 1;
    cr_expect_eq(consensus_transfer(s->consensus, 9, now_ms), CONSENSUS_NOT_LEADER, "nobody's id");
    cr_expect_eq(consensus_transfer(s->consensus, to, now_ms), CONSENSUS_OK);
    cr_expect_eq(consensus_transfer(s->consensus, to, now_ms), CONSENSUS_BUSY);
    run_ms(500);
    cr_assert_not_null(leader());
    cr_expect_eq(leader()->id, to);
    end();
}

/* Until the time that it says nobody else is elected, whatever does not arrive. */
Test(consensus, a_leader_knows_until_when_it_leads)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    const struct consensus *const c = s->consensus;
    const uint64_t lease_ms = consensus_lease_ms(c);
    cr_expect_gt(lease_ms, now_ms + 500);
    cr_expect_leq(lease_ms, now_ms + 1000);
    for (unsigned i = 0; i < SERVERS; i++) {
        if (&servers[i] != s) {
            cr_expect_eq(consensus_lease_ms(servers[i].consensus), 0, "who follows has none");
        }
    }
    cut_off = s->id;
    const uint64_t cut_ms = now_ms;
    while (leader_but(s) == NULL) {
        cr_assert_lt(now_ms, cut_ms + 10000);
        run_ms(10);
        cr_assert_leq(consensus_lease_ms(c), lease_ms + 100,
                      "what it hears nothing of is no proof");
    }
    cr_expect_geq(now_ms, lease_ms);
    cut_off = 0;
    end();
}

/* Of the other two one is enough, but that one has to be heard. */
Test(consensus, a_majority_makes_the_lease)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    struct server *const dead = &servers[s->id % SERVERS];
    consensus_destroy(dead->consensus);
    dead->consensus = NULL;
    run_ms(3000);
    cr_assert_eq(leader(), s);
    cr_expect_gt(consensus_lease_ms(s->consensus), now_ms + 500);
    end();
}

Test(consensus, who_asks_another_one_to_lead_has_no_lease)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    const uint64_t to = s->id % SERVERS + 1;
    cr_expect_gt(consensus_lease_ms(s->consensus), now_ms);
    cr_expect_eq(consensus_transfer(s->consensus, to, now_ms), CONSENSUS_OK);
    cr_expect_eq(consensus_lease_ms(s->consensus), 0);
    run_ms(2000);
    cr_assert_not_null(leader());
    cr_expect_gt(consensus_lease_ms(leader()->consensus), now_ms, "in another term there is");
    end();
}

/* It may have heard from a leader a moment before, which counts on that. */
Test(consensus, who_has_just_begun_votes_for_nobody)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    struct server *const f = &servers[s->id % SERVERS];
    restart(f);
    const size_t before = mail_count;
    const struct node_consensus vote = {.kind = NODE_VOTE,
                                        .group = 1,
                                        .term = consensus_figures(s->consensus).term + 1,
                                        .index = 1000,
                                        .index_term = 1000};
    cr_expect_eq(consensus_received(f->consensus, s->id % SERVERS + 2, &vote, now_ms),
                 CONSENSUS_OK);
    sync_disk(f);
    cr_expect_eq(mail_count, before, "not even no");
    cr_expect_lt(consensus_figures(f->consensus).term, vote.term);
    end();
}

/* Records that are written again come to the same, and those before need not be there. */
Test(consensus, what_is_written_again_is_all_there_is)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    for (uint64_t i = 0; i < 30; i++) {
        cr_assert_eq(propose(s, "x", i), CONSENSUS_OK);
        run_ms(i == 15 ? 500 : 20);
    }
    run_ms(500);
    for (unsigned i = 0; i < SERVERS; i++) {
        struct server *const again = &servers[i];
        const struct consensus_figures before = consensus_figures(again->consensus);
        const size_t first = again->count;
        cr_assert_eq(consensus_write_again(again->consensus), CONSENSUS_OK);
        for (size_t k = 0; k < first; k++) {
            free((void *)(uintptr_t)again->records[k].at);
        }
        again->count -= first;
        memmove(again->records, again->records + first, again->count * sizeof again->records[0]);
        again->durable = again->count;
        restart(again);
        cr_expect_eq(consensus_figures(again->consensus).term, before.term);
        cr_expect_eq(consensus_figures(again->consensus).last, before.last);
        cr_expect_gt(consensus_snapshot(again->consensus).len, 0);
        run_ms(3000);
    }
    run_ms(5000);
    cr_assert_not_null(leader());
    cr_assert_eq(propose(leader(), "y", 99), CONSENSUS_OK);
    run_ms(500);
    for (unsigned i = 0; i < SERVERS; i++) {
        cr_expect_eq(servers[i].applied_len, 31);
    }
    end();
}

/* A vote that is forgotten may be given twice. */
Test(consensus, a_vote_is_written_again)
{
    begin(3);
    struct server *const s = &servers[0];
    const struct node_consensus vote = {
        .kind = NODE_VOTE, .group = 1, .term = 7, .index = 1000, .index_term = 1000};
    now_ms += 1000; /* who is asked to may stand for election; it has not heard of it */
    cr_expect_eq(consensus_received(s->consensus, 2, &vote, now_ms), CONSENSUS_OK);
    sync_disk(s);
    const size_t first = s->count;
    cr_assert_eq(consensus_write_again(s->consensus), CONSENSUS_OK);
    for (size_t k = 0; k < first; k++) {
        free((void *)(uintptr_t)s->records[k].at);
    }
    s->count -= first;
    memmove(s->records, s->records + first, s->count * sizeof s->records[0]);
    s->durable = s->count;
    restart(s);
    now_ms += 1000;
    const size_t before = mail_count;
    cr_expect_eq(consensus_received(s->consensus, 3, &vote, now_ms), CONSENSUS_OK);
    sync_disk(s);
    for (size_t i = before; i < mail_count; i++) {
        struct node_consensus said;
        cr_assert_eq(node_consensus_decode(&said, mail[i].message), NODE_OK);
        cr_expect_eq(said.flags & NODE_CONSENSUS_GRANTED, 0, "to two in one term");
    }
    cr_expect_gt(mail_count, before);
    end();
}

/* What a former leader has left behind may be another entry than the leader's. */
Test(consensus, who_follows_says_no_more_than_it_was_asked)
{
    struct node_consensus said;
    uint8_t entries[2 * NODE_ENTRY_BYTES + 2];
    size_t len = 0;
    begin(3);
    struct server *const s = &servers[0];
    for (unsigned i = 0; i < 2; i++) {
        const struct node_entry entry = {.term = 2, .type = 1, .data = bytes_text("e")};
        len += node_entry_encode(entries + len, &entry);
    }
    const struct node_consensus former = {.kind = NODE_APPEND,
                                          .group = 1,
                                          .term = 2,
                                          .index = 1,
                                          .index_term = 1,
                                          .data = bytes_of(entries, len)};
    cr_expect_eq(consensus_received(s->consensus, 2, &former, now_ms), CONSENSUS_OK);
    sync_disk(s);
    cr_expect_eq(consensus_figures(s->consensus).last, 3);
    const struct node_consensus next = {
        .kind = NODE_APPEND, .group = 1, .term = 3, .index = 1, .index_term = 1};
    drop_mail();
    cr_expect_eq(consensus_received(s->consensus, 3, &next, now_ms), CONSENSUS_OK);
    sync_disk(s);
    cr_assert_eq(mail_count, 1);
    cr_assert_eq(node_consensus_decode(&said, mail[0].message), NODE_OK);
    cr_expect_eq(said.kind, NODE_APPENDED);
    cr_expect_eq(said.other, 0, "it is not refused");
    cr_expect_eq(said.index, 1);
    end();
}

/* libraft would end the process. */
Test(consensus, another_leader_of_the_same_term_is_refused)
{
    begin(3);
    run_ms(5000);
    struct server *const s = leader();
    const struct node_consensus append = {
        .kind = NODE_APPEND, .group = 1, .term = consensus_figures(s->consensus).term};
    cr_expect_eq(consensus_received(s->consensus, s->id % SERVERS + 1, &append, now_ms),
                 CONSENSUS_MALFORMED);
    cr_expect(consensus_leads(s->consensus));
    end();
}

/* ---- Who its servers are */

static enum node_server_role role_at(const struct server *s, uint64_t id)
{
    uint8_t items[8 * NODE_SERVER_BYTES];
    struct node_server server;
    struct bytes rest = bytes_of(items, consensus_servers(s->consensus, items));
    cr_assert_leq(rest.len, sizeof items);
    while (rest.len > 0 && node_server_next(&rest, &server)) {
        if (server.id == id) {
            return (enum node_server_role)server.role;
        }
    }
    return NODE_SERVER_NONE;
}

/* Asked for again and again, as META does. */
static void change(struct server *s, uint64_t id, enum node_server_role role)
{
    for (unsigned i = 0; i < 20 && role_at(s, id) != role; i++) {
        const enum consensus_err err = consensus_change(s->consensus, id, role, now_ms);
        cr_expect(err == CONSENSUS_OK || err == CONSENSUS_BUSY);
        run_ms(200);
    }
    cr_expect_eq(role_at(s, id), role);
}

static void begin_with_one(void)
{
    begin(1);
    for (unsigned i = 1; i < SERVERS; i++) {
        servers[i].id = i + 1;
        servers[i].consensus = create(&servers[i]);
        cr_assert_eq(consensus_start(servers[i].consensus, now_ms), CONSENSUS_OK);
    }
    run_ms(1000);
}

Test(consensus, servers_come_change_and_go)
{
    begin_with_one();
    struct server *const s = leader();
    cr_assert_eq(s, &servers[0]);
    cr_assert_eq(propose(s, "a", 1), CONSENSUS_OK);
    change(s, 2, NODE_SERVER_STANDBY);
    cr_assert_eq(propose(s, "b", 2), CONSENSUS_OK);
    run_ms(300);
    cr_expect_str_eq(servers[1].applied, "ab", "it has the log, and no vote");
    change(s, 2, NODE_SERVER_VOTER);
    change(s, 3, NODE_SERVER_VOTER);
    cr_assert_eq(propose(s, "c", 3), CONSENSUS_OK);
    run_ms(300);
    cr_expect_str_eq(servers[2].applied, "abc");
    cr_expect_eq(role_at(&servers[2], 1), NODE_SERVER_VOTER);
    change(s, 2, NODE_SERVER_NONE);
    cr_assert_eq(propose(s, "d", 4), CONSENSUS_OK);
    run_ms(300);
    cr_expect_str_eq(servers[1].applied, "abc", "it is none any more");
    cr_expect_str_eq(servers[2].applied, "abcd");
    end();
}

/* What it has sent, and its disk has lost, is not taken for what it writes in its place. */
Test(consensus, one_alone_that_starts_again_is_in_another_term)
{
    begin_with_one();
    struct server *const s = leader();
    change(s, 2, NODE_SERVER_STANDBY);
    run_ms(300);
    const uint64_t term = consensus_figures(s->consensus).term;
    s->durable = s->count;
    disks_are_slow = true;
    cr_assert_eq(propose(s, "a", 1), CONSENSUS_OK);
    pass_mail();
    sync_disk(&servers[1]);
    pass_mail();
    disks_are_slow = false;
    s->durable = s->count - 1;
    restart(s);
    run_ms(300);
    cr_expect_gt(consensus_figures(s->consensus).term, term);
    cr_assert_eq(propose(s, "b", 2), CONSENSUS_OK);
    run_ms(500);
    cr_expect_str_eq(s->applied, "b");
    cr_expect_str_eq(servers[1].applied, "b");
    end();
}

Test(consensus, one_change_at_a_time_by_who_leads_and_not_of_itself)
{
    begin_with_one();
    struct server *const s = leader();
    cr_expect_eq(consensus_change(s->consensus, 1, NODE_SERVER_VOTER, now_ms), CONSENSUS_OK);
    cr_expect_eq(consensus_change(s->consensus, 1, NODE_SERVER_NONE, now_ms), CONSENSUS_LEADS);
    cr_expect_eq(consensus_change(servers[1].consensus, 1, NODE_SERVER_STANDBY, now_ms),
                 CONSENSUS_NOT_LEADER);
    disks_are_slow = true;
    cr_expect_eq(consensus_change(s->consensus, 2, NODE_SERVER_STANDBY, now_ms), CONSENSUS_OK);
    cr_expect_eq(consensus_change(s->consensus, 3, NODE_SERVER_STANDBY, now_ms), CONSENSUS_BUSY);
    cr_expect_eq(role_at(s, 2), NODE_SERVER_SPARE);
    disks_are_slow = false;
    end();
}

/* Whoever is elected needs no vote of it, so what it has heard proves nothing. */
Test(consensus, who_has_no_vote_makes_no_lease)
{
    begin(2);
    servers[2].id = 3;
    servers[2].consensus = create(&servers[2]);
    cr_assert_eq(consensus_start(servers[2].consensus, now_ms), CONSENSUS_OK);
    run_ms(5000);
    struct server *const s = leader();
    cr_assert_not_null(s);
    change(s, 3, NODE_SERVER_STANDBY);
    run_ms(500);
    struct server *const other = &servers[s->id % 2];
    consensus_destroy(other->consensus);
    other->consensus = NULL;
    const uint64_t lease_ms = consensus_lease_ms(s->consensus);
    cr_expect_gt(lease_ms, now_ms + 500);
    run_ms(500);
    cr_assert(consensus_leads(s->consensus), "it has not noticed yet");
    cr_expect_leq(consensus_lease_ms(s->consensus), lease_ms + 100);
    end();
}

/* How often that server says yes to a candidate, as of now. */
static unsigned votes_of(struct server *s, uint64_t term)
{
    const struct node_consensus vote = {
        .kind = NODE_VOTE, .group = 1, .term = term, .index = 1000, .index_term = 1000};
    unsigned yes = 0;
    drop_mail();
    cr_expect_eq(consensus_received(s->consensus, 3, &vote, now_ms), CONSENSUS_OK);
    sync_disk(s);
    for (size_t i = 0; i < mail_count; i++) {
        struct node_consensus said;
        cr_assert_eq(node_consensus_decode(&said, mail[i].message), NODE_OK);
        yes += (said.flags & NODE_CONSENSUS_GRANTED) != 0;
    }
    return yes;
}

/* It may be a voter by now: its leader counts on it as on any other. */
Test(consensus, who_has_no_vote_gives_one_when_the_leader_is_silent)
{
    begin_with_one();
    struct server *const s = leader();
    struct server *const f = &servers[1];
    change(s, 2, NODE_SERVER_STANDBY);
    run_ms(3000);
    const uint64_t term = consensus_figures(s->consensus).term + 1;
    cr_expect_eq(votes_of(f, term), 0, "it hears from a leader");
    now_ms += 500;
    cr_expect_eq(votes_of(f, term), 0);
    sync_disk(f);
    restart(f);
    cr_expect_eq(votes_of(f, term), 0, "it does not know what it has heard");
    now_ms += 500;
    cr_expect_eq(votes_of(f, term), 0);
    now_ms += 1000;
    cr_expect_eq(votes_of(f, term), 1);
    end();
}

/* One that never answers: after a while another change is possible. */
Test(consensus, a_promotion_that_does_not_succeed_is_given_up)
{
    begin_with_one();
    struct server *const s = leader();
    change(s, 2, NODE_SERVER_STANDBY);
    consensus_destroy(servers[1].consensus);
    servers[1].consensus = NULL;
    cr_assert_eq(propose(s, "a", 1), CONSENSUS_OK);
    run_ms(300);
    cr_expect_eq(consensus_change(s->consensus, 2, NODE_SERVER_VOTER, now_ms), CONSENSUS_OK);
    cr_expect_eq(consensus_change(s->consensus, 3, NODE_SERVER_STANDBY, now_ms), CONSENSUS_BUSY);
    run_ms(60000);
    cr_expect_eq(role_at(s, 2), NODE_SERVER_STANDBY);
    change(s, 3, NODE_SERVER_STANDBY);
    end();
}

/* The first entries, once more, when the server has made a snapshot of them: late as only a network
 * can be. */
Test(consensus, entries_from_the_first_on_come_late)
{
    uint8_t items[NODE_ENTRY_BYTES + 1];
    const struct node_entry first = {.term = 1, .type = 1, .data = bytes_text("q")};
    begin_with_one();
    struct server *const s = leader();
    change(s, 2, NODE_SERVER_STANDBY);
    for (uint64_t i = 0; i < 60; i++) {
        cr_assert_eq(propose(s, "x", i), CONSENSUS_OK);
        run_ms(50);
    }
    run_ms(300);
    cr_assert_gt(consensus_figures(servers[1].consensus).snapshots, 0);
    const struct node_consensus late = {.kind = NODE_APPEND,
                                        .group = 1,
                                        .term = consensus_figures(s->consensus).term,
                                        .data = bytes_of(items, node_entry_encode(items, &first))};
    cr_expect_eq(consensus_received(servers[1].consensus, 1, &late, now_ms), CONSENSUS_OK);
    cr_expect_eq(consensus_figures(servers[1].consensus).last,
                 consensus_figures(s->consensus).last);
    cr_assert_eq(propose(s, "y", 99), CONSENSUS_OK);
    run_ms(500);
    cr_expect_eq(servers[1].applied_len, 61);
    cr_expect_eq(servers[1].applied[60], 'y');
    end();
}

Test(consensus, records_that_nobody_wrote_are_refused)
{
    static const uint8_t no_kind[] = {9, 1, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t gap[] = {3, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
                                  0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t behind[] = {4, 9, 0, 0, 0, 0, 0, 0, 0};
    struct server *const s = &servers[0];
    s->id = 1;
    s->consensus = create(s);
    cr_expect_eq(consensus_recover(s->consensus, bytes_of(no_kind, 0)), CONSENSUS_MALFORMED);
    cr_expect_eq(consensus_recover(s->consensus, bytes_of(no_kind, sizeof no_kind)),
                 CONSENSUS_MALFORMED);
    cr_expect_eq(consensus_recover(s->consensus, bytes_of(gap, sizeof gap)), CONSENSUS_OK);
    cr_expect_eq(consensus_recover(s->consensus, bytes_of(behind, sizeof behind)),
                 CONSENSUS_MALFORMED);
    cr_expect_eq(consensus_recover(s->consensus, bytes_of(gap, 10)), CONSENSUS_MALFORMED);
    end();
}
