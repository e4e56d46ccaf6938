/* SPDX-License-Identifier: Apache-2.0 */
/* The test backend keeps the contract of io.h, as far as whole shards rely on it. */
#include "tests/fake/io_fake.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What was told, as one line. */
static char told[4096];
static struct io_socket sockets[8];
static unsigned socket_count;
static struct io *ios[2];
static struct io_fake_net *net;
static void (*on_received)(struct io *io, struct io_socket *s);

static void tell(const char *format, long a, long b)
{
    const size_t at = strlen(told);
    snprintf(told + at, sizeof told - at, format, a, b);
}

static long number(const struct io_socket *s)
{
    return (long)(s - sockets);
}

static void accepted(void *context, unsigned listener, int fd)
{
    tell("accepted %ld as %ld;", (long)listener, (long)socket_count);
    io_attach(*(struct io **)context, &sockets[socket_count++], fd);
}

static void received(void *context, struct io_socket *s, const uint8_t *data, size_t len)
{
    (void)data;
    tell("%ld received %ld;", number(s), (long)len);
    if (on_received != NULL) {
        on_received(*(struct io **)context, s);
    }
}

static void ended(void *context, struct io_socket *s, int error)
{
    (void)context;
    tell("%ld ended %ld;", number(s), error);
}

static void sent(void *context, struct io_socket *s, int error)
{
    (void)context;
    tell("%ld sent %ld;", number(s), error);
}

static void closed(void *context, struct io_socket *s)
{
    (void)context;
    tell("%ld closed %ld;", number(s), (long)s->fd);
}

static void accept_failed(void *context, unsigned listener, int error)
{
    (void)context;
    tell("accept %ld failed %ld;", (long)listener, error);
}

static const struct io_handlers handlers = {
    .accepted = accepted,
    .received = received,
    .ended = ended,
    .sent = sent,
    .closed = closed,
    .accept_failed = accept_failed,
};

static void setup(void)
{
    net = io_fake_net_create();
    for (unsigned i = 0; i < 2; i++) {
        ios[i] = io_fake_create(net, &handlers, &ios[i]);
    }
    io_listen(ios[0], 5, -1);
}

static void teardown(void)
{
    io_destroy(ios[0]);
    io_destroy(ios[1]);
    io_fake_net_destroy(net);
}

TestSuite(io_fake, .init = setup, .fini = teardown);

static void expect_turn(struct io *io, const char *what)
{
    told[0] = '\0';
    const bool pending = io_fake_has_pending(io);
    io_turn(io, UINT64_MAX);
    cr_expect_str_eq(told, what);
    cr_expect(pending || told[0] == '\0', "said to have nothing pending");
}

static void send_text(struct io *io, struct io_socket *s, const char *text)
{
    const struct iovec iov[2] = {
        {.iov_base = (void *)(uintptr_t)text, .iov_len = 2},
        {.iov_base = (void *)(uintptr_t)(text + 2), .iov_len = strlen(text) - 2},
    };
    io_send(io, s, iov, 2);
}

static int connect_and_accept(void)
{
    const int fd = io_fake_connect(ios[0], 5);
    cr_assert(fd >= 0);
    io_turn(ios[0], 0);
    return fd;
}

Test(io_fake, accepts)
{
    cr_expect_eq(io_fake_connect(ios[0], 6), -1);
    io_fake_connect(ios[0], 5);
    io_fake_connect(ios[0], 5);
    io_fake_fail_accept(ios[0], 5, EMFILE);
    expect_turn(ios[0], "accept 5 failed 24;");
    expect_turn(ios[0], "accepted 5 as 0;accepted 5 as 1;");
    io_fake_connect(ios[0], 5);
    io_listen_stop(ios[0], 5);
    expect_turn(ios[0], "");
    cr_expect_eq(io_counter_read(ios[0], IO_TURNS), 3);
    cr_expect_eq(io_counter_read(ios[0], IO_ACCEPT_FAILED), 1);
}

Test(io_fake, accepts_one)
{
    io_listen_stop(ios[0], 5);
    io_listen_once(ios[0], 5, -1);
    io_fake_connect(ios[0], 5);
    io_fake_connect(ios[0], 5);
    expect_turn(ios[0], "accepted 5 as 0;");
    expect_turn(ios[0], "");
    io_listen_once(ios[0], 5, -1);
    expect_turn(ios[0], "accepted 5 as 1;");
}

Test(io_fake, receives)
{
    const int fd = connect_and_accept();
    io_receive_start(ios[0], &sockets[0]);
    expect_turn(ios[0], "");
    io_fake_set_chunk(net, 4);
    io_fake_client_write(net, fd, "0123456789", 10);
    expect_turn(ios[0], "0 received 4;0 received 4;0 received 2;");
    io_receive_stop(ios[0], &sockets[0]);
    cr_expect_eq(io_detach(ios[0], &sockets[0]), -1);
    io_fake_client_write(net, fd, "0123456789", 10);
    io_fake_client_finish(net, fd);
    expect_turn(ios[0], "");
    io_receive_once(ios[0], &sockets[0]);
    expect_turn(ios[0], "0 received 4;");
    expect_turn(ios[0], "");
    io_receive_start(ios[0], &sockets[0]);
    io_receive_stop(ios[0], &sockets[0]);
    io_receive_start(ios[0], &sockets[0]);
    expect_turn(ios[0], "0 received 4;0 received 2;0 ended 0;");
    io_receive_start(ios[0], &sockets[0]);
    expect_turn(ios[0], "");
}

Test(io_fake, sends_as_the_window_allows)
{
    const int fd = connect_and_accept();
    char in[16];
    io_fake_client_set_window(net, fd, 3);
    send_text(ios[0], &sockets[0], "hello");
    io_shutdown_write(ios[0], &sockets[0]);
    expect_turn(ios[0], "");
    expect_turn(ios[0], "");
    cr_expect_eq(io_fake_client_readable(net, fd), 3);
    cr_expect_eq(io_fake_client_read(net, fd, in, 2), 2);
    cr_expect_not(io_fake_client_sees_end(net, fd));
    expect_turn(ios[0], "0 sent 0;");
    cr_expect_eq(io_fake_client_read(net, fd, in + 2, 14), 3);
    cr_expect_eq(memcmp(in, "hello", 5), 0);
    cr_expect_eq(io_fake_client_read(net, fd, in, 16), 0);
    cr_expect(io_fake_client_sees_end(net, fd));
    cr_expect_not(io_fake_client_sees_close(net, fd));
}

Test(io_fake, closes)
{
    const int a = connect_and_accept(), b = connect_and_accept();
    io_fake_client_set_window(net, a, 1);
    for (unsigned i = 0; i < 2; i++) {
        io_receive_start(ios[0], &sockets[i]);
        send_text(ios[0], &sockets[i], "hello");
        io_close(ios[0], &sockets[i]);
    }
    io_fake_client_write(net, a, "x", 1);
    expect_turn(ios[0], "0 closed -1;1 closed -1;");
    cr_expect_eq(io_fake_client_readable(net, a), 1);
    cr_expect_eq(io_fake_client_readable(net, b), 5);
    cr_expect(io_fake_client_sees_close(net, a));
    io_fake_client_write(net, a, "x", 1);
    expect_turn(ios[0], "");
}

Test(io_fake, reset_by_the_client)
{
    const int fd = connect_and_accept();
    io_fake_client_write(net, fd, "lost", 4);
    io_fake_client_set_window(net, fd, 0);
    io_receive_start(ios[0], &sockets[0]);
    send_text(ios[0], &sockets[0], "hello");
    io_fake_client_reset(net, fd);
    expect_turn(ios[0], "0 sent 32;0 ended 104;");
}

static void close_it(struct io *io, struct io_socket *s)
{
    io_close(io, s);
}

/* As on the kernel: no further call but closed(), in a later turn. */
Test(io_fake, closed_by_its_handler)
{
    const int fd = connect_and_accept();
    on_received = close_it;
    io_fake_set_chunk(net, 1);
    io_receive_start(ios[0], &sockets[0]);
    io_fake_client_write(net, fd, "abc", 3);
    expect_turn(ios[0], "0 received 1;");
    expect_turn(ios[0], "0 closed -1;");
}

static void move_it(struct io *io, struct io_socket *s)
{
    const int fd = s->fd;
    cr_assert_eq(io_detach(io, s), 0);
    memset(s, 0xff, sizeof *s);
    io_attach(ios[1], &sockets[7], fd);
    io_wake(io, ios[1]);
    on_received = NULL;
}

Test(io_fake, moves_between_ios)
{
    const int fd = connect_and_accept();
    on_received = move_it;
    io_fake_set_chunk(net, 3);
    io_receive_once(ios[0], &sockets[0]);
    io_fake_client_write(net, fd, "abcde", 5);
    expect_turn(ios[0], "0 received 3;");
    cr_expect(io_fake_is_woken(ios[1]));
    io_receive_start(ios[1], &sockets[7]);
    expect_turn(ios[0], "");
    expect_turn(ios[1], "7 received 2;");
    cr_expect_not(io_fake_is_woken(ios[1]));
    cr_expect_eq(io_counter_read(ios[0], IO_WAKE_UPS), 1);
    io_wake_external(ios[0]);
    cr_expect(io_fake_is_woken(ios[0]));
    io_submit(ios[0]);
}

/* ---- files */

static int file;
static struct io_file_op op;

static void file_done(struct io_file_op *of, int error)
{
    tell("file %ld done %ld;", of == &op, error);
}

static void open_file(void)
{
    FILE *const made = tmpfile();
    cr_assert_not_null(made);
    file = dup(fileno(made));
    fclose(made);
    cr_assert(file >= 0);
    op.done = file_done;
}

static char block[2048];

static void write_block(struct iovec iov[2], char byte, uint64_t offset)
{
    memset(block, byte, sizeof block);
    iov[0] = (struct iovec){.iov_base = block, .iov_len = 700};
    iov[1] = (struct iovec){.iov_base = block + 700, .iov_len = sizeof block - 700};
    io_write_and_sync(ios[0], &op, file, iov, 2, offset);
}

static ssize_t count_in_file(char byte)
{
    char back[8192];
    const ssize_t n = pread(file, back, sizeof back, 0);
    ssize_t count = 0;
    for (ssize_t i = 0; i < n; i++) {
        count += back[i] == byte;
    }
    return count;
}

Test(io_fake, writes_files)
{
    struct iovec iov[2];
    open_file();
    write_block(iov, 'a', 0);
    cr_expect_eq(count_in_file('a'), 0, "not before it is told");
    expect_turn(ios[0], "file 1 done 0;");
    cr_expect_eq(count_in_file('a'), 2048);
    io_fake_files_hold(ios[0], true);
    write_block(iov, 'b', 0);
    cr_expect_not(io_fake_has_pending(ios[0]));
    expect_turn(ios[0], "");
    cr_expect_eq(io_fake_files_under_way(ios[0]), 1);
    io_fake_files_hold(ios[0], false);
    expect_turn(ios[0], "file 1 done 0;");
    cr_expect_eq(count_in_file('b'), 2048);
    io_fake_fail_file(ios[0], ENOSPC, 800);
    write_block(iov, 'c', 2048);
    expect_turn(ios[0], "file 1 done 28;");
    cr_expect_eq(count_in_file('c'), 800);
    io_write_and_sync(ios[0], &op, file, NULL, 0, 0);
    expect_turn(ios[0], "file 1 done 0;");
    close(file);
}

static bool is_even(void *context, uint64_t sector)
{
    ++*(unsigned *)context;
    return sector % 2 == 0;
}

/* What nobody was told of may be lost, whole or by the sector; what somebody was told of, not. */
Test(io_fake, loses_what_is_under_way)
{
    struct iovec iov[2];
    open_file();
    write_block(iov, 'a', 0);
    io_turn(ios[0], 0);
    write_block(iov, 'b', 2048);
    io_fake_files_lose(ios[0], NULL, NULL);
    expect_turn(ios[0], "");
    cr_expect_eq(count_in_file('a'), 2048);
    cr_expect_eq(count_in_file('b'), 0);
    unsigned asked = 0;
    write_block(iov, 'c', 2048 + 100); /* sectors 4 to 8, the first without 100 bytes */
    io_fake_files_lose(ios[0], is_even, &asked);
    expect_turn(ios[0], "");
    cr_expect_eq(asked, 5);
    cr_expect_eq(count_in_file('a'), 2048);
    cr_expect_eq(count_in_file('c'), 412 + 512 + 100);
    cr_expect_eq(io_fake_files_under_way(ios[0]), 0);
    close(file);
}
