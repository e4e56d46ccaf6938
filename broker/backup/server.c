/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "broker/backup/protocol.h"
#include "broker/log/log.h"
#include "broker/store/checkpoint.h"
#include "broker/store/keeper.h"

#define BACKLOG  4
#define AGAIN_MS 200

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the stream that the checkpoint is written to, which others may shut */

/* By the keeper's thread, or main: whatever is being written is of no use any more. */
static void give_up(void *context)
{
    struct backup_server *const b = context;
    pthread_mutex_lock(&b->lock);
    b->lost = true;
    if (b->stream >= 0) {
        (void)shutdown(b->stream, SHUT_RDWR);
    }
    pthread_mutex_unlock(&b->lock);
}

/* false: it is lost already. */
static bool show_stream(struct backup_server *b, int stream)
{
    pthread_mutex_lock(&b->lock);
    const bool shown = !b->lost;
    b->stream = shown ? stream : -1;
    pthread_mutex_unlock(&b->lock);
    return shown;
}

static void hide_stream(struct backup_server *b)
{
    pthread_mutex_lock(&b->lock);
    b->stream = -1;
    pthread_mutex_unlock(&b->lock);
}

/* Of whatever else nobody knows how to interrupt it. */
static bool is_stream(int fd)
{
    int type = 0;
    socklen_t len = sizeof type;
    const struct timeval stall = {.tv_sec = BACKUP_STALL_S};
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof stall) == 0;
}

/* ---- one backup */

/* Until there is something to be heard, or the time is over. false: we are to end. */
static bool waits_for(const struct backup_server *b, int fd, int timeout_ms)
{
    struct pollfd wanted[] = {{.fd = b->end_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    (void)poll(wanted, 2, timeout_ms); /* all signals are blocked */
    return wanted[0].revents == 0;
}

static bool waits(const struct backup_server *b, int fd)
{
    return waits_for(b, fd, -1);
}

/* NULL: it is copied; else why not. */
static const char *copy_checkpoint(struct backup_server *b, int stream)
{
    int sys_errno = 0;
    if (!is_stream(stream)) {
        return "no stream to write to";
    }
    if (!show_stream(b, stream)) {
        return BACKUP_LOST;
    }
    const enum checkpoint_err err = checkpoint_copy(b->checkpoint, stream, &sys_errno);
    hide_stream(b);
    if (err == CHECKPOINT_OK) {
        return NULL;
    }
    return sys_errno == EAGAIN  ? "whoever backs up took nothing for too long"
           : sys_errno == EPIPE ? "whoever backs up has ended, or the backup was given up"
                                : checkpoint_err_text(err);
}

/* NULL: all was well; else what was not. */
static const char *serve(struct backup_server *b, int client)
{
    char text[BACKUP_TEXT_BYTES];
    int stream = -1;
    if (!backup_say(client, BACKUP_READY, -1) || !waits(b, client) ||
        !backup_hear(client, text, &stream)) {
        return "whoever backs up has ended, or we do";
    }
    const char *problem = strcmp(text, BACKUP_COPY) == 0 && stream >= 0
                              ? copy_checkpoint(b, stream)
                              : "something else was said than is understood here";
    if (stream >= 0) {
        close(stream);
    }
    if (!backup_say(client, problem == NULL ? BACKUP_COPIED : problem, -1) && problem == NULL) {
        problem = "whoever backs up has ended";
    }
    if (problem == NULL &&
        (!waits(b, client) || !backup_hear(client, text, NULL) || strcmp(text, BACKUP_END) != 0)) {
        problem = "whoever backs up has ended, or we do";
    }
    return problem;
}

static void back_up(struct backup_server *b, int client)
{
    const uint64_t begun_ms = now_ms();
    pthread_mutex_lock(&b->lock);
    b->lost = false;
    pthread_mutex_unlock(&b->lock);
    keeper_hold(b->keeper, give_up, b);
    const char *problem = serve(b, client);
    const bool held = keeper_release(b->keeper);
    const bool told = backup_say(client, held ? BACKUP_HELD : BACKUP_LOST, -1);
    if (problem == NULL && !held) {
        problem = "the journal needed the room of what was being copied";
    } else if (problem == NULL && !told) {
        problem = "whoever backs up has ended";
    }
    if (problem == NULL) {
        log_event(LOG_INFO, "backed_up", LOG_NUMBER("took_ms", now_ms() - begun_ms));
    } else {
        log_event(LOG_WARNING, "backup_failed", LOG_TEXT("reason", problem));
    }
}

static void *run(void *context)
{
    struct backup_server *const b = context;
    while (waits(b, b->listen_fd)) {
        const int client = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) { /* there are no descriptors left, or it has gone again */
            (void)waits_for(b, -1, AGAIN_MS);
            continue;
        }
        back_up(b, client);
        close(client);
    }
    return NULL;
}

/* ---- beginning and end */

/* The directory is ours: what an earlier process has left there goes. */
static bool listens(struct backup_server *b, const char *dir)
{
    struct sockaddr_un address;
    b->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    b->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    b->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->dir_fd < 0 || b->listen_fd < 0 || b->end_fd < 0) {
        return false;
    }
    backup_address(&address, dir, b->dir_fd);
    if (unlinkat(b->dir_fd, BACKUP_SOCKET, 0) != 0 && errno != ENOENT) {
        return false;
    }
    return bind(b->listen_fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
           fchmodat(b->dir_fd, BACKUP_SOCKET, 0600, 0) == 0 && listen(b->listen_fd, BACKLOG) == 0;
}

static bool starts(struct backup_server *b)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&b->thread, NULL, run, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    if (error == 0) {
        pthread_setname_np(b->thread, "backup");
    }
    return error == 0;
}

static void close_all(struct backup_server *b)
{
    const int fds[] = {b->dir_fd, b->listen_fd, b->end_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    pthread_mutex_destroy(&b->lock);
    *b = (struct backup_server){.checkpoint = NULL};
}

void backup_server_start(struct backup_server *b, const char *dir, struct checkpoint *checkpoint,
                         struct keeper *keeper)
{
    *b = (struct backup_server){.checkpoint = checkpoint,
                                .keeper = keeper,
                                .dir_fd = -1,
                                .listen_fd = -1,
                                .end_fd = -1,
                                .stream = -1};
    pthread_mutex_init(&b->lock, NULL);
    if (!listens(b, dir) || !starts(b)) {
        log_event(LOG_WARNING, "backup_socket_failed", LOG_TEXT("dir", dir),
                  LOG_ERRNO("error", errno),
                  LOG_TEXT("meaning", "no backup can be made while the broker runs"));
        close_all(b);
    }
}

void backup_server_stop(struct backup_server *b)
{
    if (b->checkpoint == NULL) {
        return;
    }
    const uint64_t one = 1;
    (void)!write(b->end_fd, &one, sizeof one);
    give_up(b);
    pthread_join(b->thread, NULL);
    (void)unlinkat(b->dir_fd, BACKUP_SOCKET, 0);
    close_all(b);
}
