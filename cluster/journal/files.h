/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files: the segments of one shard's journal as files of a directory. All of it blocks: it is for a
 * background thread, and for the start; never for a shard.
 *
 *   DIR/journal-3-000000000042.seg    segment 42 of shard 3, segment_bytes long from its first
 * moment DIR/journal-3.new                 one that is being made; of no meaning after a crash
 *
 * A segment is filled with zeros before it has its name, so that no write to it is the first to its
 * blocks: a sync then has the data to write, and no metadata. An old segment that is used again
 * keeps its blocks, and its bytes: its head has an older number and its records an older seed
 * (segment.h).
 *
 * Each function that may fail returns 0 or the errno of what did.
 * Owner: one thread at a time. Memory: none, but what files_list() gives.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cluster/journal/copy.h"
#include "cluster/journal/recover.h"
#include "cluster/journal/segment.h"
#include "proto/nodiscard.h"

struct files {
    int dir; /* a descriptor of the directory; -1: not open */
    uint32_t shard;
    uint64_t segment_bytes;
};

NODISCARD int files_open(struct files *f, const char *path, uint32_t shard, uint64_t segment_bytes);
void files_close(struct files *f); /* fine with dir = -1 */

/* What there is, by number, ascending; to be freed. No files: *list may be NULL. */
NODISCARD int files_list(const struct files *f, struct recover_file **list, size_t *count);

/* A new segment, zero-filled and durable. EEXIST: there is one of that number. */
NODISCARD int files_create(const struct files *f, uint64_t number);

/* Makes segment `from`, which is not needed any more, the segment `to`. EINVAL: its size is not
 * segment_bytes; it is still there. EEXIST: there is one of that number. */
NODISCARD int files_recycle(const struct files *f, uint64_t from, uint64_t to);

/* Makes segment `number` of the lowest segment below `needed` that has the right size, and removes
 * those below that one; if there is none, a new one. It may be there already, made by a call that
 * failed later, or spare since a recovery; one of another size, which has never begun either, is
 * made anew. */
NODISCARD int files_prepare(const struct files *f, uint64_t number, uint64_t needed);

/* ENOENT: there is none. */
NODISCARD int files_remove(const struct files *f, uint64_t number);

/* For reading and writing. */
NODISCARD int files_segment_open(const struct files *f, uint64_t number, int *fd);

/*
 * Recovers from what there is. What is handed over is on disk: each segment is synced, and then
 * read from the disk, not from what the kernel remembers, as that may be what a failed sync has
 * left. With RECOVER_OK it removes the segments that never began and whose number is passed over.
 * The owner's shard is f's. *recovered as recover_journal() has it.
 */
NODISCARD enum recover_err files_recover(struct recovered *recovered, const struct files *f,
                                         const struct segment_owner *owner,
                                         const struct recover_visitor *visitor);

/* What there is to be read, `list` as files_list() has it; f and list are borrowed. */
struct recover_source files_source(const struct files *f, const struct recover_file *list,
                                   size_t count);

/* Copies it, as copy_journal() has it, into the directory of `to`, where no segments of the shard
 * are; each is synced, the directory is not. The owner's shard is from's. */
NODISCARD enum recover_err files_copy(struct copied *out, const struct files *from,
                                      const struct files *to, const struct segment_owner *owner);
