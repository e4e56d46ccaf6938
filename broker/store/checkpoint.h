/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint: the applied state on disk, in an LMDB environment, written in batches by a thread of
 * its own (docs/architecture.md, "The checkpoint").
 *
 *   shard ── batch: put, delete, add … ── checkpoint_submit() ─▶ one transaction, synced ─▶ done()
 *   shard ── checkpoint_read() ─▶ a second thread, which no commit holds up ─▶ done()
 *
 * Keys are short, at most CHECKPOINT_KEY_BYTES_MAX, and ordered as bytes: names of clients, topics
 * and filters may be longer and belong into values; keys are made of numbers, most significant byte
 * first. Values have up to 4 GiB - 8. Each is kept with a checksum of key and value, which every
 * read checks, for LMDB has none.
 *
 * A key's value may be counted: checkpoint_add() changes how many refer to it, and the last
 * reference takes it away, without that anybody had to read. Counts are kept apart, and only those
 * above 1, so that a body that one refers to costs no more than any value, and a large one is not
 * written anew for its count.
 *
 * Owner: the main thread opens and closes, after privileges_drop(): the files are process.user's.
 * Memory: LMDB's map, which is the page cache's; the changed pages of one transaction; 24 bytes for
 * each change of it. At its bound (conf.map_bytes_max, or the disk's) a batch fails whole, and the
 * next is tried anew. The file does not shrink: pages that became free are used again.
 *
 * A page that the disk cannot read ends the process (SIGBUS), as the file is mapped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define CHECKPOINT_KEY_BYTES_MAX 511u /* LMDB's */
#define CHECKPOINT_ID_BYTES      16u

enum checkpoint_err {
    CHECKPOINT_OK = 0,
    CHECKPOINT_NO_MEMORY,   /* also of a batch that met with it while it was made */
    CHECKPOINT_UNREACHABLE, /* the directory cannot be made, or its files not be opened */
    CHECKPOINT_READ_ONLY,
    CHECKPOINT_IN_USE,    /* another process has it, or this one, twice */
    CHECKPOINT_NEWER,     /* a later version's */
    CHECKPOINT_OLDER,     /* an earlier version's */
    CHECKPOINT_CORRUPT,   /* something in it is not what was written */
    CHECKPOINT_NO_SPACE,  /* the disk, or a quota of it, is full */
    CHECKPOINT_FULL,      /* map_bytes_max */
    CHECKPOINT_TOO_LARGE, /* one transaction changes more pages than LMDB can */
    CHECKPOINT_IO,        /* another errno */
};

/* A sentence for the operator, with the remedy. */
const char *checkpoint_err_text(enum checkpoint_err err);

/* The key that a value refers to, written to `scratch`, of CHECKPOINT_KEY_BYTES_MAX; without bytes:
 * it refers to none. Pure; by any of the checkpoint's threads. */
typedef struct bytes checkpoint_reference_fn(struct bytes value, uint8_t *scratch);

struct checkpoint_conf {
    uint64_t map_bytes;     /* of the map at first; 0: 1 GiB. It is doubled when it is full */
    uint64_t map_bytes_max; /* at least map_bytes */

    /* Values whose keys begin with this letter refer to others. One that goes, being deleted or
     * replaced, takes its reference away, as checkpoint_add() of -1 would after all else in the
     * transaction; who puts it has to add it. NULL: none do. */
    checkpoint_reference_fn *reference;
    char referring;
};

struct checkpoint;

/* Opens or makes `dir`/checkpoint, and begins its threads. *sys_errno is an errno, or LMDB's own
 * number, below 0; 0 where neither says more than the answer. */
NODISCARD enum checkpoint_err checkpoint_open(struct checkpoint **out, const char *dir,
                                              const struct checkpoint_conf *conf, int *sys_errno);

/* What was submitted and asked is done first, and done() is called. NULL is fine. */
void checkpoint_close(struct checkpoint *cp);

/* Made with the store, at random: whether it is the one that a log belongs to, is the caller's to
 * say. */
const uint8_t *checkpoint_id(const struct checkpoint *cp); /* CHECKPOINT_ID_BYTES */

/* What it was when it was opened; checkpoint_put_format() makes it STORE_FORMAT. */
uint32_t checkpoint_former_format(const struct checkpoint *cp);

/* ---- a batch: changes, in their order. Owner: one thread, until it is submitted. */

struct checkpoint_batch;

struct checkpoint_batch *checkpoint_batch_create(void); /* NULL: no memory */
void checkpoint_batch_destroy(struct checkpoint_batch *batch);
size_t checkpoint_batch_bytes(const struct checkpoint_batch *batch);   /* of memory, about */
uint32_t checkpoint_batch_count(const struct checkpoint_batch *batch); /* of changes */

/* Memory for so many changes, with so many bytes of keys and values; false: there is none, and the
 * batch is as it was. What is within it does not spoil the batch. */
NODISCARD bool checkpoint_reserve(struct checkpoint_batch *batch, uint32_t changes, size_t bytes);

/* All copy what they are given. Where there is no memory for that the batch is spoilt as a whole,
 * and done() will say so. Keys: 1 to CHECKPOINT_KEY_BYTES_MAX bytes. */

/* A count of the key stays as it is; a new key counts as 1. */
void checkpoint_put(struct checkpoint_batch *batch, struct bytes key, struct bytes value);
void checkpoint_delete(struct checkpoint_batch *batch, struct bytes key); /* whatever its count */
void checkpoint_delete_prefix(struct checkpoint_batch *batch, struct bytes prefix);

/*
 * `delta` more refer to the key. At 0 it is deleted; where it is not there, it is put with the
 * value `if_new`, which may be without bytes (at == NULL) if it is certain to be there. Several of
 * one key in a batch are summed up first: what comes and goes in one batch never touches the disk.
 * A count below 0, and a key that is neither there nor given, are passed over and counted
 * (checkpoint_stats.miscounted).
 */
void checkpoint_add(struct checkpoint_batch *batch, struct bytes key, int64_t delta,
                    struct bytes if_new);

/* What is known of the store as a whole, beside the keys; `name` is not one of ours ("format",
 * "id"). */
void checkpoint_put_meta(struct checkpoint_batch *batch, const char *name, struct bytes value);

/* With this batch the store is of our format: the version before reads it no more. */
void checkpoint_put_format(struct checkpoint_batch *batch);

/* ---- writing */

/*
 * Called by the checkpoint's thread: short, and never waits. The batch is the callee's again, to be
 * destroyed, or, after an error, to be submitted once more. CHECKPOINT_OK: all of it is on disk.
 * Else nothing of it is; but where a disk breaks while the last page of a transaction is written,
 * and cannot be read either, that is known only later: so it has to be the same batch that is
 * submitted again, which is then not carried out twice.
 */
typedef void checkpoint_done_fn(void *context, struct checkpoint_batch *batch,
                                enum checkpoint_err err);

/*
 * Takes the batch; any thread. Batches are written in the order of their submission, several in one
 * transaction if they wait for it, which then succeeds or fails as one. A batch that builds on
 * another is best submitted when that one is done, for the next one after a failure may succeed.
 */
void checkpoint_submit(struct checkpoint *cp, struct checkpoint_batch *batch,
                       checkpoint_done_fn *done, void *context);

/* ---- reading */

/* Calls fn for each key that begins with `prefix`, in order, as of the last commit, until it
 * answers false. Borrowed for the call. Blocks; meant for the start. Any thread. */
NODISCARD enum checkpoint_err
checkpoint_each(struct checkpoint *cp, struct bytes prefix,
                bool (*fn)(void *context, struct bytes key, struct bytes value), void *context);

/* How many refer to the key: 0 where it is not there. Blocks; for tests and checks. */
NODISCARD enum checkpoint_err checkpoint_count(struct checkpoint *cp, struct bytes key,
                                               uint64_t *count);

/* A copy of what checkpoint_put_meta() left there, to be freed; *value NULL: nothing. Blocks. */
NODISCARD enum checkpoint_err checkpoint_get_meta(struct checkpoint *cp, const char *name,
                                                  uint8_t **value, size_t *len);

/* Keys and values, copied, in one allocation: free() it. */
struct checkpoint_pairs {
    uint32_t count;
    size_t len; /* of bytes */
    uint8_t bytes[];
};

/* From *at (0 at first) on; false: there is no further one. */
bool checkpoint_pairs_next(const struct checkpoint_pairs *pairs, size_t *at, struct bytes *key,
                           struct bytes *value);

/* A part of a range to be read, embedded in what wants it; the checkpoint's from checkpoint_read()
 * until done(), and so is what its bytes point to. */
struct checkpoint_read {
    struct bytes prefix; /* of all keys */
    struct bytes from;   /* the first key that may be; without bytes: from the prefix on */
    bool after;          /* `from` itself is not wanted: the last key of the part before */
    bool follow;         /* each pair is followed by the one that it refers to, if there is one */
    size_t bytes_max;    /* of keys and values; one pair is answered in any case */
    void (*done)(struct checkpoint_read *r); /* by the reading thread: short, and never waits */

    enum checkpoint_err err;
    struct checkpoint_pairs *pairs; /* the callee's to free; NULL on error */
    bool more;                      /* there are further ones */

    struct checkpoint_read *next; /* the checkpoint's */
};

/* Any thread; in the order of asking, each as of the last commit at that time: what done() of a
 * batch confirmed before is seen. */
void checkpoint_read(struct checkpoint *cp, struct checkpoint_read *r);

/* Likewise, and done when it returns; done() is not called. Blocks; meant for the start. */
void checkpoint_read_now(struct checkpoint *cp, struct checkpoint_read *r);

/* Writes a consistent copy, compacted, to fd: a file, or what leads to one; to be opened it has to
 * be called checkpoint/data.mdb. Not synced. Blocks for as long as that takes; meanwhile pages that
 * become free are not used again, and the map may wait to be enlarged. Any thread. */
NODISCARD enum checkpoint_err checkpoint_copy(struct checkpoint *cp, int fd, int *sys_errno);

/* ---- figures */

struct checkpoint_stats {
    uint64_t commits;
    uint64_t batches;    /* in them */
    uint64_t changes;    /* in those */
    uint64_t bytes;      /* of keys and values written */
    uint64_t failures;   /* batches */
    uint64_t miscounted; /* see checkpoint_add() */
    uint64_t reads;      /* checkpoint_read() */
    uint64_t last_ns;    /* that the last transaction took */
    uint64_t map_bytes;  /* now */
    uint64_t used_bytes; /* of the file */
    uint64_t waiting;    /* batches submitted, and not done */
};

struct checkpoint_stats checkpoint_stats(const struct checkpoint *cp); /* any thread */
