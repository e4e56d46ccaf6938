/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epollio: what the files of the epoll backend share. Internal to broker/io, and to its tests.
 *
 *   epollio.c          creating it, waiting, who gets an event, what is due
 *   epollio_accept.c   listeners
 *   epollio_socket.c   one socket: receiving, sending, closing
 *   epollio_file.c     files: a thread that writes and syncs
 *
 * io_uring tells what is done, epoll what is ready. So here a send is made in io_send() itself, and
 * what io.h promises to tell from io_turn() is remembered as due: the socket moves from the list
 * `attached` to the list `due`, and the next turn, which does not wait then, tells it.
 *
 * An event names a socket by its address, or the eventfd, or a listener, by a number that is no
 * address. Events of one wait are worked off one after the other, and a handler may detach, and
 * free, any socket meanwhile: epollio_forget() takes its event out. What is closed is freed in a
 * later turn at the earliest.
 */
#pragma once

#include <semaphore.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "broker/io/driver.h"
#include "broker/io/send_pool.h"

#define EPOLLIO_EVENTS_MAX 256u /* of one wait */

enum { /* io_socket.flags */
       EPOLLIO_WANT_ONCE = 1 << 0,
       EPOLLIO_WANT_MANY = 1 << 1,
       EPOLLIO_WATCHED_IN = 1 << 2, /* as the kernel knows it; neither: the socket is not with it */
       EPOLLIO_WATCHED_OUT = 1 << 3,
       EPOLLIO_UNWATCHABLE = 1 << 4, /* there was no memory to watch it for a receive: due */
       EPOLLIO_ENDED = 1 << 5,
       EPOLLIO_SHUTDOWN = 1 << 6, /* asked for; done when no send is under way */
       EPOLLIO_CLOSING = 1 << 7,  /* the descriptor is closed already; due */
       EPOLLIO_DUE = 1 << 8,      /* in `due` or `telling` */
};

/* What an event's data is, where it is not the address of a socket. */
#define EPOLLIO_NOTHING  UINT64_C(0)
#define EPOLLIO_WAKE     UINT64_C(1)
#define EPOLLIO_LISTENER UINT64_C(2) /* and its number added */

struct epollio_listener {
    int fd;
    int watched_fd; /* with the kernel; -1: none */
    bool wanted;    /* between io_listen() and io_listen_stop() */
    bool once;      /* for a single connection */
    bool pausing;   /* after a failure, until… */
    uint64_t again_ns;
};

/* The thread that writes files. Lists are newest first; who takes one takes it whole. */
struct epollio_writer {
    pthread_t thread;
    bool running; /* from the first write on; the owner's */
    sem_t news;
    _Atomic(struct io_file_op *) asked; /* the owner puts (release), the thread takes (acquire) */
    _Atomic(struct io_file_op *) done;  /* the thread puts (release), the owner takes (acquire) */
    _Atomic bool ending;                /* the owner's to write; before a post of `news` */
};

struct epollio {
    struct io io; /* first */
    int epoll_fd;
    int wake_fd;          /* an eventfd, edge-triggered: never read */
    bool in_ms;           /* epoll_pwait2() is refused: waits are in whole milliseconds */
    bool has_asked;       /* the last turn asked the kernel, and did not only tell what was due */
    _Atomic bool at_work; /* from before what events tell of is read; the owner writes, any reads */
    struct send_pool sends;
    struct io_socket attached; /* head of the list of those of which nothing is due */
    struct io_socket due;      /* …of those of which something is */
    struct io_socket telling;  /* …of those that are told of in this turn, or the next */
    struct io_socket *current; /* whose handlers are called; NULL: it has been detached */
    struct epollio_listener listeners[IO_LISTENERS];
    uint64_t unwatched; /* bits: listeners that are wanted, and not with the kernel */
    uint8_t *buffer;    /* received into; the only one: nothing outlives a call */
    size_t buffer_bytes;
    struct epollio_writer writer;
    unsigned event, events_count; /* events[event..events_count) are to be dealt with */
    struct epoll_event events[EPOLLIO_EVENTS_MAX];
};

static inline struct epollio *epollio_of(struct io *io)
{
    return (struct epollio *)(void *)io;
}

/* epoll_ctl(); 0, or an errno. */
int epollio_control(const struct epollio *e, int op, int fd, uint32_t events, uint64_t data);

/* Something of the socket is to be told from the next turn on. */
void epollio_is_due(struct epollio *e, struct io_socket *s);

/* No event of it is left that was fetched and not dealt with. */
void epollio_forget(struct epollio *e, const struct io_socket *s);

/* ---- epollio_accept.c */
void epollio_listen(struct io *io, unsigned listener, int listen_fd);
void epollio_listen_once(struct io *io, unsigned listener, int listen_fd);
void epollio_listen_stop(struct io *io, unsigned listener);

/* Has those watched that are to be, if their pause is over. When to come back, as nanoseconds from
 * now: UINT64_MAX without a pause. */
uint64_t epollio_watch_listeners(struct epollio *e);
void epollio_listener_event(struct epollio *e, unsigned listener);

/* ---- epollio_socket.c */
void epollio_attach(struct io *io, struct io_socket *s, int fd);
int epollio_detach(struct io *io, struct io_socket *s);
void epollio_receive_once(struct io *io, struct io_socket *s);
void epollio_receive_start(struct io *io, struct io_socket *s);
void epollio_receive_stop(struct io *io, struct io_socket *s);
void epollio_send(struct io *io, struct io_socket *s, const struct iovec *iov, unsigned n);
size_t epollio_send_at_once(struct io *io, const struct io_socket *s, const struct iovec *iov,
                            unsigned n);
void epollio_shutdown_write(struct io *io, struct io_socket *s);
void epollio_close(struct io *io, struct io_socket *s);
void epollio_socket_event(struct epollio *e, struct io_socket *s, uint32_t events);
void epollio_socket_tell(struct epollio *e, struct io_socket *s); /* it is not due any more */

/* ---- epollio_file.c */
int epollio_writer_init(struct epollio_writer *w);  /* 0, or an errno */
void epollio_writer_fini(struct epollio_writer *w); /* waits for what is under way */
void epollio_write_and_sync(struct io *io, struct io_file_op *op);
void epollio_files_tell(struct epollio *e);
