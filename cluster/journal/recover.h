/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover: reads a journal from its segments: all that was durable, in order, and whether its end
 * is torn or something in it has been spoilt.
 *
 *   segment 7           segment 8                       segment 9
 *   head r r r r r ···· head r r r r r r ✗ r · r ······ zeros, or old bytes: not begun
 *                                        └ the end, torn: what follows it is of the same batch
 *
 * A crash leaves any part of the last batch, as its sectors (512 bytes, each whole or not at all)
 * reach the disk in any order. So the journal ends at the first record that is not good, and what
 * of the batch stands before it is taken: nobody was told that it is kept, nor that it is not.
 *
 *   torn      no head of a record behind the end is of a later batch than the one that the missing
 *             record was in, and no later segment has begun behind it.
 *   corrupt   there is one. A batch is written when the one before it is durable: so the missing
 *             record was durable, and has been spoilt since. Nothing is handed over. The same holds
 *             if two batches are behind the end in one segment, or one that does not begin there.
 *
 * Damage to the very last batch cannot be told from its never having been written, and counts as
 * torn; with it go the records of that batch behind the damage.
 *
 * Writing goes on in a new segment, numbered above all that exist; after any recovery, not only
 * where the end is seen to be torn. A head of which only the first sector was kept is not seen, and
 * could be completed by the new records that are written over its rest; under the new segment's
 * seed it never is. So each byte of a segment is written once, but for the same bytes once more.
 *
 * Memory, while it runs: a buffer as large as the largest segment, and 32 bytes for each
 * truncation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/journal/record.h"
#include "cluster/journal/segment.h"
#include "proto/nodiscard.h"

enum recover_err {
    RECOVER_OK = 0, /* the end may be torn */
    RECOVER_IO,
    RECOVER_NO_MEMORY,
    RECOVER_CORRUPT,
    RECOVER_MISSING, /* a segment between others */
    RECOVER_WRONG_FORMAT,
    RECOVER_WRONG_STORE,
    RECOVER_WRONG_SHARD,
    RECOVER_WRONG_NUMBER, /* a segment file has another one's name */
    RECOVER_STOPPED,      /* the visitor asked for it */
};

struct recover_file {
    uint64_t number; /* > 0 */
    uint64_t bytes;
};

/* Where the bytes come from. */
struct recover_source {
    const struct recover_file *files; /* [count], by number, ascending */
    size_t count;
    /* All of out[0..len), which is within the file; 0 or an errno. */
    int (*read)(void *context, uint64_t number, uint64_t offset, uint8_t *out, size_t len);
    void *context;
};

struct recover_visitor {
    /* An entry that is not void, or a record of a group; the body is good until it returns. In
     * order of lsn, so for each run in order of index. false: stop. */
    bool (*entry)(void *context, const struct record *entry);
    void *context;
};

struct recovered_segment {
    uint64_t number;
    uint64_t highest[RECORD_RUNS]; /* index of what is not void; 0: none */
};

struct recovered {
    /* Where writing goes on; for journal_create(). */
    uint64_t segment;  /* a new one, above all that exist */
    uint64_t next_lsn; /* the next batch has that number, too */
    uint64_t highest[RECORD_RUNS];
    struct recovered_segment *segments; /* [segments_count], those that have begun */
    size_t segments_count;

    /* For the operator. */
    uint64_t entries, void_entries, bytes; /* handed over, those of groups included; passed over; of
                                              the bodies handed over */
    bool torn;
    /* RECOVER_OK and torn: where, and how many bytes behind it have been written to, that one knows
     * of. With an error: where; offset and bytes are 0 where only the segment is to be blamed. */
    uint64_t bad_segment, bad_offset, bad_bytes;
    int sys_errno; /* RECOVER_IO */
};

/*
 * Any bytes are fair input. *out is always set; recovered_fini() it in any case. Only with
 * RECOVER_OK it says where writing goes on. But for RECOVER_STOPPED, and RECOVER_IO of a disk that
 * reads something once and not a second time, no entry has been handed over unless all are.
 */
NODISCARD enum recover_err recover_journal(struct recovered *out, const struct segment_owner *owner,
                                           const struct recover_source *source,
                                           const struct recover_visitor *visitor);
void recovered_fini(struct recovered *r);

const char *recover_err_text(enum recover_err err); /* with the remedy */

/* What is wrong with a segment whose head is like that; RECOVER_OK: nothing that one has to end
 * for.
 */
enum recover_err recover_state_err(enum segment_state state);

/* ---- The parts, over the bytes of one segment */

struct recover_scan {
    const uint8_t *bytes; /* of the whole segment */
    size_t len;
    size_t at;         /* of the next record: SEGMENT_HEAD_BYTES to begin with */
    uint32_t seed;     /* of the segment */
    uint64_t next_lsn; /* that the next record must have */
    uint64_t stop_lsn; /* that the journal goes on with elsewhere; UINT64_MAX: nowhere */
    uint64_t batch;    /* of the record before; 0 to begin with */
};

/* The next record. false: here the segment ends, for whatever reason; nothing has moved. */
NODISCARD bool recover_scan_next(struct recover_scan *scan, struct record *r);

/* What bytes[from..len) have of records, at any multiple of 8. */
struct recover_traces {
    size_t end; /* of the last trace; 0: there are none */
    uint64_t lsn_min;
    uint64_t batch_min, batch_max;
    size_t batch_begin; /* where the last batch begins whose first record is among them; 0: none */
};

struct recover_traces recover_traces(const uint8_t *bytes, size_t len, size_t from, uint32_t seed);
