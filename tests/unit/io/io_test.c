/* SPDX-License-Identifier: Apache-2.0 */
/* What the functions of io.h promise, on the real kernel. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/io/fixture.h"

static struct fixture f;

static void setup(void)
{
    fixture_init(&f, &fixture_conf, NULL);
}

static void teardown(void)
{
    fixture_fini(&f);
}

TestSuite(io, .init = setup, .fini = teardown, .timeout = 60);

/* ---- accepting */

Test(io, accepts_non_blocking_and_close_on_exec)
{
    f.listen_fd = listen_on_loopback();
    io_listen(f.io, 3, f.listen_fd);
    int clients[100];
    for (unsigned i = 0; i < 100; i++) {
        clients[i] = connect_to(f.listen_fd);
    }
    TURN_UNTIL(&f, f.accepts == 100);
    for (unsigned i = 0; i < 100; i++) {
        cr_expect(fcntl(f.accepted[i], F_GETFL) & O_NONBLOCK);
        cr_expect(fcntl(f.accepted[i], F_GETFD) & FD_CLOEXEC);
        close(f.accepted[i]);
        close(clients[i]);
    }
    cr_expect(count_of(&f, IO_TURNS) < 100);
}

/* A listener may be non-blocking itself; waiting on it costs no turns. */
Test(io, waits_on_a_non_blocking_listener)
{
    f.listen_fd = listen_on_loopback();
    cr_assert_eq(fcntl(f.listen_fd, F_SETFL, O_NONBLOCK), 0);
    io_listen(f.io, 0, f.listen_fd);
    for (unsigned i = 0; i < 5; i++) {
        io_turn(f.io, 2000000);
    }
    const uint64_t begin = now_ns();
    io_turn(f.io, 50000000);
    cr_expect(now_ns() - begin >= 50000000);
    close(connect_to(f.listen_fd));
    TURN_UNTIL(&f, f.accepts == 1);
    close(f.accepted[0]);
}

Test(io, listener_stops_and_starts_again)
{
    f.listen_fd = listen_on_loopback();
    const int other_fd = listen_on_loopback();
    io_listen(f.io, 0, f.listen_fd);
    io_listen_stop(f.io, 0);
    io_listen(f.io, 0, other_fd); /* while the first is still being cancelled */
    const int client = connect_to(other_fd);
    TURN_UNTIL(&f, f.accepts == 1);
    close(f.accepted[0]);
    io_listen_stop(f.io, 0);
    for (unsigned i = 0; i < 3; i++) {
        io_turn(f.io, 1000000);
    }
    const int late = connect_to(other_fd), wrong = connect_to(f.listen_fd);
    io_turn(f.io, 20000000);
    cr_expect_eq(f.accepts, 1, "nobody listens");
    io_listen(f.io, 0, other_fd);
    TURN_UNTIL(&f, f.accepts == 2);
    close(f.accepted[1]);
    close(client);
    close(late);
    close(wrong);
    close(other_fd);
}

/* One connection each time, whatever waits; and waiting costs no turns. */
Test(io, listens_for_one_connection)
{
    f.listen_fd = listen_on_loopback();
    cr_assert_eq(fcntl(f.listen_fd, F_SETFL, O_NONBLOCK), 0);
    int clients[3];
    for (unsigned i = 0; i < 3; i++) {
        clients[i] = connect_to(f.listen_fd);
    }
    for (unsigned i = 0; i < 3; i++) {
        io_listen_once(f.io, 3, f.listen_fd);
        TURN_UNTIL(&f, f.accepts == i + 1);
        cr_expect(fcntl(f.accepted[i], F_GETFL) & O_NONBLOCK);
        cr_expect(fcntl(f.accepted[i], F_GETFD) & FD_CLOEXEC);
        io_turn(f.io, 1000000);
        cr_expect_eq(f.accepts, i + 1);
        close(f.accepted[i]);
        close(clients[i]);
    }
    io_listen_once(f.io, 3, f.listen_fd);
    for (unsigned i = 0; i < 5; i++) {
        io_turn(f.io, 2000000);
    }
    const uint64_t begin = now_ns();
    io_turn(f.io, 50000000);
    cr_expect(now_ns() - begin >= 50000000);
    cr_expect_eq(f.accept_failures, 0);
}

/* From many to one and back, while the kernel is still at the former. */
Test(io, listens_for_one_and_for_many)
{
    f.listen_fd = listen_on_loopback();
    io_listen(f.io, 0, f.listen_fd);
    io_turn(f.io, 0);
    io_listen_stop(f.io, 0);
    io_listen_once(f.io, 0, f.listen_fd);
    int clients[3];
    clients[0] = connect_to(f.listen_fd);
    TURN_UNTIL(&f, f.accepts == 1);
    io_listen_once(f.io, 0, f.listen_fd);
    io_listen_stop(f.io, 0);
    io_listen(f.io, 0, f.listen_fd);
    clients[1] = connect_to(f.listen_fd);
    clients[2] = connect_to(f.listen_fd);
    TURN_UNTIL(&f, f.accepts == 3);
    for (unsigned i = 0; i < 3; i++) {
        close(f.accepted[i]);
        close(clients[i]);
    }
}

/* Out of descriptors: told, not spun on, and taken up again by itself. */
Test(io, out_of_descriptors)
{
    f.listen_fd = listen_on_loopback();
    const int client = connect_to(f.listen_fd);
    struct rlimit limit, none;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    const int lowest_free = dup(0);
    close(lowest_free);
    none.rlim_cur = (rlim_t)lowest_free;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    io_listen(f.io, 0, f.listen_fd);
    TURN_UNTIL(&f, f.accept_failures == 1);
    cr_expect_eq(f.accept_error, EMFILE);
    cr_expect_eq(count_of(&f, IO_ACCEPT_FAILED), 1);

    const uint64_t begin = now_ns(), turns = count_of(&f, IO_TURNS);
    while (f.accept_failures == 1) {
        io_turn(f.io, UINT64_MAX); /* the pause bounds a wait that has no limit */
    }
    cr_expect(now_ns() - begin >= 90000000);
    cr_expect(count_of(&f, IO_TURNS) - turns <= 3);

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    TURN_UNTIL(&f, f.accepts == 1);
    close(f.accepted[0]);
    close(client);
}

Test(io, stopped_while_pausing)
{
    f.listen_fd = listen_on_loopback();
    const int not_listening = socket(AF_INET, SOCK_STREAM, 0);
    io_listen(f.io, 7, not_listening);
    TURN_UNTIL(&f, f.accept_failures == 1);
    cr_expect_eq(f.accept_error, EINVAL);
    io_listen_stop(f.io, 7);
    io_listen(f.io, 7, f.listen_fd);
    const int client = connect_to(f.listen_fd);
    TURN_UNTIL(&f, f.accepts == 1);
    cr_expect_eq(f.accept_failures, 1);
    close(f.accepted[0]);
    close(client);
    close(not_listening);
}

/* ---- receiving */

Test(io, receives_what_comes_until_the_end)
{
    struct peer p;
    peer_open(&p, &f);
    io_receive_start(f.io, &p.socket);
    for (unsigned char i = 1; i <= 5; i++) {
        write_all(p.client, &i, 1);
        TURN_UNTIL(&f, p.received == i);
        cr_expect_eq(p.last, i);
    }
    static char much[100000];
    write_all(p.client, much, sizeof much);
    shutdown(p.client, SHUT_WR);
    TURN_UNTIL(&f, p.ended == 1);
    cr_expect_eq(p.received, 5 + sizeof much);
    cr_expect_eq(p.ended_error, 0);

    /* Half-closed: the other direction still works. */
    peer_send(&p, "abc", 3);
    TURN_UNTIL(&f, p.sent == 1);
    char answer[4];
    cr_expect_eq(recv(p.client, answer, sizeof answer, 0), 3);

    io_receive_start(f.io, &p.socket); /* nothing comes of it any more */
    io_receive_once(f.io, &p.socket);
    io_turn(f.io, 1000000);
    peer_close_and_wait(&p);
}

Test(io, receive_once_is_once)
{
    struct peer p;
    peer_open(&p, &f);
    io_receive_once(f.io, &p.socket);
    write_all(p.client, "abc", 3);
    TURN_UNTIL(&f, p.received_calls == 1);
    write_all(p.client, "de", 2);
    io_turn(f.io, 20000000);
    cr_expect_eq(p.received, 3);
    io_receive_once(f.io, &p.socket);
    TURN_UNTIL(&f, p.received == 5);
    io_receive_once(f.io, &p.socket);
    shutdown(p.client, SHUT_WR);
    TURN_UNTIL(&f, p.ended == 1);
    cr_expect_eq(p.socket.kernel_ops, 0);
    peer_close_and_wait(&p);
}

Test(io, reset_by_the_peer)
{
    struct peer p;
    peer_open(&p, &f);
    io_receive_start(f.io, &p.socket);
    io_turn(f.io, 0);
    reset(p.client);
    p.client = -1;
    TURN_UNTIL(&f, p.ended == 1);
    cr_expect_eq(p.ended_error, ECONNRESET);
    peer_send(&p, "x", 1);
    TURN_UNTIL(&f, p.sent == 1);
    cr_expect_eq(p.sent_error, EPIPE);
    peer_close_and_wait(&p);
}

/* Stop and start in every order, handed over or not in between: data neither lost nor doubled. */
Test(io, stops_and_starts)
{
    struct peer p;
    peer_open(&p, &f);
    size_t written = 0;
    for (unsigned mix = 0; mix < 256; mix++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            if (mix >> bit & 1) {
                io_receive_start(f.io, &p.socket);
            } else {
                io_receive_stop(f.io, &p.socket);
            }
            if (mix % 3 == bit % 3) {
                io_submit(f.io);
            }
            if (mix % 5 == bit % 5) {
                write_all(p.client, "abc", 3);
                written += 3;
                io_turn(f.io, 0);
            }
        }
        io_receive_start(f.io, &p.socket);
        TURN_UNTIL(&f, p.received == written);
    }
    io_receive_stop(f.io, &p.socket);
    TURN_UNTIL(&f, p.socket.kernel_ops == 0);
    write_all(p.client, "abc", 3);
    io_turn(f.io, 10000000);
    cr_expect_eq(p.received, written);
    io_receive_start(f.io, &p.socket);
    TURN_UNTIL(&f, p.received == written + 3);
    peer_close_and_wait(&p);
}

/* ---- sending */

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i ^ i >> 8 ^ i >> 16);
}

static void *slow_reader(void *arg)
{
    const int fd = *(const int *)arg;
    static unsigned char in[65536];
    size_t at = 0;
    for (;;) {
        const ssize_t n = recv(fd, in, at % 7 == 0 ? 1 + at % 511 : sizeof in, 0);
        if (n <= 0) {
            return (void *)(uintptr_t)at;
        }
        for (size_t i = 0; i < (size_t)n; i++) {
            if (in[i] != pattern(at + i)) {
                return NULL;
            }
        }
        at += (size_t)n;
    }
}

/* Several MiB through small socket buffers arrive whole, as one send, then the end. */
static void send_much(int send_flags, unsigned pieces)
{
    struct fixture g;
    struct uring_options options = uring_defaults;
    options.send_flags = send_flags;
    fixture_init(&g, &fixture_conf, &options);
    struct peer p;
    peer_open(&p, &g);
    const int small = 16384;
    cr_assert_eq(setsockopt(p.socket.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    cr_assert_eq(setsockopt(p.client, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);

    enum { BYTES = 6 << 20 };
    static unsigned char out[BYTES];
    for (size_t i = 0; i < BYTES; i++) {
        out[i] = pattern(i);
    }
    pthread_t reader;
    cr_assert_eq(pthread_create(&reader, NULL, slow_reader, &p.client), 0);
    struct iovec iov[IO_IOV_MAX];
    size_t at = 0;
    for (unsigned i = 0; i < pieces; i++) {
        const size_t len =
            i + 1 == pieces ? BYTES - at : (i % 3 == 2 ? 0 : 1 + (i * 7919) % 400000);
        iov[i] = (struct iovec){.iov_base = out + at, .iov_len = len};
        at += len;
    }
    p.sending = true;
    io_send(g.io, &p.socket, iov, pieces);
    io_shutdown_write(g.io, &p.socket); /* holds back until all is sent */
    memset(iov, 0xff, sizeof iov);      /* the array was copied */
    TURN_UNTIL(&g, p.sent == 1);
    cr_expect_eq(p.sent_error, 0);
    void *got;
    pthread_join(reader, &got);
    cr_expect_eq((uintptr_t)got, BYTES);
    if ((send_flags & MSG_WAITALL) == 0) {
        cr_expect(count_of(&g, IO_PARTIAL_SEND) > 10);
    }
    peer_close_and_wait(&p);
    fixture_fini(&g);
}

Test(io, sends_much)
{
    send_much(MSG_WAITALL, 1);
}

Test(io, sends_much_in_pieces)
{
    send_much(MSG_WAITALL, IO_IOV_MAX);
}

Test(io, continues_short_sends)
{
    send_much(0, 1);
}

Test(io, continues_short_sends_in_pieces)
{
    send_much(0, IO_IOV_MAX);
}

Test(io, sends_nothing_and_tells)
{
    struct peer p;
    peer_open(&p, &f);
    peer_send(&p, "", 0);
    TURN_UNTIL(&f, p.sent == 1);
    cr_expect_eq(p.sent_error, 0);
    io_shutdown_write(f.io, &p.socket);
    char answer;
    cr_expect_eq(recv(p.client, &answer, 1, 0), 0);
    peer_close_and_wait(&p);
}

Test(io, sends_do_not_raise_sigpipe)
{
    signal(SIGPIPE, SIG_DFL);
    struct peer p;
    peer_open(&p, &f);
    io_shutdown_write(f.io, &p.socket);
    close(p.client);
    p.client = -1;
    struct peer q;
    peer_open(&q, &f);
    reset(q.client);
    q.client = -1;
    peer_send(&q, "x", 1);
    TURN_UNTIL(&f, q.sent == 1);
    cr_expect_neq(q.sent_error, 0);
    peer_close_and_wait(&q);
    peer_close_and_wait(&p);
}

/* ---- closing */

Test(io, closes_what_was_idle)
{
    struct peer p;
    peer_open(&p, &f);
    peer_close_and_wait(&p);
}

/* A receiver that waits and a sender that is stuck end at once; the client sees the end. */
Test(io, close_ends_what_is_under_way)
{
    struct peer p;
    peer_open(&p, &f);
    static char much[16 << 20];
    io_receive_start(f.io, &p.socket);
    peer_send(&p, much, sizeof much);
    io_turn(f.io, 5000000);
    cr_assert_eq(p.socket.kernel_ops, 2);
    const uint64_t begin = now_ns();
    peer_close(&p);
    TURN_UNTIL(&f, p.closed == 1);
    cr_expect(now_ns() - begin < 2000000000);
    ssize_t n;
    while ((n = recv(p.client, much, sizeof much, 0)) > 0) {
    }
    cr_expect_eq(n, 0);
    close(p.client);
}

/* What was handed over for sending before the close is delivered as far as the kernel takes it. */
Test(io, close_right_after_send_delivers)
{
    struct peer p;
    peer_open(&p, &f);
    io_receive_start(f.io, &p.socket);
    peer_send(&p, "bye", 3);
    peer_close(&p);
    TURN_UNTIL(&f, p.closed == 1);
    char answer[4];
    cr_expect_eq(recv(p.client, answer, sizeof answer, 0), 3);
    cr_expect_eq(recv(p.client, answer, sizeof answer, 0), 0);
    close(p.client);
}

static void close_self(struct peer *p)
{
    peer_close(p);
}

static void close_other(struct peer *p)
{
    if (!p->other->closing) {
        peer_close(p->other);
    }
}

/* A handler closes its own socket in the middle of much data: no call for it but closed(). */
Test(io, closed_by_its_own_handler)
{
    struct peer p;
    peer_open(&p, &f);
    static char much[64000];
    write_all(p.client, much, sizeof much);
    p.on_received = close_self;
    io_receive_start(f.io, &p.socket);
    TURN_UNTIL(&f, p.closed == 1);
    cr_expect_eq(p.received_calls, 1);
    close(p.client);
}

/* …or that of another, whose completion is in the same batch. */
Test(io, closed_by_a_handler_of_the_same_batch)
{
    struct peer p[2];
    for (unsigned i = 0; i < 2; i++) {
        peer_open(&p[i], &f);
        p[i].other = &p[1 - i];
        p[i].on_received = close_other;
        io_receive_start(f.io, &p[i].socket);
    }
    io_turn(f.io, 0);
    for (unsigned i = 0; i < 2; i++) {
        write_all(p[i].client, "x", 1);
    }
    TURN_UNTIL(&f, p[0].closed + p[1].closed == 1);
    cr_expect_eq(p[0].received_calls + p[1].received_calls, 1);
    peer_close_and_wait(p[0].closed ? &p[1] : &p[0]);
    close(p[0].closed ? p[0].client : p[1].client);
}

/* A descriptor is handed out again while completions of the old socket are under way. */
Test(io, descriptor_in_use_again)
{
    static struct peer p[1000];
    unsigned reused = 0;
    for (unsigned i = 0; i < 1000; i++) {
        int fds[2];
        unix_pair(fds);
        peer_open_on(&p[i], &f, fds[0], fds[1]);
        for (unsigned old = 0; old < i; old++) {
            reused += p[old].closed == 0 && p[old].socket.fd == p[i].socket.fd;
        }
        io_receive_start(f.io, &p[i].socket);
        peer_send(&p[i], "x", 1);
        if (i > 0) {
            write_all(p[i - 1].client, "y", 1);
            peer_close(&p[i - 1]);
        }
        io_submit(f.io); /* the descriptor is free now; nothing has been heard of it yet */
        if (i % 10 == 0) {
            io_turn(f.io, 0);
        }
    }
    cr_expect(reused > 500);
    peer_close(&p[999]);
    for (unsigned i = 0; i < 1000; i++) {
        TURN_UNTIL(&f, p[i].closed == 1);
        close(p[i].client);
    }
}

/* ---- bounds of the ring */

Test(io, submission_queue_full)
{
    FIXTURE_NEEDS_URING();
    struct fixture g;
    struct io_conf conf = fixture_conf;
    conf.entries = 2;
    fixture_init(&g, &conf, NULL);
    static struct peer p[100];
    for (unsigned i = 0; i < 100; i++) {
        peer_open(&p[i], &g);
        io_receive_start(g.io, &p[i].socket);
        peer_send(&p[i], "abc", 3);
    }
    cr_expect(count_of(&g, IO_SUBMISSION_FULL) >= 90);
    for (unsigned i = 0; i < 100; i++) {
        char answer[4];
        TURN_UNTIL(&g, p[i].sent == 1);
        cr_expect_eq(recv(p[i].client, answer, sizeof answer, 0), 3);
        write_all(p[i].client, "xyz", 3);
    }
    for (unsigned i = 0; i < 100; i++) {
        TURN_UNTIL(&g, p[i].received == 3);
        peer_close(&p[i]);
    }
    for (unsigned i = 0; i < 100; i++) {
        TURN_UNTIL(&g, p[i].closed == 1);
        close(p[i].client);
    }
    fixture_fini(&g);
}

/* Many more completions than the queue has room for: none is lost, and it is counted. */
Test(io, completion_queue_overflow)
{
    FIXTURE_NEEDS_URING();
    struct fixture g;
    struct uring_options options = uring_defaults;
    options.completions = 4;
    struct io_conf conf = fixture_conf;
    conf.entries = 2;
    fixture_init(&g, &conf, &options);
    static struct peer p[200];
    for (unsigned i = 0; i < 200; i++) {
        peer_open(&p[i], &g);
        io_receive_start(g.io, &p[i].socket);
        peer_send(&p[i], "abc", 3);
        write_all(p[i].client, "xyz", 3);
    }
    for (unsigned i = 0; i < 200; i++) {
        TURN_UNTIL(&g, p[i].sent == 1 && p[i].received == 3);
    }
    cr_expect(count_of(&g, IO_COMPLETION_OVERFLOW) > 0);
    for (unsigned i = 0; i < 200; i++) {
        write_all(p[i].client, "xyz", 3);
        shutdown(p[i].client, SHUT_WR);
    }
    for (unsigned i = 0; i < 200; i++) {
        TURN_UNTIL(&g, p[i].received == 6 && p[i].ended == 1);
        peer_close(&p[i]);
    }
    for (unsigned i = 0; i < 200; i++) {
        TURN_UNTIL(&g, p[i].closed == 1);
        close(p[i].client);
    }
    fixture_fini(&g);
}

/* More receivers than buffers: all get their bytes, and an idle shard sleeps afterwards. */
Test(io, out_of_buffers)
{
    struct fixture g;
    struct io_conf conf = fixture_conf;
    conf.receive_buffers = 2;
    conf.receive_buffer_bytes = 16;
    fixture_init(&g, &conf, NULL);
    static struct peer p[50];
    static char much[1000];
    for (unsigned i = 0; i < 50; i++) {
        peer_open(&p[i], &g);
        if (i % 2) {
            io_receive_start(g.io, &p[i].socket);
        }
        write_all(p[i].client, much, sizeof much);
    }
    for (unsigned i = 0; i < 50; i++) {
        if (i % 2) {
            TURN_UNTIL(&g, p[i].received == sizeof much);
        } else {
            io_receive_once(g.io, &p[i].socket);
            TURN_UNTIL(&g, p[i].received_calls == 1);
        }
    }
    cr_expect_eq(count_of(&g, IO_NO_BUFFER) > 0, fixture_is_uring(), "epoll needs only one");
    io_turn(g.io, 0);
    const uint64_t turns = count_of(&g, IO_TURNS), begin = now_ns();
    io_turn(g.io, 30000000);
    cr_expect(now_ns() - begin >= 30000000);
    cr_expect_eq(count_of(&g, IO_TURNS), turns + 1);
    for (unsigned i = 0; i < 50; i++) {
        peer_close_and_wait(&p[i]);
    }
    fixture_fini(&g);
}

/* One turn handles all that is ready, though the kernel works off twenty at a time. */
Test(io, one_turn_for_all_that_is_ready)
{
    struct fixture g;
    struct io_conf conf = fixture_conf;
    conf.receive_buffers = 256;
    conf.entries = 256;
    fixture_init(&g, &conf, NULL);
    static struct peer p[200];
    for (unsigned i = 0; i < 200; i++) {
        peer_open(&p[i], &g);
        io_receive_start(g.io, &p[i].socket);
    }
    io_turn(g.io, 0);
    for (unsigned i = 0; i < 200; i++) {
        write_all(p[i].client, "x", 1);
    }
    io_turn(g.io, UINT64_MAX);
    size_t received = 0;
    for (unsigned i = 0; i < 200; i++) {
        received += p[i].received;
    }
    cr_expect_eq(received, 200);
    for (unsigned i = 0; i < 200; i++) {
        peer_close_and_wait(&p[i]);
    }
    fixture_fini(&g);
}

/* …but no more than its budget. */
Test(io, budget_of_a_turn)
{
    FIXTURE_NEEDS_URING();
    struct fixture g;
    struct uring_options options = uring_defaults;
    options.completions_max = 8;
    fixture_init(&g, &fixture_conf, &options);
    static struct peer p[32];
    for (unsigned i = 0; i < 32; i++) {
        peer_open(&p[i], &g);
        peer_send(&p[i], "x", 1);
    }
    for (unsigned turn = 1; turn <= 4; turn++) {
        io_turn(g.io, UINT64_MAX);
        unsigned sent = 0;
        for (unsigned i = 0; i < 32; i++) {
            sent += p[i].sent;
        }
        cr_expect_eq(sent, turn * 8);
    }
    fixture_fini(&g);
    for (unsigned i = 0; i < 32; i++) {
        close(p[i].client);
    }
}

/* ---- handing a socket over, waking */

static void detach_self(struct peer *p)
{
    cr_assert_eq(io_detach(p->fixture->io, &p->socket), -1 + (p->socket.kernel_ops == 0));
}

/* receive_once(), detached from inside received(), attached to another io: as between shards. */
Test(io, moves_to_another_io)
{
    struct fixture g;
    fixture_init(&g, &fixture_conf, NULL);
    struct peer p;
    peer_open(&p, &f);
    const int fd = p.socket.fd;
    p.on_received = detach_self;
    io_receive_once(f.io, &p.socket);
    cr_expect_eq(io_detach(f.io, &p.socket), -1, "something is under way");
    write_all(p.client, "abc", 3);
    TURN_UNTIL(&f, p.received == 3);
    cr_expect_eq(p.socket.fd, -1);

    struct peer q;
    peer_open_on(&q, &g, fd, p.client);
    memset(&p, 0xff, sizeof p); /* the first is free to go */
    io_receive_start(g.io, &q.socket);
    write_all(q.client, "de", 2);
    TURN_UNTIL(&g, q.received == 2);
    peer_close_and_wait(&q);
    io_turn(f.io, 1000000);
    fixture_fini(&g);
}

Test(io, wakes_another)
{
    struct fixture g;
    fixture_init(&g, &fixture_conf, NULL);
    io_turn(g.io, 0);
    io_wake(f.io, g.io);
    io_turn(f.io, 0);
    io_turn(g.io, UINT64_MAX);
    cr_expect_eq(count_of(&f, IO_WAKE_UPS), 1);

    io_wake_external(g.io);
    io_turn(g.io, UINT64_MAX);
    io_wake_external(g.io);
    io_wake_external(g.io);
    io_turn(g.io, UINT64_MAX);
    const uint64_t begin = now_ns();
    io_turn(g.io, 20000000);
    cr_expect(now_ns() - begin >= 20000000, "two wake-ups at once may be one");
    fixture_fini(&g);
}

/* One that has not begun to turn cannot take a message: the wake-up comes another way. */
Test(io, wakes_one_that_has_not_begun)
{
    struct fixture g;
    fixture_init(&g, &fixture_conf, NULL);
    io_wake(f.io, g.io);
    io_turn(f.io, 0);
    io_turn(g.io, UINT64_MAX);

    struct fixture h;
    fixture_init(&h, &fixture_conf, NULL);
    io_wake_external(h.io);
    io_turn(h.io, UINT64_MAX);
    fixture_fini(&g);
    fixture_fini(&h);
}

static void on_alarm(int signal_number)
{
    (void)signal_number;
}

Test(io, a_signal_ends_the_wait)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    io_turn(f.io, UINT64_MAX);
}

Test(io, waits_as_long_as_told)
{
    for (uint64_t ms = 1; ms <= 64; ms *= 4) {
        const uint64_t begin = now_ns();
        io_turn(f.io, ms * 1000000);
        cr_expect(now_ns() - begin >= ms * 1000000);
    }
    cr_expect(count_of(&f, IO_TURNS) == 4);
}

/* ---- the end */

/* Everything under way, and the io is destroyed: descriptors closed, nothing called, no leak. */
Test(io, destroyed_in_full_swing)
{
    struct fixture g;
    fixture_init(&g, &fixture_conf, NULL);
    g.listen_fd = listen_on_loopback();
    io_listen(g.io, 0, g.listen_fd);
    io_turn(g.io, 0);
    const int waiting = connect_to(g.listen_fd); /* accepted by the kernel, never told */
    static char much[8 << 20];
    static struct peer p[40];
    for (unsigned i = 0; i < 40; i++) {
        peer_open(&p[i], &g);
        io_receive_start(g.io, &p[i].socket);
        p[i].sending = true;
        peer_send(&p[i], much, sizeof much);
        if (i % 4 == 0) {
            io_submit(g.io);
        }
        write_all(p[i].client, "x", 1);
        if (i % 5 == 0) {
            peer_close(&p[i]);
        }
    }
    io_destroy(g.io);
    for (unsigned i = 0; i < 40; i++) {
        cr_expect_eq(p[i].received + p[i].sent + p[i].ended + p[i].closed, 0);
        ssize_t n;
        while ((n = recv(p[i].client, much, sizeof much, 0)) > 0) {
        }
        cr_expect(n == 0 || errno == ECONNRESET);
        close(p[i].client);
    }
    char answer;
    if (!fixture_is_uring()) { /* epoll leaves it in the backlog, which goes with the listener */
        close(g.listen_fd);
    }
    cr_expect_leq(recv(waiting, &answer, 1, 0), 0, "closed, too");
    close(waiting);
    if (fixture_is_uring()) {
        close(g.listen_fd);
    }
}

static void *turn_once(void *arg)
{
    struct peer *const p = arg;
    io_receive_start(p->fixture->io, &p->socket);
    io_turn(p->fixture->io, 0);
    return NULL;
}

/* The main thread destroys what a thread owned that is gone. */
Test(io, destroyed_after_its_thread)
{
    struct fixture g;
    fixture_init(&g, &fixture_conf, NULL);
    struct peer p;
    peer_open(&p, &g);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, turn_once, &p), 0);
    pthread_join(thread, NULL);
    write_all(p.client, "x", 1);
    fixture_fini(&g);
    char answer;
    cr_expect_leq(recv(p.client, &answer, 1, 0), 0);
    close(p.client);
}

Test(io, destroy_nothing)
{
    io_destroy(NULL);
    struct fixture g;
    fixture_init(&g, &fixture_conf, NULL);
    fixture_fini(&g);
}
