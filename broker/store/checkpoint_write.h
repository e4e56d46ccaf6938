/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint_write: carries out a plan in one transaction. Internal to the checkpoint.
 *
 * Owner: the checkpoint's thread.
 */
#pragma once

#include "broker/store/checkpoint_batch.h"
#include "broker/store/checkpoint_env.h"

struct checkpoint_write {
    const struct checkpoint_env *env;
    MDB_txn *txn;
    MDB_cursor *data, *counts;
    bool has_counts;                 /* there is one that is above 1 */
    struct checkpoint_batch *let_go; /* an addition of -1 for each reference that went; or NULL */
    uint64_t bytes;                  /* written */
    uint64_t miscounted;
};

/* 0, or LMDB's answer: then the transaction is to be given up. */
int checkpoint_write(struct checkpoint_write *w, const struct plan *plan);

/* What was deleted and replaced refers to nothing any more. Likewise. */
int checkpoint_write_let_go(struct checkpoint_write *w);

/* What of the batch is CHANGE_META. */
int checkpoint_write_meta(struct checkpoint_write *w, const struct checkpoint_batch *batch);

/* Also for reading: 0, MDB_NOTFOUND, or an error. Only for keys that are above 1. */
int checkpoint_count_above_one(MDB_cursor *counts, struct bytes key, uint64_t *count);
