/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records_overlay: records.h over the checkpoint: changes gather in memory, and are seen by who
 * reads, until they are taken as a batch.
 *
 *   records ─▶ changes ── records_overlay_take() ─▶ batch ─▶ checkpoint_submit() ─▶ done(): on disk
 *        └─ what is not among them ─▶ checkpoint_read_now()
 *
 * Of many changes of one key only the last is in the batch, and what was queued and done in between
 * is in none. The next changes may begin when done() has said that the batch is on disk, not
 * before, as the overlay reads what was committed.
 *
 * Owner: one thread, which waits for the disk: neither a shard nor the checkpoint's writer or
 * reader. Memory: the changes, which records_overlay_bytes() counts for the owner to bound; and
 * what was read ahead, RECORDS_AHEAD_BYTES of each letter.
 */
#pragma once

#include "broker/store/key_map.h"
#include "broker/store/records.h"

#define RECORDS_AHEAD_BYTES   65536u
#define RECORDS_AHEAD_LETTERS 8u

/* A part of a range that was read at once. */
struct records_ahead {
    struct record_key prefix; /* it was read for; of 0 bytes: nothing was */
    struct record_key last;   /* that was given; of 0 bytes: none yet */
    struct checkpoint_pairs *pairs;
    size_t given, at; /* the pair's place that was given last, and the next one's */
    bool more;
};

struct records_overlay {
    struct records records;
    struct checkpoint *checkpoint;
    struct key_map changes;
    struct key_map dropped; /* prefixes of which nothing is left that the checkpoint has */
    struct checkpoint_pairs *got;
    struct records_ahead ahead[RECORDS_AHEAD_LETTERS];
    unsigned ahead_next; /* to be used next */
};

/* It stays where it is until it ends. The checkpoint is borrowed, and has
 * delivery_record_reference() for what begins with q. */
void records_overlay_init(struct records_overlay *o, struct checkpoint *checkpoint);
void records_overlay_fini(struct records_overlay *o); /* with all that was not taken */

/* Of memory, about. */
size_t records_overlay_bytes(const struct records_overlay *o);

/* All changes, into a new batch; it may have none. NULL: no memory, and nothing has happened. */
struct checkpoint_batch *records_overlay_take(struct records_overlay *o);

/* What has changed is forgotten. */
void records_overlay_drop(struct records_overlay *o);
