/* SPDX-License-Identifier: Apache-2.0 */
/* io_write_and_sync(), on the real kernel. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/io/fixture.h"

#define BIG_BYTES ((size_t)3 << 20)

struct write {
    struct io_file_op op; /* first */
    unsigned done;
    int error;
    void (*on_done)(struct write *w);
};

static struct fixture f;
static int fd;

static void done(struct io_file_op *op, int error)
{
    struct write *const w = (struct write *)(void *)op;
    w->done++;
    w->error = error;
    if (w->on_done != NULL) {
        w->on_done(w);
    }
}

static void setup(void)
{
    fixture_init(&f, &fixture_conf, NULL);
    FILE *const file = tmpfile();
    cr_assert_not_null(file);
    fd = dup(fileno(file));
    fclose(file);
    cr_assert(fd >= 0);
}

static void teardown(void)
{
    fixture_fini(&f);
    close(fd);
}

TestSuite(io_file, .init = setup, .fini = teardown, .timeout = 60);

static struct iovec text(const char *s)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)s, .iov_len = strlen(s)};
}

static void expect_file(uint64_t offset, const char *want)
{
    char got[256] = {0};
    const size_t len = strlen(want);
    cr_assert_eq(pread(fd, got, len, (off_t)offset), (ssize_t)len);
    cr_expect_str_eq(got, want);
}

static off_t file_bytes(void)
{
    return lseek(fd, 0, SEEK_END);
}

Test(io_file, writes_all_and_tells_once)
{
    struct write w = {.op.done = done};
    struct iovec iov[] = {text(""), text("one "), text(""), text("two "), text("three"), text("")};
    io_write_and_sync(f.io, &w.op, fd, iov, 6, 1000);
    cr_expect_eq(w.done, 0, "never from inside the call");
    TURN_UNTIL(&f, w.done > 0);
    cr_expect_eq(w.error, 0);
    expect_file(1000, "one two three");
    cr_expect_eq(file_bytes(), 1013);
    io_turn(f.io, 10000000);
    cr_expect_eq(w.done, 1);
}

/* Nothing to write, in either form, is a sync. */
Test(io_file, syncs)
{
    struct write w = {.op.done = done}, v = {.op.done = done};
    struct iovec empty = text("");
    io_write_and_sync(f.io, &w.op, fd, NULL, 0, 7);
    io_write_and_sync(f.io, &v.op, fd, &empty, 1, 7);
    TURN_UNTIL(&f, w.done == 1 && v.done == 1);
    cr_expect_eq(w.error, 0);
    cr_expect_eq(v.error, 0);
    cr_expect_eq(file_bytes(), 0);
}

static void fill(uint8_t *bytes, unsigned salt)
{
    for (size_t i = 0; i < BIG_BYTES; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 4096 + salt);
    }
}

Test(io_file, as_many_pieces_as_allowed)
{
    uint8_t *const bytes = malloc(BIG_BYTES), *const back = malloc(BIG_BYTES);
    fill(bytes, 1);
    struct iovec iov[IO_FILE_IOV_MAX];
    const size_t each = BIG_BYTES / IO_FILE_IOV_MAX;
    for (unsigned i = 0; i < IO_FILE_IOV_MAX; i++) {
        iov[i] = (struct iovec){.iov_base = bytes + i * each, .iov_len = each};
    }
    struct write w = {.op.done = done};
    io_write_and_sync(f.io, &w.op, fd, iov, IO_FILE_IOV_MAX, 0);
    TURN_UNTIL(&f, w.done == 1);
    cr_expect_eq(w.error, 0);
    cr_assert_eq(pread(fd, back, BIG_BYTES, 0), (ssize_t)BIG_BYTES);
    cr_expect_eq(memcmp(bytes, back, BIG_BYTES), 0);
    free(bytes);
    free(back);
}

/* The kernel did a part of it, wherever that ends: the rest follows, and one done(). */
Test(io_file, goes_on_after_a_part)
{
    FIXTURE_NEEDS_URING();
    for (size_t part = 1; part < 12; part++) {
        cr_assert_eq(ftruncate(fd, 0), 0);
        struct iovec iov[] = {text("abc"), text(""), text("defgh"), text("ijkl")};
        struct write w = {.op = {.done = done, .iov = iov, .n = 4, .fd = fd, .offset = 100}};
        uring_file_complete(uring_of(f.io), &w.op, (int)part);
        cr_expect_eq(w.done, 0);
        TURN_UNTIL(&f, w.done == 1);
        cr_expect_eq(w.error, 0);
        cr_expect_eq(file_bytes(), 112);
        expect_file(100 + part, &"abcdefghijkl"[part]);
    }
}

/* It did nothing, for reasons that pass: it is asked again. For no reason: an error. */
Test(io_file, tries_again)
{
    FIXTURE_NEEDS_URING();
    const int errors[] = {EINTR, EAGAIN};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(ftruncate(fd, 0), 0);
        struct iovec iov = text("again");
        struct write w = {.op = {.done = done, .iov = &iov, .n = 1, .fd = fd}};
        uring_file_complete(uring_of(f.io), &w.op, -errors[i]);
        TURN_UNTIL(&f, w.done == 1);
        cr_expect_eq(w.error, 0);
        expect_file(0, "again");
    }
    struct iovec iov = text("never");
    struct write w = {.op = {.done = done, .iov = &iov, .n = 1, .fd = fd}};
    uring_file_complete(uring_of(f.io), &w.op, 0);
    cr_expect_eq(w.done, 1);
    cr_expect_eq(w.error, EIO);
}

Test(io_file, tells_what_failed)
{
    struct write w = {.op.done = done};
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert(full >= 0);
    struct iovec iov = text("x");
    io_write_and_sync(f.io, &w.op, full, &iov, 1, 0);
    TURN_UNTIL(&f, w.done == 1);
    cr_expect_eq(w.error, ENOSPC);
    io_write_and_sync(f.io, &w.op, full, NULL, 0, 0); /* a device that has nothing to sync */
    TURN_UNTIL(&f, w.done == 2);
    cr_expect_eq(w.error, EINVAL);
    close(full);
    iov = text("x");
    io_write_and_sync(f.io, &w.op, full, &iov, 1, 0);
    TURN_UNTIL(&f, w.done == 3);
    cr_expect_eq(w.error, EBADF);
}

/* A limit that is met on the way: a part is written, the rest is refused, and that is told. */
Test(io_file, refused_on_the_way)
{
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 10000;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    uint8_t *const bytes = malloc(BIG_BYTES);
    fill(bytes, 2);
    struct iovec iov = {.iov_base = bytes, .iov_len = BIG_BYTES};
    struct write w = {.op.done = done};
    io_write_and_sync(f.io, &w.op, fd, &iov, 1, 0);
    TURN_UNTIL(&f, w.done == 1);
    cr_expect_eq(w.error, EFBIG);
    cr_expect_eq(file_bytes(), 10000);
    free(bytes);
}

static char lines[] = "0123456789";
static struct iovec line;

static void write_next(struct write *w)
{
    cr_assert_eq(w->error, 0);
    if (w->done < 10) {
        line = (struct iovec){.iov_base = &lines[w->done], .iov_len = 1};
        io_write_and_sync(f.io, &w->op, fd, &line, 1, w->done);
    }
}

Test(io_file, done_begins_the_next)
{
    struct write w = {.op.done = done, .on_done = write_next};
    line = (struct iovec){.iov_base = lines, .iov_len = 1};
    io_write_and_sync(f.io, &w.op, fd, &line, 1, 0);
    TURN_UNTIL(&f, w.done == 10);
    expect_file(0, lines);
}

static unsigned freed;

static void free_it(struct write *w)
{
    freed++;
    cr_expect_eq(w->error, 0);
    free(w);
}

/* More than the submission queue holds, of sockets and files; each op may go when it is done. */
Test(io_file, many_at_a_time)
{
    static struct iovec iov[200];
    static char digits[200];
    struct write last = {.op.done = done};
    struct peer p;
    peer_open(&p, &f);
    for (unsigned i = 0; i < 200; i++) {
        struct write *const w = calloc(1, sizeof *w);
        *w = (struct write){.op.done = done, .on_done = free_it};
        digits[i] = (char)('a' + i % 26);
        iov[i] = (struct iovec){.iov_base = &digits[i], .iov_len = 1};
        io_write_and_sync(f.io, &w->op, fd, &iov[i], 1, i);
        if (i % 10 == 0) {
            TURN_UNTIL(&f, !p.sending);
            peer_send(&p, "x", 1);
        }
    }
    TURN_UNTIL(&f, freed == 200);
    char back[200];
    cr_assert_eq(pread(fd, back, 200, 0), 200);
    cr_expect_eq(memcmp(back, digits, 200), 0);
    io_write_and_sync(f.io, &last.op, fd, NULL, 0, 0);
    TURN_UNTIL(&f, last.done == 1 && p.sent == 20);
    peer_close_and_wait(&p);
}

/* What is under way is over before io_destroy() comes back: the memory is the caller's again. */
Test(io_file, destroyed_under_way)
{
    uint8_t *const bytes = malloc(BIG_BYTES), *const back = malloc(BIG_BYTES);
    for (unsigned i = 0; i < 20; i++) {
        struct fixture g;
        fixture_init(&g, &fixture_conf, NULL);
        cr_assert_eq(ftruncate(fd, 0), 0);
        memset(bytes, 'x', BIG_BYTES);
        struct iovec iov = {.iov_base = bytes, .iov_len = BIG_BYTES};
        struct write w = {.op.done = done};
        io_write_and_sync(g.io, &w.op, fd, &iov, 1, 0);
        if (i % 2 == 0) {
            io_submit(g.io);
        }
        fixture_fini(&g);
        cr_expect_eq(w.done, 0);
        memset(bytes, 'y', BIG_BYTES);
        const ssize_t n = pread(fd, back, BIG_BYTES, 0);
        cr_assert(n >= 0);
        cr_expect_eq(memchr(back, 'y', (size_t)n), NULL);
        cr_expect_eq(file_bytes(), n, "nobody writes any more");
    }
    free(bytes);
    free(back);
}

/* The ring takes what the broker asks of it, and nothing that would open a file. */
Test(io_file, no_other_operation)
{
    FIXTURE_NEEDS_URING();
    io_turn(f.io, 0);
    struct uring *const u = uring_of(f.io);
    struct io_uring_sqe *const sqe = uring_sqe(u);
    struct write w = {.op.done = done};
    io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
    io_uring_sqe_set_data64(sqe, uring_tag(&w.op, URING_FILE));
    u->under_way++;
    u->files_under_way++;
    TURN_UNTIL(&f, w.done == 1);
    cr_expect_eq(w.error, EACCES);
}
