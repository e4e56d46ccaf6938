/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint_env: the LMDB environment of a checkpoint: opening, its size, what its errors mean,
 * and how a value is kept. Internal to the checkpoint.
 *
 *   DIR/checkpoint/lock                 flock()ed while it is open
 *   DIR/checkpoint/data.mdb, lock.mdb   LMDB's
 *
 *   meta     format (u32), id (16 bytes), and what checkpoint_put_meta() is given
 *   data     key → value
 *   counts   key → how many refer to it (u64), of keys that more than one refers to
 *
 * All values are kept as a checksum (u32) and themselves; numbers are little-endian.
 *
 * Owner: the checkpoint, which sees to it that nobody is in it while it is enlarged or opened anew.
 */
#pragma once

#include <lmdb.h>

#include "broker/store/checkpoint.h"

struct checkpoint_env {
    MDB_env *env; /* NULL: it broke, and could not be opened again */
    MDB_dbi meta, data, counts;
    char *path;
    int lock_fd;
    size_t map_bytes, map_bytes_max;
    checkpoint_reference_fn *reference; /* as in struct checkpoint_conf */
    char referring;
    uint8_t id[CHECKPOINT_ID_BYTES];
    uint32_t former_format; /* of when it was opened first */
};

/* CHECKPOINT_OK: it can be read, when it has been opened. */
enum checkpoint_err checkpoint_format_err(uint32_t format);

NODISCARD enum checkpoint_err checkpoint_env_open(struct checkpoint_env *e, const char *dir,
                                                  const struct checkpoint_conf *conf,
                                                  int *sys_errno);
void checkpoint_env_close(struct checkpoint_env *e); /* also when opening it failed */

/* After an error that LMDB does not go on from. 0, or what opening it failed with. */
int checkpoint_env_reopen(struct checkpoint_env *e);

/* Doubles the map. No transaction may be open. 0; MDB_MAP_FULL: it is as large as it may be. */
int checkpoint_env_enlarge(struct checkpoint_env *e);

size_t checkpoint_env_used(const struct checkpoint_env *e); /* of the file; 0: not open */

/* Of LMDB's answer or an errno; `dir` is asked whether its disk is full, which LMDB calls EIO. */
enum checkpoint_err checkpoint_err_of(int rc, const char *dir);

/* Can the value of that key refer to another? If so, e->reference() says to which. */
static inline bool checkpoint_may_refer(const struct checkpoint_env *e, struct bytes key)
{
    return e->reference != NULL && key.at[0] == (uint8_t)e->referring;
}

#define STORED_EXTRA 4u

/* Writes to `out`, of value.len + STORED_EXTRA bytes. */
void stored_encode(uint8_t *out, struct bytes key, struct bytes value);

/* MDB_CORRUPTED, or 0. */
int stored_decode(struct bytes *value, struct bytes key, MDB_val stored);

static inline MDB_val val_of(struct bytes b)
{
    return (MDB_val){.mv_size = b.len, .mv_data = (void *)(uintptr_t)b.at};
}

static inline struct bytes bytes_of_val(MDB_val v)
{
    return bytes_of(v.mv_data, v.mv_size);
}
