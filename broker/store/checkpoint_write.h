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
    bool has_counts; /* there is one that is above 1 */
    uint64_t bytes;  /* written */
    uint64_t miscounted;
};

/* 0, or LMDB's answer: then the transaction is to be given up. */
int checkpoint_write(struct checkpoint_write *w, const struct plan *plan);

/* What of the batch is CHANGE_META. */
int checkpoint_write_meta(struct checkpoint_write *w, const struct checkpoint_batch *batch);

/* Also for reading: 0, MDB_NOTFOUND, or an error. Only for keys that are above 1. */
int checkpoint_count_above_one(MDB_cursor *counts, struct bytes key, uint64_t *count);
