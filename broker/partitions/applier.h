/* SPDX-License-Identifier: Apache-2.0 */
/*
 * applier: a thread of the node that makes records of what partitions have committed, for all of
 * them, on their leader as on the others.
 *
 *   shard ── entry ─▶ jobs, in order ─▶ store/apply.h ─▶ records_overlay.h ─▶ a batch, with places
 *     ▲                                                                         │ on disk
 *     └──────────── news: WRITTEN up to an index, FLUSHED, FAILED ◀─────────────┘
 *
 * A batch is made APPLIER_WRITE_MS after the first change, when changes take APPLIER_BYTES_MAX, or
 * when somebody wants it (applier_flush()). Where it fails it is tried again until it does not:
 * nothing is applied meanwhile, and groups come to their own bounds.
 *
 * An entry that cannot be applied ends its partition here: it is FAILED, once, and whatever else
 * comes of it is passed over, until the next start. What was applied of others since the last batch
 * is applied again, as changes are thrown away all together.
 *
 * Owner: the node. Jobs come from shards, each partition's from its home; news are the home's to
 * take. Memory: entries that wait, and those that are applied and in no batch that is on disk: what
 * groups have in their tails, which is bounded there, once more; and changes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/store/apply.h"
#include "broker/store/checkpoint.h"
#include "broker/store/place.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define APPLIER_BYTES_MAX ((size_t)8 << 20)
#define APPLIER_WRITE_MS  500u
#define APPLIER_AGAIN_MS  1000u /* after a batch has failed */

#define APPLIER_PART_BYTES ((size_t)64 << 10)
#define APPLIER_COPY_MS    10000u

struct applier_thread;

enum applier_news_kind {
    APPLIER_WRITTEN, /* `index` is on disk */
    APPLIER_FLUSHED, /* all that came before the applier_flush() of that `index`; or FAILED came */
    APPLIER_FAILED,
    APPLIER_PART,        /* of a copy that was asked for: `bytes`, as of `index` */
    APPLIER_PART_NOT,    /* it cannot be had */
    APPLIER_TAKEN,       /* a part of a copy from elsewhere is on disk */
    APPLIER_COPIED,      /* all of it is, as of `index` */
    APPLIER_COPY_FAILED, /* that part is none: the copy is to be begun anew */
};

/* On the heap: whoever has taken it frees it. */
struct applier_news {
    struct applier_news *next; /* a later one */
    uint64_t index;
    uint32_t generation; /* as the partition's job had it that it is of */
    uint16_t partition;
    uint8_t kind;        /* enum applier_news_kind */
    bool is_last;        /* PART */
    uint64_t copy, part; /* PART, PART_NOT, TAKEN */
    uint64_t to;         /* PART, PART_NOT: who has asked */
    uint64_t sealed;     /* PART: as of `index` (place.h) */
    size_t len;
    uint8_t bytes[]; /* PART */
};

struct applier_conf {
    struct checkpoint *checkpoint; /* borrowed */
    uint64_t (*clock_ms)(void);    /* any thread's */
    unsigned shards;
    const uint8_t *homes;                 /* [SERIAL_PARTITIONS]: the shard whose the news are */
    const struct partition_place *places; /* likewise: as the checkpoint has them */
    /* There are news for that shard. By the thread, or who calls applier_work(). */
    void (*wake)(void *context, unsigned shard);
    void *context;
    bool by_hand; /* no thread: applier_work() */
};

NODISCARD struct applier_thread *
applier_create(const struct applier_conf *conf); /* NULL: no memory,
                                                    no thread */
/* No further job comes. All that can be written is, and the thread is gone. */
void applier_end(struct applier_thread *t);
void applier_destroy(struct applier_thread *t); /* after applier_end(); news that nobody took go */

/* ---- jobs: in their order, of each partition; they copy what they are given. Without memory the
 * process ends. */

/* The next entries are of that incarnation, behind that index; erase: there are to be no records,
 * whatever there is. `place->changed` below the one that there is: that stays. */
void applier_begin(struct applier_thread *t, unsigned partition, uint32_t generation,
                   const struct partition_place *place, bool erase);
void applier_entry(struct applier_thread *t, unsigned partition, uint64_t index,
                   struct bytes entry);
void applier_note(struct applier_thread *t, unsigned partition, uint64_t changed);
void applier_flush(struct applier_thread *t, unsigned partition, uint64_t number);

/* A part of a partition's records for somebody else (store/partition_copy.h), of
 * APPLIER_PART_BYTES, about: PART, or PART_NOT. Part 0 begins another copy, unless one is under way
 * that was asked for within APPLIER_COPY_MS. Of each partition one at a time: 1 MiB, and a part. */
struct applier_copy {
    uint64_t copy, part, to;
    uint32_t incarnation;
};
void applier_copy_out(struct applier_thread *t, unsigned partition,
                      const struct applier_copy *wanted);

/* The next part of a copy as of that place's `index`, where it is `sealed` or not, after
 * applier_begin() with `erase`, and that being on disk: TAKEN, or COPIED, or COPY_FAILED. */
void applier_copy_in(struct applier_thread *t, unsigned partition, uint64_t part,
                     const struct partition_place *of, struct bytes bytes);

/* ---- news, in their order; NULL: none */
struct applier_news *applier_take(struct applier_thread *t, unsigned shard);
bool applier_has_news(const struct applier_thread *t, unsigned shard);

/* by_hand: all that can be done by now. What was submitted to the checkpoint is not waited for. */
void applier_work(struct applier_thread *t);
bool applier_is_writing(struct applier_thread *t);  /* likewise: a batch is under way */
uint64_t applier_next_ms(struct applier_thread *t); /* likewise: when there is something; 0: now */

/* ---- figures; any thread */
struct applier_figures {
    uint64_t waiting_bytes; /* entries that are not applied yet */
    uint64_t applied;       /* entries, in all */
    uint64_t batches, failures;
};
struct applier_figures applier_figures(const struct applier_thread *t);
