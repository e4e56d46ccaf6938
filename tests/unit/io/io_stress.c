/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of connections are opened, used, closed and reset at random moments by two client
 * threads, while the third does whatever it may with its ends, in two ios so tiny that every queue
 * is full most of the time (on epoll, with IO_BACKEND=epoll, there are none). Each socket is told
 * at most what it asked for, exactly one closed(), and nothing after it: it is freed then, and
 * AddressSanitizer watches.
 *
 * Printed seed; SEED=… repeats the choices, though not the kernel's timing.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "broker/io/uring.h"

#define CLIENTS       2u
#define CONNECTIONS   5000u /* of each client */
#define AT_A_TIME     24u
#define LIVE_MAX      (CLIENTS * AT_A_TIME + 4096u)
#define OUT_BYTES_MAX 400000u

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #condition), abort()))

static uint64_t random_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- the clients */

struct client {
    struct sockaddr_in to;
    uint64_t random;
};

static _Atomic unsigned clients_running;

static void reset(int fd)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

static int open_client(const struct client *c)
{
    const struct timeval soon = {.tv_usec = 2000};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)&c->to, sizeof c->to) == 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    return fd;
}

/* Does something with it; -1 when it is closed. */
static int use_client(struct client *c, int fd)
{
    static const char zeros[65536];
    static _Thread_local char bytes[65536];
    const uint64_t r = random_next(&c->random);
    switch (r % 16) {
    case 0:
        close(fd);
        return -1;
    case 1:
        reset(fd);
        return -1;
    case 2:
        shutdown(fd, SHUT_WR);
        break;
    case 3:
    case 4:
    case 5:
        (void)!recv(fd, bytes, 1 + (r >> 8) % sizeof bytes, MSG_DONTWAIT);
        break;
    case 6:
        (void)!recv(fd, bytes, sizeof bytes, 0);
        break;
    case 7:
        (void)!send(fd, zeros, 1 + (r >> 8) % sizeof zeros, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    default:
        (void)!send(fd, zeros, 1 + (r >> 8) % 200, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    }
    return fd;
}

static void *run_client(void *arg)
{
    struct client *const c = arg;
    int fds[AT_A_TIME];
    memset(fds, 0xff, sizeof fds); /* -1 */
    for (unsigned opened = 0; opened < CONNECTIONS;) {
        int *const fd = &fds[random_next(&c->random) % AT_A_TIME];
        if (*fd < 0) {
            *fd = open_client(c);
            opened++;
        } else {
            *fd = use_client(c, *fd);
        }
    }
    for (unsigned i = 0; i < AT_A_TIME; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    atomic_fetch_sub(&clients_running, 1);
    return NULL;
}

/* ---- the ends under test */

struct end {
    struct io_socket socket; /* first */
    unsigned at;             /* in live[] */
    struct io *io;
    bool once, many; /* receiving was asked for, and not stopped */
    bool may_come;   /* data: asked for at some time in this io */
    bool ended, sending, shut_down, closing;
    uint8_t *out; /* freed in sent() or closed() */
};

static struct io *ios[2];
static struct end *live[LIVE_MAX];
static unsigned live_count, accepts, closes, moves;
static uint64_t state;

static void use(struct end *e);

static struct end *end_of(struct io_socket *s)
{
    struct end *const e = (struct end *)(void *)s;
    CHECK(live[e->at] == e);
    return e;
}

static void forget(struct end *e)
{
    live[e->at] = live[--live_count];
    live[e->at]->at = e->at;
    free(e->out);
    free(e);
}

static struct end *adopt(struct io *io, int fd)
{
    struct end *const e = calloc(1, sizeof *e);
    CHECK(e != NULL && live_count < LIVE_MAX);
    e->io = io;
    e->at = live_count;
    live[live_count++] = e;
    io_attach(io, &e->socket, fd);
    return e;
}

static void accepted(void *context, unsigned listener, int fd)
{
    accepts++;
    use(adopt(*(struct io **)context, fd));
    (void)listener;
}

/* Calls may do anything to any socket. */
static void meddle(void)
{
    for (uint64_t n = random_next(&state) % 3; n > 0 && live_count > 0; n--) {
        use(live[random_next(&state) % live_count]);
    }
}

static void received(void *context, struct io_socket *s, const uint8_t *data, size_t len)
{
    struct end *const e = end_of(s);
    CHECK(e->io == *(struct io **)context);
    CHECK(!e->closing && !e->ended && e->may_come);
    CHECK(len > 0);
    CHECK(data[0] == 0 && data[len - 1] == 0);
    e->once = false;
    meddle(); /* e may be gone */
}

static void ended(void *context, struct io_socket *s, int error)
{
    struct end *const e = end_of(s);
    CHECK(e->io == *(struct io **)context);
    CHECK(!e->closing && !e->ended && e->may_come);
    CHECK(error == 0 || error == ECONNRESET || error == EPIPE);
    e->ended = true;
    e->once = e->many = false;
    meddle();
}

static void sent(void *context, struct io_socket *s, int error)
{
    struct end *const e = end_of(s);
    CHECK(e->io == *(struct io **)context);
    CHECK(!e->closing && e->sending);
    CHECK(error == 0 || error == ECONNRESET || error == EPIPE);
    e->sending = false;
    free(e->out);
    e->out = NULL;
    meddle();
}

static void closed(void *context, struct io_socket *s)
{
    struct end *const e = end_of(s);
    CHECK(e->io == *(struct io **)context);
    CHECK(e->closing && s->kernel_ops == 0);
    closes++;
    forget(e);
    meddle();
}

static void accept_failed(void *context, unsigned listener, int error)
{
    (void)context;
    (void)listener;
    fprintf(stderr, "accept: %s\n", strerror(error));
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

static void send_some(struct end *e, uint64_t r)
{
    if (e->sending || e->shut_down) {
        return;
    }
    const size_t len = 1 + (r % 8 == 0 ? (r >> 8) % OUT_BYTES_MAX : (r >> 8) % 100);
    const unsigned n = 1 + (unsigned)(r >> 40) % IO_IOV_MAX;
    struct iovec iov[IO_IOV_MAX];
    e->out = malloc(len);
    CHECK(e->out != NULL);
    memset(e->out, 7, len);
    for (unsigned i = 0; i < n; i++) {
        const size_t begin = len * i / n, end = len * (i + 1) / n;
        iov[i] = (struct iovec){.iov_base = e->out + begin, .iov_len = end - begin};
    }
    e->sending = true;
    io_send(e->io, &e->socket, iov, n);
}

static void move(struct end *e)
{
    const int fd = e->socket.fd;
    if (e->ended || e->shut_down || io_detach(e->io, &e->socket) != 0) {
        return;
    }
    CHECK(!e->sending && !e->once && !e->many);
    struct io *const other = e->io == ios[0] ? ios[1] : ios[0];
    forget(e);
    adopt(other, fd);
    moves++;
}

/* Does something with it that it may do now. */
static void use(struct end *e)
{
    const uint64_t r = random_next(&state);
    if (e->closing) {
        return;
    }
    switch (r % 16) {
    case 0:
        e->closing = true;
        io_close(e->io, &e->socket);
        break;
    case 1:
        if (!e->shut_down) {
            e->shut_down = true;
            io_shutdown_write(e->io, &e->socket);
        }
        break;
    case 2:
    case 3:
        e->once = e->many = false;
        io_receive_stop(e->io, &e->socket);
        break;
    case 4:
        if (e->socket.kernel_ops == 0) {
            e->once = e->may_come = true;
            io_receive_once(e->io, &e->socket);
        }
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        move(e);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
        send_some(e, random_next(&state));
        break;
    default:
        e->many = !e->ended;
        e->may_come = true;
        io_receive_start(e->io, &e->socket);
        break;
    }
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    DIR *const dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

static void serve(void)
{
    for (bool last = false; !last || live_count > 0;) {
        last = atomic_load(&clients_running) == 0;
        for (unsigned i = 0; i < 2; i++) {
            io_turn(ios[i], random_next(&state) % 4 == 0 ? 200000 : 0);
        }
        for (unsigned i = 0; i < 4 && live_count > 0; i++) {
            use(live[random_next(&state) % live_count]);
        }
        for (unsigned i = 0; last && i < live_count; i++) {
            if (!live[i]->closing) {
                live[i]->closing = true;
                io_close(live[i]->io, &live[i]->socket);
            }
        }
    }
}

int main(void)
{
    const char *const given = getenv("SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("SEED=%lu\n", seed);
    state = seed;
    const unsigned descriptors = open_descriptors();

    const struct io_conf conf = {.receive_buffers = 4, .receive_buffer_bytes = 256, .entries = 4};
    const struct uring_options options = {
        .completions = 8,
        .send_flags = seed % 2 ? MSG_WAITALL : 0,
        .completions_max = 64,
    };
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof to;
    const int listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listen_fd, (const struct sockaddr *)&to, len) == 0 && listen(listen_fd, 4096) == 0);
    CHECK(getsockname(listen_fd, (struct sockaddr *)&to, &len) == 0);
    const int small = 8192; /* inherited */
    CHECK(setsockopt(listen_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    for (unsigned i = 0; i < 2; i++) {
        int error = 0;
        CHECK((getenv("IO_BACKEND") == NULL
                   ? uring_create(&ios[i], &conf, &handlers, &ios[i], &options, &error)
                   : io_epoll_create(&ios[i], &conf, &handlers, &ios[i], &error)) == IO_OK);
        io_listen(ios[i], i, listen_fd);
    }

    struct client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    atomic_store(&clients_running, CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.to = to, .random = random_next(&state)};
        CHECK(pthread_create(&threads[i], NULL, run_client, &clients[i]) == 0);
    }
    serve();
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
    }
    serve(); /* those that were accepted last */
    printf("%u accepted, %u closed, %u moved\n", accepts, closes, moves);
    for (unsigned i = 0; i < 2; i++) {
        printf("io %u: %lu turns, submission full %lu, overflow %lu, no buffer %lu, partial %lu\n",
               i, io_counter_read(ios[i], IO_TURNS), io_counter_read(ios[i], IO_SUBMISSION_FULL),
               io_counter_read(ios[i], IO_COMPLETION_OVERFLOW),
               io_counter_read(ios[i], IO_NO_BUFFER), io_counter_read(ios[i], IO_PARTIAL_SEND));
        io_destroy(ios[i]);
    }
    close(listen_fd);
    CHECK(accepts == closes);
    CHECK(accepts > CLIENTS * CONNECTIONS / 2);
    CHECK(open_descriptors() == descriptors);
    return 0;
}
