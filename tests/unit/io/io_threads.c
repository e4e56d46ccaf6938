/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two shards in miniature, each a thread with an io. The first accepts, reads once, and hands the
 * socket to the second, which echoes until the end; what was closed is reported back. Both sleep
 * without a limit whenever there is nothing to do: a wake-up that is lost stops the program.
 *
 * On io_uring, or, with IO_BACKEND=epoll in the environment, on epoll.
 *
 * A program of its own, for ThreadSanitizer. The kernel's writes into receive buffers are invisible
 * to it, which gives no false alarm: each buffer is read by one thread only.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/io/io.h"
#include "broker/shard/mailbox.h"

#define CONNECTIONS 2000u
#define AT_A_TIME   16u
#define PINGS       20000u

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #condition), abort()))

enum kind { HAND_OVER, CLOSED, PING, STOP };

struct mail {
    enum kind kind;
    int fd;
    size_t len; /* of the bytes already read */
    uint8_t bytes[64];
};

struct shard {
    struct io *io;
    struct shard *other;
    struct mailbox *in;    /* from the other */
    _Atomic bool sleeping; /* exchanged by both, see mailbox.c */
    bool stopping;
    unsigned closed; /* reported, or here */
    unsigned pings;
};

struct echo {
    struct io_socket socket; /* first */
    uint8_t bytes[4096];
    size_t len;
    bool sending, ended;
};

static struct shard shards[2];

static void post(struct shard *to, const struct mail *mail)
{
    struct mail *record;
    while ((record = mailbox_reserve(to->in, sizeof *record)) == NULL) {
        mailbox_publish(to->in); /* large enough for the test: the other will get on */
    }
    *record = *mail;
    mailbox_commit(to->in);
    CHECK(mailbox_publish(to->in));
    if (atomic_exchange_explicit(&to->sleeping, false, memory_order_acq_rel)) {
        io_wake(to->other->io, to->io);
    }
}

static void get_on(struct shard *sh, struct echo *e)
{
    if (e->sending) {
        return;
    }
    if (e->len > 0) {
        e->sending = true;
        const struct iovec iov = {.iov_base = e->bytes, .iov_len = e->len};
        io_send(sh->io, &e->socket, &iov, 1);
    } else if (e->ended) {
        io_close(sh->io, &e->socket);
    }
}

static void accepted(void *context, unsigned listener, int fd)
{
    struct shard *const sh = context;
    (void)listener;
    struct echo *const e = calloc(1, sizeof *e);
    CHECK(e != NULL);
    io_attach(sh->io, &e->socket, fd);
    io_receive_once(sh->io, &e->socket);
}

static void received(void *context, struct io_socket *s, const uint8_t *data, size_t len)
{
    struct shard *const sh = context;
    struct echo *const e = (struct echo *)(void *)s;
    if (sh == &shards[0]) {
        struct mail mail = {.kind = HAND_OVER, .fd = s->fd, .len = len};
        CHECK(len <= sizeof mail.bytes);
        memcpy(mail.bytes, data, len);
        CHECK(io_detach(sh->io, s) == 0);
        free(e);
        post(sh->other, &mail);
        return;
    }
    CHECK(e->len + len <= sizeof e->bytes);
    memcpy(e->bytes + e->len, data, len);
    e->len += len;
    get_on(sh, e);
}

static void ended(void *context, struct io_socket *s, int error)
{
    (void)error;
    struct echo *const e = (struct echo *)(void *)s;
    e->ended = true;
    get_on(context, e);
}

static void sent(void *context, struct io_socket *s, int error)
{
    struct echo *const e = (struct echo *)(void *)s;
    CHECK(error == 0);
    e->sending = false;
    e->len = 0; /* the client writes no more before it has read the answer */
    get_on(context, e);
}

static void closed(void *context, struct io_socket *s)
{
    struct shard *const sh = context;
    free(s);
    sh->closed++;
    if (sh == &shards[1]) {
        post(sh->other, &(struct mail){.kind = CLOSED});
    }
}

static void accept_failed(void *context, unsigned listener, int error)
{
    (void)context;
    (void)listener;
    (void)error;
    abort();
}

static const struct io_handlers handlers = {
    .accepted = accepted,
    .received = received,
    .ended = ended,
    .sent = sent,
    .closed = closed,
    .accept_failed = accept_failed,
};

static void on_mail(struct shard *sh, const struct mail *mail)
{
    switch (mail->kind) {
    case HAND_OVER: {
        struct echo *const e = calloc(1, sizeof *e);
        CHECK(e != NULL);
        io_attach(sh->io, &e->socket, mail->fd);
        memcpy(e->bytes, mail->bytes, mail->len);
        e->len = mail->len;
        io_receive_start(sh->io, &e->socket);
        get_on(sh, e);
        break;
    }
    case CLOSED:
        sh->closed++;
        break;
    case PING:
        if (++sh->pings < PINGS) {
            post(sh->other, mail);
        }
        break;
    default:
        sh->stopping = true;
        break;
    }
}

static void *run(void *arg)
{
    struct shard *const sh = arg;
    while (!sh->stopping) {
        const struct mail *mail;
        size_t len;
        while ((mail = mailbox_peek(sh->in, &len)) != NULL) {
            const struct mail copy = *mail;
            mailbox_release(sh->in);
            on_mail(sh, &copy);
        }
        if (sh == &shards[0] && sh->closed == CONNECTIONS && sh->pings + 1 >= PINGS) {
            post(sh->other, &(struct mail){.kind = STOP});
            sh->stopping = true;
        }
        atomic_exchange_explicit(&sh->sleeping, true, memory_order_acq_rel);
        const bool sleep = mailbox_is_empty(sh->in) && !sh->stopping;
        io_turn(sh->io, sleep ? UINT64_MAX : 0);
        atomic_exchange_explicit(&sh->sleeping, false, memory_order_acq_rel);
    }
    return NULL;
}

static void talk(const struct sockaddr_in *to)
{
    int fds[AT_A_TIME];
    char answer[8];
    for (unsigned i = 0; i < AT_A_TIME; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fds[i], (const struct sockaddr *)to, sizeof *to) == 0);
    }
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < AT_A_TIME; i++) {
            CHECK(send(fds[i], "hello", 5, MSG_NOSIGNAL) == 5);
        }
        for (unsigned i = 0; i < AT_A_TIME; i++) {
            CHECK(recv(fds[i], answer, 5, MSG_WAITALL) == 5);
            CHECK(memcmp(answer, "hello", 5) == 0);
        }
    }
    for (unsigned i = 0; i < AT_A_TIME; i++) {
        CHECK(shutdown(fds[i], SHUT_WR) == 0);
        CHECK(recv(fds[i], answer, 1, 0) == 0);
        close(fds[i]);
    }
}

int main(void)
{
    const struct io_conf conf = {.receive_buffers = 16, .receive_buffer_bytes = 64, .entries = 16};
    for (unsigned i = 0; i < 2; i++) {
        int error = 0;
        shards[i].other = &shards[1 - i];
        shards[i].in = mailbox_create(65536);
        CHECK((getenv("IO_BACKEND") == NULL ? io_uring_create : io_epoll_create)(
                  &shards[i].io, &conf, &handlers, &shards[i], &error) == IO_OK);
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof to;
    const int listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listen_fd, (const struct sockaddr *)&to, len) == 0 && listen(listen_fd, 1024) == 0);
    CHECK(getsockname(listen_fd, (struct sockaddr *)&to, &len) == 0);
    io_listen(shards[0].io, 0, listen_fd); /* queued; the shard's thread submits it */
    on_mail(&shards[0], &(struct mail){.kind = PING});

    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, run, &shards[i]) == 0);
    }
    for (unsigned i = 0; i < CONNECTIONS / AT_A_TIME; i++) {
        talk(&to);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < 2; i++) {
        io_destroy(shards[i].io);
        mailbox_destroy(shards[i].in);
    }
    close(listen_fd);
    return 0;
}
