/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backup/protocol.h"
#include "broker/config/config_error.h"
#include "broker/route/index.h"
#include "broker/store/checkpoint_check.h"
#include "broker/store/format.h"
#include "cluster/journal/files.h"

#define BUSY_MS      20000 /* so long another backup may be under way before ours */
#define STREAM_BYTES 65536u

static void tell_errno(struct config_error *error, const char *dir, const char *what, int number)
{
    config_error_add(error, "%s: %s%s%s", dir, what, number != 0 ? ": " : "",
                     number != 0 ? strerror(number) : "");
}

/* ---- a broker that runs */

static bool gone(const struct source *s, struct config_error *error)
{
    config_error_add(error, "%s: the broker ended meanwhile; try again", s->dir);
    return false;
}

static bool meet(struct source *s, struct config_error *error)
{
    struct sockaddr_un address;
    char text[BACKUP_TEXT_BYTES];
    s->control_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    backup_address(&address, s->dir, s->dir_fd);
    if (s->control_fd < 0 ||
        connect(s->control_fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        const int number = errno;
        tell_errno(error, s->dir,
                   number == ENOENT || number == ECONNREFUSED
                       ? "its broker cannot be asked: it is starting or ending, or another "
                         "process has the directory"
                       : "its broker cannot be asked; run this as the broker's user, or as root",
                   number);
        return false;
    }
    struct pollfd ready = {.fd = s->control_fd, .events = POLLIN};
    if (poll(&ready, 1, BUSY_MS) == 0) {
        config_error_add(error, "%s: another backup of it is under way", s->dir);
        return false;
    }
    return (backup_hear(s->control_fd, text, NULL) && strcmp(text, BACKUP_READY) == 0) ||
           gone(s, error);
}

/* 0 or an errno. */
static int pump(int from, int to)
{
    static char buffer[STREAM_BYTES];
    for (;;) {
        const ssize_t n = read(from, buffer, sizeof buffer);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return n == 0 ? 0 : errno;
        }
        for (ssize_t at = 0; at < n;) {
            const ssize_t written = write(to, buffer + at, (size_t)(n - at));
            if (written < 0 && errno != EINTR) {
                return errno;
            }
            at += written > 0 ? written : 0;
        }
    }
}

static bool ask_for_checkpoint(struct source *s, int fd, struct config_error *error)
{
    int stream[2];
    char text[BACKUP_TEXT_BYTES];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) != 0) {
        tell_errno(error, s->dir, "its broker cannot be asked", errno);
        return false;
    }
    const bool asked = backup_say(s->control_fd, BACKUP_COPY, stream[1]);
    close(stream[1]);
    const int written = asked ? pump(stream[0], fd) : 0;
    close(stream[0]);
    if (written != 0) {
        config_error_add(error, "the backup cannot be written: %s", strerror(written));
        return false;
    }
    if (!asked || !backup_hear(s->control_fd, text, NULL)) {
        return gone(s, error);
    }
    if (strcmp(text, BACKUP_COPIED) != 0) {
        config_error_add(error, "%s: its broker says: %s", s->dir,
                         strcmp(text, BACKUP_LOST) == 0
                             ? "the journal needs the room of what is to be copied"
                             : text);
        return false;
    }
    return true;
}

/* ---- both */

static bool lock_or_meet(struct source *s, struct config_error *error)
{
    s->lock_fd = openat(s->dir_fd, "dunlin.lock", O_RDWR | O_CLOEXEC);
    if (s->lock_fd < 0) {
        tell_errno(error, s->dir, "its dunlin.lock cannot be opened", errno);
        return false;
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return true;
    }
    const int number = errno;
    close(s->lock_fd);
    s->lock_fd = -1;
    if (number != EWOULDBLOCK) {
        tell_errno(error, s->dir, "its dunlin.lock cannot be locked", number);
        return false;
    }
    return meet(s, error);
}

bool source_open(struct source *s, const char *dir, struct config_error *error)
{
    *s = (struct source){.dir = dir, .dir_fd = -1, .lock_fd = -1, .control_fd = -1};
    s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0) {
        tell_errno(error, dir, "it cannot be opened", errno);
        return false;
    }
    const enum data_dir_err err = data_dir_identify(s->dir_fd, s->node_id);
    if (err != DATA_DIR_OK) {
        config_error_add(error, "%s: %s", dir, data_dir_err_text(err));
        return false;
    }
    if (faccessat(s->dir_fd, "checkpoint/data.mdb", F_OK, 0) != 0) {
        tell_errno(error, dir, "no broker has kept anything there", errno);
        return false;
    }
    return lock_or_meet(s, error);
}

bool source_checkpoint(struct source *s, int fd, struct config_error *error)
{
    int number = 0;
    if (s->control_fd >= 0) {
        return ask_for_checkpoint(s, fd, error);
    }
    const enum checkpoint_err err = checkpoint_copy_closed(s->dir, fd, &number);
    if (err != CHECKPOINT_OK) {
        tell_errno(error, s->dir, checkpoint_err_text(err), number > 0 ? number : 0);
    }
    return err == CHECKPOINT_OK;
}

static bool copy_one(struct files *from, struct files *to, const uint8_t *store_id,
                     struct config_error *error, const char *dir)
{
    struct copied copied;
    const struct segment_owner owner = format_owner(store_id, from->shard);
    const enum recover_err err = files_copy(&copied, from, to, &owner);
    if (err == RECOVER_OK) {
        return true;
    }
    if (copied.writing) {
        config_error_add(error, "the backup cannot be written: %s", strerror(copied.sys_errno));
    } else {
        config_error_add(error, "%s: shard %u, segment %llu, offset %llu: %s%s%s", dir, from->shard,
                         (unsigned long long)copied.bad_segment,
                         (unsigned long long)copied.bad_offset, recover_err_text(err),
                         copied.sys_errno != 0 ? ": " : "",
                         copied.sys_errno != 0 ? strerror(copied.sys_errno) : "");
    }
    return false;
}

bool source_journals(struct source *s, const char *to, const uint8_t store_id[CHECKPOINT_ID_BYTES],
                     struct config_error *error)
{
    char path[PATH_MAX];
    struct files source = {.dir = -1}, target = {.dir = -1};
    snprintf(path, sizeof path, "%s/journal", s->dir);
    int number = files_open(&source, path, 0, 0);
    if (number != 0) {
        tell_errno(error, path, "it cannot be opened", number);
        return false;
    }
    number = files_open(&target, to, 0, 0);
    if (number != 0) {
        tell_errno(error, to, "it cannot be opened", number);
    }
    bool done = number == 0;
    for (uint32_t shard = 0; done && shard < STORE_JOURNALS_MAX; shard++) {
        source.shard = shard;
        done = copy_one(&source, &target, store_id, error, s->dir);
    }
    files_close(&source);
    files_close(&target);
    return done;
}

bool source_held(struct source *s, struct config_error *error)
{
    char text[BACKUP_TEXT_BYTES];
    if (s->control_fd < 0) {
        return true;
    }
    if (!backup_say(s->control_fd, BACKUP_END, -1) || !backup_hear(s->control_fd, text, NULL)) {
        return gone(s, error);
    }
    if (strcmp(text, BACKUP_HELD) != 0) {
        config_error_add(error,
                         "%s: the journal needed the room of what was being copied: try again when "
                         "less is written, or to a faster disk",
                         s->dir);
        return false;
    }
    return true;
}

void source_close(struct source *s)
{
    const int fds[] = {s->control_fd, s->lock_fd, s->dir_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    *s = (struct source){.dir_fd = -1, .lock_fd = -1, .control_fd = -1};
}
