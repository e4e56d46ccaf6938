/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/checkpoint_env.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <xxhash.h>

#include "broker/directory.h"
#include "broker/store/format.h"

#define MAP_BYTES_FIRST    ((uint64_t)1 << 30)
#define NEARLY_FULL_BYTES  ((uint64_t)1 << 20)
#define MODE               0600
#define PAGE_BYTES_AT_MOST 65536u /* what a map's size is a multiple of */

/* ---- what went wrong */

const char *checkpoint_err_text(enum checkpoint_err err)
{
    switch (err) {
    case CHECKPOINT_OK:
        return "ok";
    case CHECKPOINT_NO_MEMORY:
        return "no memory for the checkpoint";
    case CHECKPOINT_UNREACHABLE:
        return "the checkpoint cannot be made or opened: check the data directory's permissions";
    case CHECKPOINT_READ_ONLY:
        return "the checkpoint is on a file system that is read-only: mount it writable";
    case CHECKPOINT_IN_USE:
        return "another process has the checkpoint open: end it";
    case CHECKPOINT_NEWER:
        return "the checkpoint is of a later version: start that one, or restore a backup";
    case CHECKPOINT_OLDER:
        return "the checkpoint is of an earlier version, which this one cannot read";
    case CHECKPOINT_CORRUPT:
        return "the checkpoint is damaged: restore a backup, and look after the disk";
    case CHECKPOINT_NO_SPACE:
        return "the checkpoint's disk is full: make room, or enlarge it";
    case CHECKPOINT_FULL:
        return "the checkpoint is as large as it may be: raise its limit";
    case CHECKPOINT_TOO_LARGE:
        return "too much was to be written to the checkpoint at once";
    case CHECKPOINT_IO:
        return "the checkpoint cannot be read or written: look after the disk";
    }
    return "?";
}

/* LMDB calls a write that the disk took in part EIO, which is what a disk does that is full. */
static bool is_nearly_full(const char *dir)
{
    struct statvfs fs;
    return dir != NULL && statvfs(dir, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < NEARLY_FULL_BYTES;
}

enum checkpoint_err checkpoint_err_of(int rc, const char *dir)
{
    switch (rc) {
    case 0:
        return CHECKPOINT_OK;
    case ENOMEM:
        return CHECKPOINT_NO_MEMORY;
    case EROFS:
        return CHECKPOINT_READ_ONLY;
    case EACCES:
    case EPERM:
    case ENOENT:
    case ENOTDIR:
    case EEXIST:
        return CHECKPOINT_UNREACHABLE;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return CHECKPOINT_NO_SPACE;
    case MDB_MAP_FULL:
        return CHECKPOINT_FULL;
    case MDB_TXN_FULL:
        return CHECKPOINT_TOO_LARGE;
    case MDB_VERSION_MISMATCH: /* of LMDB's own format, of which we have had but one */
        return CHECKPOINT_NEWER;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return CHECKPOINT_CORRUPT;
    case EIO:
        return is_nearly_full(dir) ? CHECKPOINT_NO_SPACE : CHECKPOINT_IO;
    default:
        return CHECKPOINT_IO;
    }
}

/* ---- how a value is kept */

static uint32_t checksum(struct bytes key, struct bytes value)
{
    const uint64_t seed = XXH3_64bits(key.at, key.len);
    return (uint32_t)XXH3_64bits_withSeed(value.at, value.len, seed);
}

void stored_encode(uint8_t *out, struct bytes key, struct bytes value)
{
    const uint32_t sum = htole32(checksum(key, value));
    memcpy(out, &sum, sizeof sum);
    if (value.len > 0) {
        memcpy(out + sizeof sum, value.at, value.len);
    }
}

int stored_decode(struct bytes *value, struct bytes key, MDB_val stored)
{
    uint32_t sum;
    if (stored.mv_size < sizeof sum) {
        return MDB_CORRUPTED;
    }
    memcpy(&sum, stored.mv_data, sizeof sum);
    const struct bytes found =
        bytes_of((const uint8_t *)stored.mv_data + sizeof sum, stored.mv_size - sizeof sum);
    if (checksum(key, found) != le32toh(sum)) {
        return MDB_CORRUPTED;
    }
    *value = found;
    return 0;
}

/* ---- what it says of itself */

static int put_meta(MDB_txn *txn, MDB_dbi meta, struct bytes name, struct bytes value)
{
    MDB_val key = val_of(name);
    MDB_val stored = {.mv_size = value.len + STORED_EXTRA};
    const int rc = mdb_put(txn, meta, &key, &stored, MDB_RESERVE);
    if (rc == 0) {
        stored_encode(stored.mv_data, name, value);
    }
    return rc;
}

static int get_meta(MDB_txn *txn, MDB_dbi meta, struct bytes name, struct bytes *value)
{
    MDB_val key = val_of(name), stored;
    const int rc = mdb_get(txn, meta, &key, &stored);
    return rc == 0 ? stored_decode(value, name, stored) : rc;
}

static int count_entries(MDB_txn *txn, const struct checkpoint_env *e, size_t *entries)
{
    MDB_stat data, counts, meta;
    int rc = mdb_stat(txn, e->data, &data);
    if (rc == 0) {
        rc = mdb_stat(txn, e->counts, &counts);
    }
    if (rc == 0) {
        rc = mdb_stat(txn, e->meta, &meta);
    }
    if (rc == 0) {
        *entries = data.ms_entries + counts.ms_entries + meta.ms_entries;
    }
    return rc;
}

static int put_format(MDB_txn *txn, struct checkpoint_env *e)
{
    const uint32_t format = htole32(STORE_FORMAT);
    return put_meta(txn, e->meta, bytes_text("format"), bytes_of(&format, sizeof format));
}

static int name_it(MDB_txn *txn, struct checkpoint_env *e)
{
    if (getrandom(e->id, sizeof e->id, 0) != (ssize_t)sizeof e->id) {
        return EIO;
    }
    e->former_format = STORE_FORMAT;
    const int rc = put_format(txn, e);
    return rc != 0 ? rc : put_meta(txn, e->meta, bytes_text("id"), bytes_of(e->id, sizeof e->id));
}

enum checkpoint_err checkpoint_format_err(uint32_t format)
{
    return format > STORE_FORMAT          ? CHECKPOINT_NEWER
           : format < STORE_FORMAT_OLDEST ? CHECKPOINT_OLDER
                                          : CHECKPOINT_OK;
}

/* An empty one gets a name; of others it is read. */
static enum checkpoint_err identify(MDB_txn *txn, struct checkpoint_env *e, int *rc)
{
    struct bytes value;
    size_t entries = 0;
    *rc = get_meta(txn, e->meta, bytes_text("format"), &value);
    if (*rc == MDB_NOTFOUND) {
        *rc = count_entries(txn, e, &entries);
        if (*rc == 0) {
            *rc = entries == 0 ? name_it(txn, e) : MDB_CORRUPTED;
        }
        return checkpoint_err_of(*rc, e->path);
    }
    uint32_t format = 0;
    if (*rc == 0 && value.len != sizeof format) {
        *rc = MDB_CORRUPTED;
    }
    if (*rc != 0) {
        return checkpoint_err_of(*rc, e->path);
    }
    memcpy(&format, value.at, sizeof format);
    format = le32toh(format);
    if (checkpoint_format_err(format) != CHECKPOINT_OK) {
        return checkpoint_format_err(format);
    }
    e->former_format = format;
    *rc = get_meta(txn, e->meta, bytes_text("id"), &value);
    if (*rc == MDB_NOTFOUND || (*rc == 0 && value.len != sizeof e->id)) {
        *rc = MDB_CORRUPTED;
    }
    if (*rc == 0) {
        memcpy(e->id, value.at, sizeof e->id);
    }
    return checkpoint_err_of(*rc, e->path);
}

static int open_databases(MDB_txn *txn, struct checkpoint_env *e)
{
    int rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &e->meta);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "data", MDB_CREATE, &e->data);
    }
    return rc != 0 ? rc : mdb_dbi_open(txn, "counts", MDB_CREATE, &e->counts);
}

/* ---- opening */

size_t checkpoint_env_used(const struct checkpoint_env *e)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (e->env == NULL || mdb_env_info(e->env, &info) != 0 || mdb_env_stat(e->env, &stat) != 0) {
        return 0;
    }
    return (info.me_last_pgno + 1) * stat.ms_psize;
}

/* A page that is mapped and not in the file ends the process, one of zeros is damage that is told.
 * The last pages of a transaction may be missing by right, if they were free again at its end. */
static int fill_up(const struct checkpoint_env *e)
{
    int fd;
    struct stat st;
    int rc = mdb_env_get_fd(e->env, &fd);
    if (rc != 0) {
        return rc;
    }
    const size_t used = checkpoint_env_used(e);
    if (fstat(fd, &st) != 0 || ((size_t)st.st_size < used && ftruncate(fd, (off_t)used) != 0)) {
        return errno;
    }
    return 0;
}

static int open_env(struct checkpoint_env *e)
{
    int rc = mdb_env_create(&e->env);
    if (rc != 0) {
        e->env = NULL;
        return rc;
    }
    rc = mdb_env_set_maxdbs(e->env, 3);
    if (rc == 0) {
        rc = mdb_env_set_mapsize(e->env, e->map_bytes);
    }
    if (rc == 0) {
        rc = mdb_env_open(e->env, e->path, MDB_NOTLS, MODE);
    }
    if (rc == 0) {
        rc = fill_up(e);
    }
    int dead;
    if (rc == 0) {
        rc = mdb_reader_check(e->env, &dead);
    }
    MDB_envinfo info;
    if (rc == 0 && mdb_env_info(e->env, &info) == 0 && info.me_mapsize > e->map_bytes) {
        e->map_bytes = info.me_mapsize; /* a file that is larger than the map was to be */
    }
    return rc;
}

static void close_env(struct checkpoint_env *e)
{
    if (e->env != NULL) {
        mdb_env_close(e->env);
        e->env = NULL;
    }
}

static enum checkpoint_err open_identified(struct checkpoint_env *e, int *rc)
{
    MDB_txn *txn = NULL;
    enum checkpoint_err err;
    *rc = open_env(e);
    if (*rc == 0) {
        *rc = mdb_txn_begin(e->env, NULL, 0, &txn);
    }
    if (*rc == 0) {
        *rc = open_databases(txn, e);
    }
    if (*rc == 0) {
        err = identify(txn, e, rc);
    } else {
        err = checkpoint_err_of(*rc, e->path);
    }
    if (err == CHECKPOINT_OK) {
        *rc = mdb_txn_commit(txn);
        err = checkpoint_err_of(*rc, e->path);
    } else if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    if (err != CHECKPOINT_OK) {
        close_env(e);
    }
    return err;
}

int checkpoint_env_reopen(struct checkpoint_env *e)
{
    uint8_t id[CHECKPOINT_ID_BYTES];
    memcpy(id, e->id, sizeof id);
    close_env(e);
    int rc;
    const enum checkpoint_err err = open_identified(e, &rc);
    if (err != CHECKPOINT_OK) {
        return rc != 0 ? rc : MDB_INVALID;
    }
    if (memcmp(id, e->id, sizeof id) != 0) { /* somebody has put another in its place */
        close_env(e);
        return MDB_INVALID;
    }
    return 0;
}

int checkpoint_env_enlarge(struct checkpoint_env *e)
{
    if (e->map_bytes >= e->map_bytes_max) {
        return MDB_MAP_FULL;
    }
    const size_t before = e->map_bytes;
    e->map_bytes = before > e->map_bytes_max / 2 ? e->map_bytes_max : 2 * before;
    const int rc = mdb_env_set_mapsize(e->env, e->map_bytes);
    if (rc != 0) { /* LMDB has given up the former map by then */
        e->map_bytes = before;
        const int again = checkpoint_env_reopen(e);
        return again != 0 ? again : rc;
    }
    return 0;
}

static enum checkpoint_err take_lock(struct checkpoint_env *e, const char *dir, int *sys_errno)
{
    if (mkdir(e->path, 0700) != 0 && errno != EEXIST) {
        *sys_errno = errno;
        return checkpoint_err_of(*sys_errno, dir);
    }
    const int path_fd = open(e->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (path_fd >= 0) {
        e->lock_fd = openat(path_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, MODE);
    }
    *sys_errno = errno;
    if (path_fd >= 0) {
        close(path_fd);
    }
    if (e->lock_fd < 0) {
        return checkpoint_err_of(*sys_errno, dir);
    }
    if (flock(e->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        *sys_errno = errno;
        return errno == EWOULDBLOCK ? CHECKPOINT_IN_USE : CHECKPOINT_IO;
    }
    return CHECKPOINT_OK;
}

static size_t map_size(uint64_t bytes)
{
    return (bytes + PAGE_BYTES_AT_MOST - 1) / PAGE_BYTES_AT_MOST * PAGE_BYTES_AT_MOST;
}

enum checkpoint_err checkpoint_env_open(struct checkpoint_env *e, const char *dir,
                                        const struct checkpoint_conf *conf, int *sys_errno)
{
    *e = (struct checkpoint_env){
        .lock_fd = -1,
        .map_bytes = map_size(conf->map_bytes > 0 ? conf->map_bytes : MAP_BYTES_FIRST),
        .map_bytes_max = map_size(conf->map_bytes_max),
        .reference = conf->reference,
        .referring = conf->referring,
    };
    if (e->map_bytes > e->map_bytes_max) {
        e->map_bytes = e->map_bytes_max;
    }
    *sys_errno = 0;
    if (asprintf(&e->path, "%s/checkpoint", dir) < 0) {
        e->path = NULL;
        return CHECKPOINT_NO_MEMORY;
    }
    enum checkpoint_err err = take_lock(e, dir, sys_errno);
    if (err != CHECKPOINT_OK) {
        return err;
    }
    err = open_identified(e, sys_errno);
    if (err == CHECKPOINT_OK) { /* its files' names are there after a power failure */
        *sys_errno = directory_sync(e->path);
        if (*sys_errno == 0) {
            *sys_errno = directory_sync(dir);
        }
        err = checkpoint_err_of(*sys_errno, dir);
    }
    return err;
}

void checkpoint_env_close(struct checkpoint_env *e)
{
    close_env(e);
    if (e->lock_fd >= 0) {
        close(e->lock_fd); /* and the lock goes with it */
        e->lock_fd = -1;
    }
    free(e->path);
    e->path = NULL;
}
