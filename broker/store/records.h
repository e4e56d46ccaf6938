/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records: keys and their values, as functions: what apply.h, partition_copy.h and partition_hash.h
 * read and change, and know no more of. records_overlay.h has them in the checkpoint, and
 * records_memory.h in memory, for tests and the simulator.
 *
 * What is read has all changes that were made before by the same functions, whether they are on
 * disk or not. Values whose keys begin with q refer to bodies (record_key.h): who puts one adds a
 * reference to its body; one that is replaced or dropped gives its reference back by itself.
 *
 * Keys: 1 to RECORD_KEY_MAX bytes. After an error what was changed before it stays, and all of it
 * is to be thrown away.
 */
#pragma once

#include "broker/store/checkpoint.h"
#include "broker/store/record_key.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* All point into memory that is theirs until the next call of any of them. */
struct records {
    void *context;

    /* value->at NULL: there is none. */
    enum checkpoint_err (*get)(void *context, struct bytes key, struct bytes *value);

    /* Both copy what they are given. */
    enum checkpoint_err (*put)(void *context, struct bytes key, struct bytes value);

    /* One reference more to a body, which is put if it is not there; `if_new` without bytes: it is
     * certain to be. */
    enum checkpoint_err (*add)(void *context, struct bytes key, struct bytes if_new);

    enum checkpoint_err (*drop)(void *context, struct bytes key); /* one that is not there, too */
    enum checkpoint_err (*drop_all)(void *context, struct bytes prefix);

    /* The first key behind `after` that begins with the prefix; `after` without bytes: the first.
     * key->at NULL: there is none. Not for bodies. `after` is not what these functions gave. */
    enum checkpoint_err (*next)(void *context, struct bytes prefix, struct bytes after,
                                struct bytes *key, struct bytes *value);
};

NODISCARD static inline enum checkpoint_err
records_get(const struct records *r, const struct record_key *key, struct bytes *value)
{
    return r->get(r->context, record_key_bytes(key), value);
}

NODISCARD static inline enum checkpoint_err
records_put(const struct records *r, const struct record_key *key, struct bytes value)
{
    return r->put(r->context, record_key_bytes(key), value);
}

NODISCARD static inline enum checkpoint_err
records_add(const struct records *r, const struct record_key *key, struct bytes if_new)
{
    return r->add(r->context, record_key_bytes(key), if_new);
}

NODISCARD static inline enum checkpoint_err records_drop(const struct records *r,
                                                         const struct record_key *key)
{
    return r->drop(r->context, record_key_bytes(key));
}

NODISCARD static inline enum checkpoint_err records_drop_all(const struct records *r,
                                                             const struct record_key *prefix)
{
    return r->drop_all(r->context, record_key_bytes(prefix));
}

/* *at is the key that was given last, without bytes at first, and the one that is given now: of 0
 * bytes if there is none. */
NODISCARD static inline enum checkpoint_err records_next(const struct records *r,
                                                         const struct record_key *prefix,
                                                         struct record_key *at, struct bytes *value)
{
    struct bytes key = bytes_of(NULL, 0);
    const enum checkpoint_err err =
        r->next(r->context, record_key_bytes(prefix), record_key_bytes(at), &key, value);
    at->len = 0;
    if (err == CHECKPOINT_OK && key.at != NULL && key.len <= RECORD_KEY_MAX) {
        memcpy(at->at, key.at, key.len);
        at->len = key.len;
    }
    return err;
}
