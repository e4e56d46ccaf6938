/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger by itself: journal and groups are variables of this file. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "broker/groups/groups.h"
#include "broker/node.h"
#include "broker/partitions/ledger.h"
#include "broker/store/serial.h"
#include "cluster/splitmix.h"

#define TERM   9u
#define EVENTS 400u

static struct shard s;
static struct store journal;
static uint64_t kept, written; /* of the journal's entries */
static enum group_err answer;
static uint64_t tickets[EVENTS * 2];
static unsigned partitions[EVENTS * 2];
static size_t given;

_Thread_local struct shard *shard_self;

uint64_t store_kept(const struct store *store)
{
    (void)store;
    return kept;
}

bool store_is_written(const struct store *of, uint64_t position)
{
    (void)of;
    return position <= written;
}

void store_out_of_memory(void)
{
    abort();
}

enum group_err group_propose(struct shard *of, unsigned group, struct bytes entry, uint64_t ticket)
{
    (void)of;
    cr_assert_gt(entry.len, 0);
    if (answer == GROUP_OK) {
        partitions[given] = group;
        tickets[given++] = ticket;
    }
    return answer;
}

static void begin(void)
{
    shard_self = &s;
    s.store = &journal;
    cr_assert(ledger_begin(&s));
    journal = (struct store){.last = 0};
    kept = written = 0;
    given = 0;
    answer = GROUP_OK;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        ledger_lead(&s, p, TERM);
    }
}

static void end(void)
{
    ledger_end(&s);
    cr_expect_null(s.ledger);
}

TestSuite(ledger, .init = begin, .fini = end);

static void propose(unsigned p)
{
    partition_append(&s, p, bytes_text("entry"), true);
}

static void commit(size_t which)
{
    ledger_proposed(&s, partitions[which], tickets[which], CONSENSUS_COMMITTED);
}

/* ---- one after the other */

Test(ledger, a_position_is_kept_when_all_before_it_are)
{
    journal.last = 2;
    propose(1);
    journal.last = 3;
    propose(2);
    cr_expect_eq(ledger_last(&s), 5);
    cr_expect_eq(ledger_kept(&s), 0);
    commit(1);
    cr_expect_eq(ledger_kept(&s), 0, "the journal has nothing");
    kept = 2;
    cr_expect_eq(ledger_kept(&s), 2, "the first proposal is behind that");
    commit(0);
    cr_expect_eq(ledger_kept(&s), 3);
    kept = 3;
    cr_expect_eq(ledger_kept(&s), 5);
}

Test(ledger, who_leads_nothing_has_no_positions)
{
    ledger_lead(&s, 3, 0);
    propose(3);
    cr_expect_eq(ledger_last(&s), 0);
    cr_expect_eq(given, 0);
}

Test(ledger, what_is_lost_is_open_until_it_is_dropped)
{
    propose(3);
    propose(4);
    ledger_proposed(&s, 3, tickets[0], CONSENSUS_UNKNOWN);
    commit(1);
    cr_expect_eq(ledger_kept(&s), 0, "nobody may be told of it");
    ledger_drop(&s, 3);
    cr_expect_eq(ledger_kept(&s), 2, "nobody is left who waits");
    cr_expect_eq(ledger_term(&s, 3), 0);
    cr_expect_eq(ledger_term(&s, 4), TERM);
}

Test(ledger, what_a_group_has_no_room_for_waits_in_order)
{
    answer = GROUP_BUSY;
    propose(3);
    propose(3);
    answer = GROUP_OK;
    propose(3);
    cr_expect_eq(given, 0, "it must not overtake the first two");
    ledger_turn(&s);
    cr_assert_eq(given, 3);
    cr_expect_lt(tickets[0], tickets[1]);
    cr_expect_lt(tickets[1], tickets[2]);
    answer = GROUP_BUSY;
    propose(3);
    ledger_drop(&s, 3);
    answer = GROUP_OK;
    ledger_turn(&s);
    cr_expect_eq(given, 3, "it is of a leader that is none");
}

Test(ledger, much_that_waits_is_congestion)
{
    static uint8_t much[(1u << 20) + 1];
    answer = GROUP_BUSY;
    partition_append(&s, 3, bytes_of(much, sizeof much), false);
    cr_expect(shard_congested(&s));
    answer = GROUP_OK;
    ledger_turn(&s);
    cr_expect_not(shard_congested(&s));
}

Test(ledger, numbers_grow_and_are_of_the_term)
{
    const uint64_t first = ledger_number(&s, 5);
    cr_expect_eq(serial_partition(first), 5);
    cr_expect_eq(serial_term(first), TERM);
    cr_expect_gt(ledger_number(&s, 5), first);
    ledger_lead(&s, 5, TERM + 1);
    cr_expect_gt(ledger_number(&s, 5), first, "also those of the next term");
}

Test(ledger, the_last_that_is_waited_for)
{
    journal.last = 4;
    journal.last_waited = 3;
    cr_expect_eq(ledger_last_waited(&s), 3);
    partition_append(&s, 1, bytes_text("entry"), false);
    cr_expect_eq(ledger_last_waited(&s), 3);
    propose(1);
    cr_expect_eq(ledger_last_waited(&s), 6);
    journal.last = journal.last_waited = 5;
    cr_expect_eq(ledger_last_waited(&s), 7);
}

/* ---- against a list of all of it */

struct event {
    bool of_journal;
    bool over;      /* of a proposal */
    uint64_t entry; /* of the journal */
    size_t which;   /* of a proposal */
};

static struct event events[EVENTS];
static size_t count;

static bool is_kept(size_t i, uint64_t of_journal)
{
    return events[i].of_journal ? events[i].entry <= of_journal : events[i].over;
}

static uint64_t in_a_row(uint64_t of_journal)
{
    size_t i = 0;
    while (i < count && is_kept(i, of_journal)) {
        i++;
    }
    return i;
}

static void something(uint64_t *chance)
{
    struct event *const e = &events[count];
    switch (splitmix_next(chance) % 4) {
    case 0:
        *e = (struct event){.of_journal = true, .entry = ++journal.last};
        count++;
        break;
    case 1:
        *e = (struct event){.which = given};
        propose((unsigned)(splitmix_next(chance) % PARTITIONS));
        count++;
        break;
    case 2:
        kept += journal.last > kept ? splitmix_next(chance) % (journal.last - kept + 1) : 0;
        written = kept;
        break;
    default:
        for (size_t i = 0; i < count; i++) {
            if (!events[i].of_journal && !events[i].over && splitmix_next(chance) % 3 == 0) {
                events[i].over = true;
                commit(events[i].which);
                break;
            }
        }
    }
}

Test(ledger, is_what_a_list_says)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t chance = seed;
        end();
        begin();
        count = 0;
        while (count < EVENTS) {
            something(&chance);
            cr_assert_eq(ledger_last(&s), count);
            cr_assert_eq(ledger_kept(&s), in_a_row(kept), "seed %lu, %zu", seed, count);
            const uint64_t position = count == 0 ? 0 : splitmix_next(&chance) % (count + 1);
            cr_assert_eq(ledger_is_written(&s, position), in_a_row(written) >= position);
        }
    }
}
