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
        if (s->consensus != NULL) {
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
