/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy: what a journal has at this moment, as other segments, while its owner goes on writing it.
 *
 * In the copy is all that was durable when it was begun, perhaps more, and nothing behind it: each
 * segment as far as its records are good, no longer. What a recovery makes of it is what it would
 * have made of the journal after a crash at some moment of the copying.
 *
 * Why the newest comes first: a segment is begun when all records before it are durable. So when
 * the older ones are read they are whole, and the place where the copy ends is in the newest.
 *
 * Why the newest may be read more than once: what is read while it is written can have a batch and
 * lack the one before. That one was durable then, so another read has it; if it has not, the
 * journal is damaged.
 *
 * Nobody may take segments away meanwhile. Memory: a buffer as large as the largest segment.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cluster/journal/recover.h"
#include "cluster/journal/segment.h"
#include "proto/nodiscard.h"

struct copy_target {
    /* A segment of that number, which ends behind its last record. 0 or an errno. */
    int (*write)(void *context, uint64_t number, const uint8_t *bytes, size_t len);
    void *context;
};

struct copied {
    uint64_t segments, bytes;
    /* With an error: where; offset is 0 where only the segment is to be blamed. */
    uint64_t bad_segment, bad_offset;
    int sys_errno; /* RECOVER_IO */
    bool writing;  /* RECOVER_IO: it was the target's */
};

/* RECOVER_OK, or why what has been written so far is no copy; *out is set in any case. */
NODISCARD enum recover_err copy_journal(struct copied *out, const struct segment_owner *owner,
                                        const struct recover_source *source,
                                        const struct copy_target *target);
