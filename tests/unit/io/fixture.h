/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fixture: an io on the kernel's loopback, and sockets that write down what they are told. On
 * io_uring, or on epoll when the environment has IO_BACKEND=epoll: the tests of what io.h promises
 * are run on both.
 *
 * Every call that must not come is an assertion here: a call for a socket that is closed, data
 * after the end, a second end, a sent() without a send.
 */
#pragma once

#include <criterion/criterion.h>

#include "broker/io/uring.h"

#define ACCEPTED_MAX 4096u

struct fixture {
    struct io *io;
    int listen_fd;
    int accepted[ACCEPTED_MAX];
    unsigned accepts;
    unsigned accept_failures;
    int accept_error;
    void (*on_accepted)(struct fixture *f, int fd); /* NULL: written down only */
};

struct peer {
    struct io_socket socket; /* first */
    struct fixture *fixture;
    int client; /* the other end, blocking; -1: closed */
    size_t received;
    unsigned received_calls;
    uint8_t last; /* byte received */
    unsigned ended;
    int ended_error;
    bool sending;
    unsigned sent;
    int sent_error;
    bool closing;
    unsigned closed;
    void (*on_received)(struct peer *p);
    struct peer *other; /* for on_received() */
};

extern const struct io_handlers fixture_handlers;
extern const struct io_conf fixture_conf; /* small, but not so small that it matters */

bool fixture_is_uring(void);

/* Skips a test of what only io_uring has: its queues, its options, its completions. */
#define FIXTURE_NEEDS_URING()                                                                      \
    do {                                                                                           \
        if (!fixture_is_uring()) {                                                                 \
            cr_skip_test("it is about io_uring");                                                  \
        }                                                                                          \
    } while (0)

/* With uring_defaults where `options` is NULL; epoll has none. */
void fixture_init(struct fixture *f, const struct io_conf *conf,
                  const struct uring_options *options);
void fixture_fini(struct fixture *f);

uint64_t now_ns(void);

/* Turns until the condition holds; fails after a while. */
#define TURN_UNTIL(f, condition)                                                                   \
    do {                                                                                           \
        const uint64_t give_up = now_ns() + UINT64_C(20000000000);                                 \
        while (!(condition)) {                                                                     \
            cr_assert(now_ns() < give_up, "waited in vain for %s", #condition);                    \
            io_turn((f)->io, 1000000);                                                             \
        }                                                                                          \
    } while (0)

int listen_on_loopback(void);
int connect_to(int listen_fd); /* blocking */
void tcp_pair(int fds[2]);
void unix_pair(int fds[2]);
void write_all(int fd, const void *data, size_t len);
void reset(int fd); /* closes with RST */

/* A pair, one end attached, the other in `client`. */
void peer_open(struct peer *p, struct fixture *f);
void peer_open_on(struct peer *p, struct fixture *f, int fd, int client);
void peer_send(struct peer *p, const void *data, size_t len);
void peer_close(struct peer *p);          /* io_close() only */
void peer_close_and_wait(struct peer *p); /* both ends */

static inline uint64_t count_of(const struct fixture *f, enum io_counter counter)
{
    return io_counter_read(f->io, counter);
}
