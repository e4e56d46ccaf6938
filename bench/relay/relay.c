/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/relay/relay.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/relay/hello.h"

/* As broker/main.c and broker/io/uring.c have them. */
#define BUFFERS              256u
#define BUFFER_BYTES         16384u
#define RING_ENTRIES         4096u
#define COMPLETIONS_PER_TURN 1024u
#define EVENTS_PER_ENTER     20u

#define BUFFER_GROUP 0
#define PIECES_FIRST 4u
#define IOV_MAX_SENT 64u
#define ACKS_AT_ONCE 4096u
#define CHANNELS_MAX 1000000u
#define ALL_PIECES   UINT32_MAX

/* What user data says besides the peer's address. */
enum op {
    OP_ACCEPT, /* of no peer */
    OP_RECEIVE,
    OP_SEND,
};
#define OP_MASK UINT64_C(3)

/* A part of a receive buffer that is still to be sent; holds a reference to the buffer. */
struct piece {
    const uint8_t *at;
    uint32_t len;
    uint32_t buffer;
};

struct peer {
    int fd;
    unsigned under_way; /* operations that the kernel has */
    bool is_sending;
    bool is_dirty;
    bool is_starved; /* its receive ended for want of a buffer */
    bool is_ended;
    struct peer *next_dirty, *next_starved;
    struct peer *next_sink; /* of its channel */

    uint32_t hello_len; /* bytes of `hello` that have come; all: what it says is in force */
    struct hello hello;

    /* A sink: what is to be sent, the first first. `sent_count` of them are with the kernel. */
    struct piece *pieces;
    uint32_t piece_count, pieces_size, sent_count;
    struct iovec *iov;     /* IOV_MAX_SENT of them; NULL until several pieces are sent at once */
    struct msghdr message; /* of the send under way */

    /* A source: */
    uint64_t part;     /* bytes of a message whose end has not come */
    uint64_t acks_due; /* in bytes */
};

struct relay {
    struct io_uring ring;
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers;
    uint32_t references[BUFFERS];
    bool gave_back; /* a buffer, in this turn */
    struct peer *dirty, *starved;
    struct peer **sinks; /* by channel: a list */
    uint8_t acks[ACKS_AT_ONCE * HELLO_ACK_BYTES];
};

static void die(const char *what, int error)
{
    fprintf(stderr, "dunlin-relay: %s: %s\n", what, strerror(error));
    exit(1);
}

static void *must(void *memory)
{
    if (memory == NULL) {
        die("memory", ENOMEM);
    }
    return memory;
}

static struct io_uring_sqe *sqe_for(struct relay *r, struct peer *p)
{
    struct io_uring_sqe *sqe;
    while ((sqe = io_uring_get_sqe(&r->ring)) == NULL) {
        const int submitted = io_uring_submit(&r->ring);
        if (submitted < 0 && submitted != -EBUSY && submitted != -EAGAIN) {
            die("submit", -submitted);
        }
    }
    if (p != NULL) {
        p->under_way++;
    }
    return sqe;
}

static void prepared(struct io_uring_sqe *sqe, const struct peer *p, enum op op)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)p | (uint64_t)op);
}

/* ---- buffers */

static uint8_t *buffer_at(const struct relay *r, uint32_t buffer)
{
    return r->buffers + (size_t)buffer * BUFFER_BYTES;
}

static void give_back(struct relay *r, uint32_t buffer)
{
    io_uring_buf_ring_add(r->buffer_ring, buffer_at(r, buffer), BUFFER_BYTES,
                          (unsigned short)buffer, io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(r->buffer_ring, 1);
    r->gave_back = true;
}

static void put(struct relay *r, uint32_t buffer)
{
    assert(r->references[buffer] > 0);
    if (--r->references[buffer] == 0) {
        give_back(r, buffer);
    }
}

/* When nothing can come of it any more. */
static void bury(struct peer *p)
{
    if (p->is_ended && p->under_way == 0 && !p->is_dirty && !p->is_starved) {
        close(p->fd);
        free(p->pieces);
        free(p->iov);
        free(p);
    }
}

/* ---- sending */

static void mark_dirty(struct relay *r, struct peer *p)
{
    if (!p->is_dirty) {
        p->is_dirty = true;
        p->next_dirty = r->dirty;
        r->dirty = p;
    }
}

static void add_piece(struct relay *r, struct peer *p, const uint8_t *at, uint32_t len,
                      uint32_t buffer)
{
    if (p->piece_count == p->pieces_size) {
        p->pieces_size = p->pieces_size > 0 ? 2 * p->pieces_size : PIECES_FIRST;
        assert(p->pieces_size <= 2 * BUFFERS); /* each buffer once */
        p->pieces = must(realloc(p->pieces, p->pieces_size * sizeof *p->pieces));
    }
    p->pieces[p->piece_count++] = (struct piece){.at = at, .len = len, .buffer = buffer};
    r->references[buffer]++;
    mark_dirty(r, p);
}

static void send_pieces(struct relay *r, struct peer *p)
{
    const int flags = MSG_NOSIGNAL | MSG_WAITALL;
    struct io_uring_sqe *const sqe = sqe_for(r, p);
    p->sent_count = p->piece_count < IOV_MAX_SENT ? p->piece_count : IOV_MAX_SENT;
    if (p->sent_count == 1) {
        io_uring_prep_send(sqe, p->fd, p->pieces[0].at, p->pieces[0].len, flags);
    } else {
        if (p->iov == NULL) {
            p->iov = must(calloc(IOV_MAX_SENT, sizeof *p->iov));
        }
        for (uint32_t i = 0; i < p->sent_count; i++) {
            p->iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)p->pieces[i].at,
                                       .iov_len = p->pieces[i].len};
        }
        p->message = (struct msghdr){.msg_iov = p->iov, .msg_iovlen = p->sent_count};
        io_uring_prep_sendmsg(sqe, p->fd, &p->message, (unsigned)flags);
    }
    prepared(sqe, p, OP_SEND);
    p->is_sending = true;
}

static void send_acks(struct relay *r, struct peer *p)
{
    const size_t begun = -p->acks_due % HELLO_ACK_BYTES; /* of the first, after a short send */
    const size_t room = sizeof r->acks - begun;
    const size_t len = p->acks_due < room ? p->acks_due : room;
    struct io_uring_sqe *const sqe = sqe_for(r, p);
    io_uring_prep_send(sqe, p->fd, r->acks + begun, len, MSG_NOSIGNAL | MSG_WAITALL);
    prepared(sqe, p, OP_SEND);
    p->is_sending = true;
}

static void flush_dirty(struct relay *r)
{
    struct peer *p = r->dirty;
    r->dirty = NULL;
    while (p != NULL) {
        struct peer *const next = p->next_dirty;
        p->is_dirty = false;
        if (!p->is_sending && !p->is_ended) {
            if (p->piece_count > 0) {
                send_pieces(r, p);
            } else if (p->acks_due > 0) {
                send_acks(r, p);
            }
        }
        bury(p);
        p = next;
    }
}

/* The first `len` bytes of the pieces have been sent; ALL_PIECES: or never will be. */
static void pieces_sent(struct relay *r, struct peer *p, uint32_t len)
{
    uint32_t whole = 0;
    while (whole < p->piece_count && len >= p->pieces[whole].len) {
        len -= p->pieces[whole].len;
        put(r, p->pieces[whole].buffer);
        whole++;
    }
    p->piece_count -= whole;
    memmove(p->pieces, p->pieces + whole, p->piece_count * sizeof *p->pieces);
    if (len > 0 && p->piece_count > 0) {
        p->pieces[0].at += len;
        p->pieces[0].len -= len;
    }
}

/* ---- peers */

static void receive(struct relay *r, struct peer *p)
{
    struct io_uring_sqe *const sqe = sqe_for(r, p);
    io_uring_prep_recv_multishot(sqe, p->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    prepared(sqe, p, OP_RECEIVE);
}

static void forget_sink(struct relay *r, const struct peer *p)
{
    if (p->hello_len < sizeof p->hello || p->hello.role != HELLO_SINK) {
        return;
    }
    struct peer **at = &r->sinks[p->hello.channel];
    while (*at != p) {
        at = &(*at)->next_sink;
    }
    *at = p->next_sink;
}

static void end(struct relay *r, struct peer *p)
{
    if (!p->is_ended) {
        p->is_ended = true;
        forget_sink(r, p);
        shutdown(p->fd, SHUT_RDWR);
        pieces_sent(r, p, p->is_sending ? 0 : ALL_PIECES);
    }
}

static void on_hello(struct relay *r, struct peer *p)
{
    const bool is_role = p->hello.role == HELLO_SOURCE || p->hello.role == HELLO_SINK;
    const bool is_source = p->hello.role == HELLO_SOURCE;
    if (p->hello.magic != HELLO_MAGIC || !is_role || p->hello.channel >= CHANNELS_MAX ||
        (is_source && p->hello.message_bytes == 0)) {
        end(r, p);
        return;
    }
    if (!is_source) {
        p->next_sink = r->sinks[p->hello.channel];
        r->sinks[p->hello.channel] = p;
    }
    static const uint8_t accepted[] = {0x20, 0x02, 0x00, 0x00};
    if (send(p->fd, accepted, sizeof accepted, MSG_NOSIGNAL) != sizeof accepted) {
        end(r, p);
    }
}

static void forward(struct relay *r, struct peer *p, const uint8_t *at, uint32_t len,
                    uint32_t buffer)
{
    for (struct peer *sink = r->sinks[p->hello.channel]; sink != NULL; sink = sink->next_sink) {
        add_piece(r, sink, at, len, buffer);
    }
    if (p->hello.ack_bytes > 0) {
        const uint64_t bytes = p->part + len;
        p->part = bytes % p->hello.message_bytes;
        p->acks_due += bytes / p->hello.message_bytes * p->hello.ack_bytes;
        if (p->acks_due > 0) {
            mark_dirty(r, p);
        }
    }
}

static void on_bytes(struct relay *r, struct peer *p, const uint8_t *at, uint32_t len,
                     uint32_t buffer)
{
    if (p->hello_len < sizeof p->hello) {
        const uint32_t missing = (uint32_t)sizeof p->hello - p->hello_len;
        const uint32_t taken = missing < len ? missing : len;
        memcpy((uint8_t *)&p->hello + p->hello_len, at, taken);
        p->hello_len += taken;
        if (p->hello_len == sizeof p->hello) {
            on_hello(r, p);
        }
        at += taken;
        len -= taken;
    }
    if (len > 0 && !p->is_ended && p->hello.role == HELLO_SOURCE) {
        forward(r, p, at, len, buffer);
    }
}

/* ---- completions */

static void on_accept(struct relay *r, int listen_fd, const struct io_uring_cqe *cqe)
{
    if (cqe->res >= 0) {
        struct peer *const p = must(calloc(1, sizeof *p));
        p->fd = cqe->res;
        receive(r, p);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        struct io_uring_sqe *const sqe = sqe_for(r, NULL);
        io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC);
        prepared(sqe, NULL, OP_ACCEPT);
    }
}

static void on_receive(struct relay *r, struct peer *p, const struct io_uring_cqe *cqe)
{
    if (cqe->res > 0) {
        const uint32_t buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        r->references[buffer] = 1;
        on_bytes(r, p, buffer_at(r, buffer), (uint32_t)cqe->res, buffer);
        put(r, buffer);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) != 0) {
        return;
    }
    if (cqe->res == -ENOBUFS) {
        p->is_starved = true;
        p->next_starved = r->starved;
        r->starved = p;
    } else if (cqe->res > 0 && !p->is_ended) {
        receive(r, p);
    } else {
        end(r, p);
    }
}

static void on_send(struct relay *r, struct peer *p, int sent)
{
    p->is_sending = false;
    if (sent < 0 || p->is_ended) {
        end(r, p);
        pieces_sent(r, p, ALL_PIECES);
    } else if (p->hello.role == HELLO_SOURCE) {
        p->acks_due -= (uint64_t)sent;
        if (p->acks_due > 0) {
            mark_dirty(r, p);
        }
    } else {
        pieces_sent(r, p, (uint32_t)sent);
        if (p->piece_count > 0) {
            mark_dirty(r, p);
        }
    }
}

static void complete(struct relay *r, int listen_fd, const struct io_uring_cqe *cqe)
{
    struct peer *const p = (struct peer *)(uintptr_t)(cqe->user_data & ~OP_MASK);
    if (p == NULL) {
        on_accept(r, listen_fd, cqe);
        return;
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        p->under_way--;
    }
    if ((cqe->user_data & OP_MASK) == OP_RECEIVE) {
        on_receive(r, p, cqe);
    } else {
        on_send(r, p, cqe->res);
    }
    bury(p);
}

static unsigned complete_all(struct relay *r, int listen_fd, unsigned budget)
{
    struct io_uring_cqe *cqe;
    unsigned handled = 0;
    while (handled < budget && io_uring_peek_cqe(&r->ring, &cqe) == 0) {
        const struct io_uring_cqe copy = *cqe;
        io_uring_cqe_seen(&r->ring, cqe);
        complete(r, listen_fd, &copy);
        handled++;
    }
    return handled;
}

/* Receives that ended for want of a buffer go on once there is one. */
static void feed_starved(struct relay *r)
{
    if (!r->gave_back) {
        return;
    }
    r->gave_back = false;
    struct peer *p = r->starved;
    r->starved = NULL;
    while (p != NULL) {
        struct peer *const next = p->next_starved;
        p->is_starved = false;
        if (p->is_ended) {
            bury(p);
        } else {
            receive(r, p);
        }
        p = next;
    }
}

static void turn(struct relay *r, int listen_fd)
{
    int ret = io_uring_submit_and_wait(&r->ring, 1);
    unsigned budget = COMPLETIONS_PER_TURN;
    for (;;) {
        if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY) {
            die("enter", -ret);
        }
        const unsigned handled = complete_all(r, listen_fd, budget);
        const unsigned flags = __atomic_load_n(r->ring.sq.kflags, __ATOMIC_RELAXED);
        budget -= handled;
        if (budget == 0 || handled < EVENTS_PER_ENTER || (flags & IORING_SQ_TASKRUN) == 0) {
            break;
        }
        ret = io_uring_submit_and_get_events(&r->ring);
    }
    flush_dirty(r);
    feed_starved(r);
}

/* ---- begin */

static int open_ring(struct relay *r)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                 IORING_SETUP_CLAMP,
        .cq_entries = 16 * RING_ENTRIES,
    };
    const int err = -io_uring_queue_init_params(RING_ENTRIES, &r->ring, &params);
    if (err != 0) {
        return err;
    }
    const size_t ring_bytes = BUFFERS * sizeof(struct io_uring_buf);
    void *const memory = mmap(NULL, ring_bytes + (size_t)BUFFERS * BUFFER_BYTES,
                              PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return errno;
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)memory, .ring_entries = BUFFERS, .bgid = BUFFER_GROUP};
    r->buffer_ring = memory;
    r->buffers = (uint8_t *)memory + ring_bytes;
    io_uring_buf_ring_init(r->buffer_ring);
    return -io_uring_register_buf_ring(&r->ring, &registration, 0);
}

int relay_run(int listen_fd)
{
    static const uint8_t ack[] = HELLO_ACK;
    static struct relay relay;
    const int err = open_ring(&relay);
    if (err != 0) {
        return err;
    }
    for (uint32_t i = 0; i < BUFFERS; i++) {
        give_back(&relay, i);
    }
    for (size_t i = 0; i < sizeof relay.acks; i++) {
        relay.acks[i] = ack[i % sizeof ack];
    }
    relay.sinks = must(calloc(CHANNELS_MAX, sizeof(struct peer *)));
    on_accept(&relay, listen_fd, &(struct io_uring_cqe){.res = -EAGAIN});
    for (;;) {
        turn(&relay, listen_fd);
    }
}
