/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

const char *data_dir_err_text(enum data_dir_err err)
{
    switch (err) {
    case DATA_DIR_OK:
        return "ok";
    case DATA_DIR_UNREACHABLE:
        return "the data directory cannot be made or written to: check its path and permissions";
    case DATA_DIR_IN_USE:
        return "another process has this data directory: end that broker, or that backup, or give "
               "this one its own";
    case DATA_DIR_BAD_ID:
        return "node.id holds no UUID: restore it, or delete it to start as a new node";
    case DATA_DIR_NONE:
        return "it is no data directory: there is no node.id in it";
    case DATA_DIR_UNFINISHED:
        return "a restore into it was not finished: run dunlin restore again";
    }
    return "?";
}

/* A random UUID: RFC 9562, version 4. */
static bool make_id(char text[NODE_ID_TEXT])
{
    uint8_t b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b) {
        return false;
    }
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    char *at = text;
    for (unsigned i = 0; i < sizeof b; i++) {
        const bool dash = i == 4 || i == 6 || i == 8 || i == 10;
        at += snprintf(at, 4, dash ? "-%02x" : "%02x", b[i]);
    }
    return true;
}

static bool is_id(const char *text)
{
    for (unsigned i = 0; i < NODE_ID_TEXT - 1; i++) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        const char c = text[i];
        const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (dash ? c != '-' : !hex) {
            return false;
        }
    }
    return text[NODE_ID_TEXT - 1] == '\0';
}

/* Written beside and renamed, so that a crash leaves either nothing or all of it. */
static bool write_id(int dir, const char *text)
{
    const int fd = openat(dir, "node.id.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return false;
    }
    const bool written = dprintf(fd, "%s\n", text) == NODE_ID_TEXT && fsync(fd) == 0;
    return close(fd) == 0 && written && renameat(dir, "node.id.new", dir, "node.id") == 0 &&
           fsync(dir) == 0;
}

enum data_dir_err data_dir_identify(int dir, char node_id[NODE_ID_TEXT])
{
    if (faccessat(dir, DATA_DIR_UNFINISHED_MARK, F_OK, 0) == 0) {
        return DATA_DIR_UNFINISHED;
    }
    const int fd = openat(dir, "node.id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? DATA_DIR_NONE : DATA_DIR_UNREACHABLE;
    }
    memset(node_id, 0, NODE_ID_TEXT);
    const ssize_t n = read(fd, node_id, NODE_ID_TEXT - 1);
    close(fd);
    return n == (ssize_t)NODE_ID_TEXT - 1 && is_id(node_id) ? DATA_DIR_OK : DATA_DIR_BAD_ID;
}

static enum data_dir_err read_or_make_id(int dir, char text[NODE_ID_TEXT])
{
    const enum data_dir_err err = data_dir_identify(dir, text);
    if (err != DATA_DIR_NONE) {
        return err;
    }
    return make_id(text) && write_id(dir, text) ? DATA_DIR_OK : DATA_DIR_UNREACHABLE;
}

enum data_dir_err data_dir_open(struct data_dir *d, const char *path, int *sys_errno)
{
    enum data_dir_err err = DATA_DIR_UNREACHABLE;
    d->lock_fd = -1;
    int dir = -1;
    if (mkdir(path, 0750) != 0 && errno != EEXIST) {
        goto out;
    }
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        goto out;
    }
    d->lock_fd = openat(dir, "dunlin.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (d->lock_fd < 0) {
        goto out;
    }
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? DATA_DIR_IN_USE : DATA_DIR_UNREACHABLE;
        goto out;
    }
    err = read_or_make_id(dir, d->node_id);
out:
    *sys_errno = errno;
    if (dir >= 0) {
        close(dir);
    }
    if (err != DATA_DIR_OK) {
        data_dir_close(d);
    }
    return err;
}

void data_dir_close(struct data_dir *d)
{
    if (d->lock_fd >= 0) {
        close(d->lock_fd); /* and the lock goes with it */
        d->lock_fd = -1;
    }
}
