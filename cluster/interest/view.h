/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view: what this node knows of another one's interest: its items, its generation and version.
 *
 *   NONE ── first part of a snapshot ──▶ FILLING ── last part ──▶ SWEEPING ── swept ──▶ WHOLE
 *     ▲                                    ▲                                              │
 *     └── view_drop(), swept ──            └──────── first part of another ───────────────┘
 *
 * While a snapshot comes in, what was known before stays, as interest that is there too long costs
 * bytes only; what the snapshot has not named is swept out afterwards, a few at a time. Changes go
 * on meanwhile: they come in order between the parts.
 *
 * Owner: interest. Memory: for each text 28 bytes and itself, rounded up by the allocator, and 8 to
 * 24 of the table's. What bounds the number of texts is the other node's bound of subscriptions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/interest/digest.h"
#include "cluster/table.h"
#include "proto/node_interest.h"
#include "proto/nodiscard.h"

/* Who is told: the broker's index. Items of kinds that are not known are not told. */
struct view_events {
    /* It is there now, or has another count. false: out of memory, say; it will be told again. */
    bool (*set)(void *context, const struct node_interest_item *item);
    void (*removed)(void *context, const struct node_interest_item *item);
    void *context;
};

enum view_state { VIEW_NONE = 0, VIEW_FILLING, VIEW_SWEEPING, VIEW_WHOLE };

/* To be read by others. */
struct view {
    enum view_state state;
    bool dropping;       /* SWEEPING: there will be nothing */
    uint64_t generation; /* 0: of none. Of NONE: what is here may be a part, or too much */
    uint64_t version;
    uint32_t snapshot, parts; /* FILLING, and behind it: the number, and the parts that came */
    struct digest digest;     /* of all items that are here */
    size_t count;

    struct table table;
    uint64_t seed;
    uint32_t mark;  /* of the items of the last snapshot, and what was set since; its epoch */
    uint64_t place; /* SWEEPING: where to go on */
    size_t bytes;   /* of the items, as asked of the allocator */
};

NODISCARD bool view_init(struct view *v, uint64_t seed); /* false: out of memory */
void view_fini(struct view *v);                          /* nobody is told */

enum view_err {
    VIEW_OK = 0,
    VIEW_STALE,     /* of an old generation, or of a snapshot that is over: nothing to be done */
    VIEW_MISSING,   /* something before it has not come */
    VIEW_NO_MEMORY, /* neither whole nor wrong: another snapshot is needed */
};

/* What came in a frame. */
NODISCARD enum view_err view_snapshot(struct view *v, const struct node_interest_snapshot *part,
                                      const struct view_events *events);
NODISCARD enum view_err view_delta(struct view *v, const struct node_interest_delta *delta,
                                   const struct view_events *events);

/* SWEEPING: goes on, over `steps` items or buckets. true: it has come to its end just now. */
bool view_sweep(struct view *v, unsigned steps, const struct view_events *events);

/* All of it is to go, by view_sweep(). */
void view_drop(struct view *v);
