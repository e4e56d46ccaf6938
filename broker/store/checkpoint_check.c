/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/checkpoint_check.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/store/checkpoint_env.h"

static int open_quietly(MDB_env **env, const char *dir)
{
    char path[PATH_MAX];
    *env = NULL;
    if (snprintf(path, sizeof path, "%s/checkpoint", dir) >= (int)sizeof path) {
        return ENAMETOOLONG;
    }
    int rc = mdb_env_create(env);
    if (rc == 0) {
        rc = mdb_env_set_maxdbs(*env, 3);
    }
    if (rc == 0) {
        rc = mdb_env_open(*env, path, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0);
    }
    return rc;
}

static void close_quietly(MDB_env *env)
{
    if (env != NULL) {
        mdb_env_close(env);
    }
}

/* What is mapped and not in the file would end the process. */
static int sizes(MDB_env *env, size_t *used, size_t *there)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat st;
    int fd;
    int rc = mdb_env_info(env, &info);
    if (rc == 0) {
        rc = mdb_env_stat(env, &stat);
    }
    if (rc == 0) {
        rc = mdb_env_get_fd(env, &fd);
    }
    if (rc == 0 && fstat(fd, &st) != 0) {
        rc = errno;
    }
    if (rc == 0) {
        *used = (info.me_last_pgno + 1) * stat.ms_psize;
        *there = (size_t)st.st_size;
    }
    return rc;
}

/* ---- checking */

static int check_values(MDB_txn *txn, const char *name, MDB_dbi *dbi, uint64_t *keys)
{
    MDB_cursor *cursor;
    MDB_stat stat;
    MDB_val key, stored;
    struct bytes value;
    int rc = mdb_dbi_open(txn, name, 0, dbi);
    if (rc == 0) {
        rc = mdb_stat(txn, *dbi, &stat);
    }
    if (rc == 0) {
        rc = mdb_cursor_open(txn, *dbi, &cursor);
    }
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    }
    *keys = 0;
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT)) == 0) {
        rc = stored_decode(&value, bytes_of_val(key), stored);
        ++*keys;
    }
    mdb_cursor_close(cursor);
    return rc != MDB_NOTFOUND ? rc : *keys == stat.ms_entries ? 0 : MDB_CORRUPTED;
}

static int read_meta(MDB_txn *txn, MDB_dbi meta, const char *name, void *out, size_t len)
{
    MDB_val key = val_of(bytes_text(name)), stored;
    struct bytes value;
    int rc = mdb_get(txn, meta, &key, &stored);
    if (rc == 0) {
        rc = stored_decode(&value, bytes_text(name), stored);
    }
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    }
    if (value.len != len) {
        return MDB_CORRUPTED;
    }
    memcpy(out, value.at, len);
    return 0;
}

static int check_all(MDB_txn *txn, struct checkpoint_facts *facts)
{
    MDB_dbi dbi;
    uint64_t others;
    int rc = check_values(txn, "meta", &dbi, &others);
    if (rc == 0) {
        rc = check_values(txn, "counts", &dbi, &others);
    }
    return rc != 0 ? rc : check_values(txn, "data", &dbi, &facts->keys);
}

static int read_facts(MDB_txn *txn, struct checkpoint_facts *facts)
{
    MDB_dbi meta;
    int rc = mdb_dbi_open(txn, "meta", 0, &meta);
    if (rc == 0) {
        rc = read_meta(txn, meta, "format", &facts->format, sizeof facts->format);
        facts->format = le32toh(facts->format);
    }
    if (rc == 0) {
        rc = read_meta(txn, meta, "id", facts->id, sizeof facts->id);
    }
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

static enum checkpoint_err check(struct checkpoint_facts *facts, const char *dir, bool all,
                                 int *sys_errno)
{
    MDB_env *env;
    MDB_txn *txn = NULL;
    size_t used = 0, there = 0;
    int rc = open_quietly(&env, dir);
    if (rc == 0) {
        rc = sizes(env, &used, &there);
    }
    if (rc == 0 && there < used) {
        rc = MDB_CORRUPTED;
    }
    if (rc == 0) {
        rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    }
    if (rc == 0 && all) {
        rc = check_all(txn, facts);
    }
    if (rc == 0) {
        rc = read_facts(txn, facts);
    }
    if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    close_quietly(env);
    *sys_errno = rc;
    return rc != 0 ? checkpoint_err_of(rc, NULL) : checkpoint_format_err(facts->format);
}

enum checkpoint_err checkpoint_check(struct checkpoint_facts *facts, const char *dir,
                                     int *sys_errno)
{
    return check(facts, dir, true, sys_errno);
}

enum checkpoint_err checkpoint_facts_read(struct checkpoint_facts *facts, const char *dir,
                                          int *sys_errno)
{
    return check(facts, dir, false, sys_errno);
}

/* ---- a copy */

static int fill_up(MDB_env *env, const char *dir)
{
    char path[PATH_MAX];
    size_t used = 0, there = 0;
    const int rc = sizes(env, &used, &there);
    if (rc != 0 || there >= used) {
        return rc;
    }
    snprintf(path, sizeof path, "%s/checkpoint/data.mdb", dir);
    return truncate(path, (off_t)used) == 0 ? 0 : errno;
}

enum checkpoint_err checkpoint_copy_closed(const char *dir, int fd, int *sys_errno)
{
    MDB_env *env;
    int rc = open_quietly(&env, dir);
    if (rc == 0) {
        rc = fill_up(env, dir);
    }
    if (rc == 0) {
        rc = mdb_env_copyfd2(env, fd, MDB_CP_COMPACT);
    }
    close_quietly(env);
    *sys_errno = rc;
    return checkpoint_err_of(rc, NULL);
}
