/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/partitions/ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/fifo.h"
#include "broker/groups/groups.h"
#include "broker/node.h"
#include "broker/store/serial.h"

/* From so many bytes on that the groups have no room for, publishers wait. */
#define LATE_BYTES_MAX (1u << 20)

struct proposal {
    uint64_t journal; /* store_last() when it was made: it comes behind that */
    uint8_t partition;
    bool over;
};

struct late {
    struct late *next;
    uint64_t ticket;
    size_t len;
    uint8_t bytes[];
};

struct led {
    uint64_t term; /* 0: it is not led here */
    uint32_t counter;
    struct late *first, *last;
};

struct ledger {
    /* The ticket of a proposal is how many there had been, with it. Those behind `gone`, in order;
     * what is in front of `open` is over. Position: of the journal's before it, and its ticket. */
    struct fifo proposals;
    uint64_t gone;
    uint64_t gone_journal, gone_position; /* of the last one that is gone */
    uint64_t open;
    uint64_t last_waited;
    size_t late_bytes;
    struct led led[PARTITIONS];
};

bool ledger_begin(struct shard *s)
{
    s->ledger = calloc(1, sizeof *s->ledger);
    if (s->ledger != NULL) {
        s->ledger->proposals.item = sizeof(struct proposal);
    }
    return s->ledger != NULL;
}

static void forget_late(struct ledger *l, unsigned partition)
{
    struct led *const led = &l->led[partition];
    while (led->first != NULL) {
        struct late *const late = led->first;
        led->first = late->next;
        l->late_bytes -= late->len;
        free(late);
    }
    led->last = NULL;
}

void ledger_end(struct shard *s)
{
    struct ledger *const l = s->ledger;
    if (l == NULL) {
        return;
    }
    for (unsigned p = 0; p < PARTITIONS; p++) {
        forget_late(l, p);
    }
    fifo_fini(&l->proposals);
    free(l);
    s->ledger = NULL;
}

/* ---- positions */

static struct proposal *at(const struct ledger *l, uint64_t ticket)
{
    return fifo_at(&l->proposals, (uint32_t)(ticket - l->gone - 1));
}

static uint64_t proposed(const struct ledger *l)
{
    return l->gone + l->proposals.count;
}

/* Those that are over go, once the journal has what was before them: until then they say which
 * position that has. */
static void settle(const struct shard *s)
{
    struct ledger *const l = s->ledger;
    const uint64_t kept = store_kept(s->store);
    while (l->open < proposed(l) && at(l, l->open + 1)->over) {
        l->open++;
    }
    while (l->gone < l->open && at(l, l->gone + 1)->journal <= kept) {
        l->gone_journal = at(l, l->gone + 1)->journal;
        l->gone_position = l->gone_journal + l->gone + 1;
        fifo_pop(&l->proposals);
        l->gone++;
    }
}

/* How many proposals were made before the journal had more than `journal` entries. */
static uint64_t before_journal(const struct ledger *l, uint64_t journal)
{
    uint64_t from = l->gone;
    uint64_t end = proposed(l);
    while (from < end) {
        const uint64_t middle = from + (end - from + 1) / 2;
        if (at(l, middle)->journal <= journal) {
            from = middle;
        } else {
            end = middle - 1;
        }
    }
    return from;
}

/* How many proposals have a position that is not above that one. */
static uint64_t before_position(const struct ledger *l, uint64_t position)
{
    uint64_t from = l->gone;
    uint64_t end = proposed(l);
    while (from < end) {
        const uint64_t middle = from + (end - from + 1) / 2;
        if (at(l, middle)->journal + middle <= position) {
            from = middle;
        } else {
            end = middle - 1;
        }
    }
    return from;
}

uint64_t ledger_last_of(const struct shard *s)
{
    return store_last(s->store) + proposed(s->ledger);
}

uint64_t ledger_last_waited_of(const struct shard *s)
{
    const struct ledger *const l = s->ledger;
    const uint64_t journal = store_last_waited(s->store);
    const uint64_t position =
        journal == 0 ? 0 : journal + before_journal(l, journal - 1); /* it came behind those */
    return position > l->last_waited ? position : l->last_waited;
}

uint64_t ledger_kept_of(const struct shard *s)
{
    const struct ledger *const l = s->ledger;
    settle(s);
    const uint64_t kept = store_kept(s->store);
    uint64_t position =
        kept < store_last(s->store) ? kept + before_journal(l, kept) : ledger_last_of(s);
    if (l->open < proposed(l)) {
        const uint64_t first = at(l, l->open + 1)->journal + l->open + 1;
        position = first - 1 < position ? first - 1 : position;
    }
    return position;
}

bool ledger_is_written_of(const struct shard *s, uint64_t position)
{
    const struct ledger *const l = s->ledger;
    settle(s);
    if (position <= l->gone_position) { /* of the journal it is no more than both of these */
        return store_is_written(s->store, position < l->gone_journal ? position : l->gone_journal);
    }
    const uint64_t tickets = before_position(l, position);
    return tickets <= l->open && store_is_written(s->store, position - tickets);
}

/* ---- proposals */

static void wait_outside(struct ledger *l, unsigned partition, uint64_t ticket, struct bytes entry)
{
    struct led *const led = &l->led[partition];
    struct late *const late = malloc(sizeof *late + entry.len);
    if (late == NULL) {
        store_out_of_memory();
    }
    *late = (struct late){.ticket = ticket, .len = entry.len};
    memcpy(late->bytes, entry.at, entry.len);
    if (led->last == NULL) {
        led->first = late;
    } else {
        led->last->next = late;
    }
    led->last = late;
    l->late_bytes += entry.len;
}

/* false: not now. What is no leader's any more is over with ledger_drop(). */
static bool give_group(struct shard *s, unsigned partition, uint64_t ticket, struct bytes entry)
{
    switch (group_propose(s, partition, entry, ticket)) {
    case GROUP_OK:
    case GROUP_NOT_LEADER:
        return true;
    case GROUP_TOO_LARGE: /* entries are cut to be shorter, and so are messages */
        assert(!"an entry is too long for its group");
        return true;
    case GROUP_NO_MEMORY:
        store_out_of_memory();
    case GROUP_BUSY:
    case GROUP_NO_DISK:
    case GROUP_CORRUPT:
        break;
    }
    return false;
}

void partition_append(struct shard *s, unsigned partition, struct bytes entry, bool waited_for)
{
    struct ledger *const l = s->ledger;
    ASSERT_OWNED(s);
    assert(partition < PARTITIONS);

    struct led *const led = &l->led[partition];
    if (led->term == 0) {
        return;
    }
    const struct proposal proposal = {.journal = store_last(s->store),
                                      .partition = (uint8_t)partition};
    if (!fifo_push(&l->proposals, &proposal)) {
        store_out_of_memory();
    }
    const uint64_t ticket = proposed(l);
    if (waited_for) {
        l->last_waited = proposal.journal + ticket;
    }
    if (led->first != NULL || !give_group(s, partition, ticket, entry)) {
        wait_outside(l, partition, ticket, entry);
    }
    s->late_proposals = l->late_bytes > LATE_BYTES_MAX;
}

void ledger_turn(struct shard *s)
{
    struct ledger *const l = s->ledger;
    for (unsigned p = 0; l->late_bytes > 0 && p < PARTITIONS; p++) {
        struct led *const led = &l->led[p];
        for (struct late *late; (late = led->first) != NULL &&
                                give_group(s, p, late->ticket, bytes_of(late->bytes, late->len));) {
            led->first = late->next;
            led->last = late->next == NULL ? NULL : led->last;
            l->late_bytes -= late->len;
            free(late);
        }
    }
    s->late_proposals = l->late_bytes > LATE_BYTES_MAX;
}

void ledger_proposed(struct shard *s, unsigned partition, uint64_t ticket, enum consensus_end end)
{
    struct ledger *const l = s->ledger;
    if (end == CONSENSUS_COMMITTED && ticket > l->gone && ticket <= proposed(l)) {
        struct proposal *const proposal = at(l, ticket);
        assert(proposal->partition == partition);
        proposal->over = true;
    }
}

void ledger_lead(struct shard *s, unsigned partition, uint64_t term)
{
    struct led *const led = &s->ledger->led[partition];
    ASSERT_OWNED(s);
    if (term != led->term) {
        led->counter = 0;
    }
    led->term = term;
}

void ledger_drop(struct shard *s, unsigned partition)
{
    struct ledger *const l = s->ledger;
    ASSERT_OWNED(s);
    ledger_lead(s, partition, 0);
    forget_late(l, partition);
    for (uint64_t ticket = l->gone + 1; ticket <= proposed(l); ticket++) {
        struct proposal *const proposal = at(l, ticket);
        proposal->over = proposal->over || proposal->partition == partition;
    }
    s->late_proposals = l->late_bytes > LATE_BYTES_MAX;
    s->settled = UINT64_MAX; /* what others wait for may be kept now */
}

uint64_t ledger_number(struct shard *s, unsigned partition)
{
    struct led *const led = &s->ledger->led[partition];
    assert(led->term != 0);
    return serial_make(partition, led->term, ++led->counter);
}

uint64_t ledger_term(const struct shard *s, unsigned partition)
{
    return s->ledger == NULL ? 0 : s->ledger->led[partition].term;
}
