/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply: what entries of a partition come to, as records: the way of each node that has a
 * partition, by broker/partitions/applier.h.
 *
 *   leader    session changes ─▶ entry ─▶ the group ═▶ committed       (store/capture.h: records)
 *   follower                                  └══════▶ committed ─▶ apply_entry() ─▶ records
 *
 * The records are those that capture.h writes of the leader's sessions, so that revive.h makes the
 * same sessions of them; and besides, what a capture leaves to the journal, since a follower's does
 * not go back that far: wills that are due and not with all yet (w), and how far each source of
 * messages has come (origins.h).
 *
 * Nothing is decided: there is no matching, no limit, no clock, no chance. An entry that is applied
 * although the records have it changes nothing, or what later entries change again: deliveries are
 * known by their numbers, the rest is what it was said to be last. So the records may be of no one
 * moment, as those of a capture and of a copy are, when all entries since they were begun are
 * applied to them in order.
 *
 * Entries come from another node. What cannot be read, or would not be fit for a session, is an
 * error, after which what was changed by that entry is to be thrown away with all that has gathered
 * since the last batch.
 *
 * Owner: one thread, which may wait for its records. Memory: scratch for one session's record.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/entry.h"
#include "broker/store/fields.h"
#include "broker/store/records.h"
#include "proto/nodiscard.h"

enum apply_err {
    APPLY_OK = 0,
    APPLY_UNKNOWN,         /* no entry that this version can read */
    APPLY_NOT_OF_SESSIONS, /* of a retained message: no partition of sessions has that */
    APPLY_OTHER_PARTITION, /* it names a session of another one */
    APPLY_UNFIT,           /* a name, a filter or a message as no client can have said it */
    APPLY_NO_INDEX,        /* 0, or above SERIAL_INDEX_MAX */
    APPLY_RECORDS,         /* applier.err says what; CHECKPOINT_CORRUPT also of a record */
    APPLY_ERRS,
};

const char *apply_err_text(enum apply_err err);

struct applier {
    const struct records *records; /* borrowed */
    unsigned partition;            /* below SERIAL_PARTITIONS */
    uint64_t origins_max;          /* ORIGINS_MAX, but in a test */
    enum checkpoint_err err;       /* with APPLY_RECORDS */

    struct field_writer value, part, begun; /* scratch */
};

struct applied {
    bool repetition;     /* of an operation that was applied: it is queued in no session */
    uint32_t deliveries; /* that were queued */
    uint64_t sealed;     /* partition_end(), if it was that; else 0 */
};

void applier_init(struct applier *a, const struct records *records, unsigned partition);
void applier_fini(struct applier *a);

/* index: of the entry in its partition, from 1 on: each has another one, and higher than those
 * before. *applied is set with APPLY_OK. */
NODISCARD enum apply_err apply_entry(struct applier *a, uint64_t index, struct bytes entry,
                                     struct applied *applied);

/* Of an entry, only what a capture does not write: for the node that leads, when the entry is
 * committed. It may be on disk before the capture that has the rest, and not after it. */
NODISCARD enum apply_err apply_beside(struct applier *a, uint64_t index, struct bytes entry,
                                      struct applied *applied);

/* The value of a will that is due. */
struct due_will {
    bool is_retained;     /* as a retained message it is stored, or was refused */
    struct bytes message; /* stored_message.h */
};
NODISCARD bool due_will_read(struct bytes in, struct due_will *will); /* any bytes are fair */
