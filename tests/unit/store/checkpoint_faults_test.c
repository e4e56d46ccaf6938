/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails when it is written to. LMDB calls the functions below, as the program's own
 * come before those of a library; each does what it should until told otherwise.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/store/fixture.h"

#define META_BYTES_MAX 512u /* what says which pages are the tree's is less than a page */

static _Atomic int page_error, sync_error, meta_error; /* an errno; 0: none */
static atomic_bool meta_lands;                         /* … though it is said to have failed */
static atomic_bool unreadable;                         /* from then on */

/* By its name: under _FILE_OFFSET_BITS=64 ours would be called pwrite64(). */
ssize_t pwrite_of_lmdb(int fd, const void *data, size_t len, off_t offset) __asm__("pwrite");
ssize_t pwrite_of_lmdb(int fd, const void *data, size_t len, off_t offset)
{
    const bool is_meta = len < META_BYTES_MAX;
    const int error = is_meta ? meta_error : page_error;
    if (error != 0) {
        if (is_meta && atomic_exchange(&meta_lands, false)) {
            (void)syscall(SYS_pwrite64, fd, data, len, offset);
        }
        errno = error;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, len, offset);
}

ssize_t pread_of_lmdb(int fd, void *data, size_t len, off_t offset) __asm__("pread");
ssize_t pread_of_lmdb(int fd, void *data, size_t len, off_t offset)
{
    if (unreadable) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, len, offset);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
ssize_t writev(int fd, const struct iovec *iov, int n)
{
    if (page_error != 0) {
        errno = page_error;
        return -1;
    }
    return syscall(SYS_writev, fd, iov, n);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int fdatasync(int fd)
{
    if (sync_error != 0) {
        errno = sync_error;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

TestSuite(checkpoint_faults, .init = fixture_begin, .fini = fixture_end, .timeout = 60);

static struct checkpoint_batch *some(void)
{
    struct checkpoint_batch *const b = checkpoint_batch_create();
    checkpoint_put(b, bytes_text("key"), bytes_text("value"));
    checkpoint_add(b, bytes_text("body"), 2, bytes_text("text"));
    checkpoint_put_meta(b, "meta", bytes_text("data"));
    return b;
}

static void expect_times(struct checkpoint *cp, unsigned times)
{
    fixture_expect(cp, "", times > 0 ? "body=text;key=value;" : "");
    fixture_expect_count(cp, "body", 2 * times);
}

/* Whatever it is, nothing of the batch is there until it is taken, and it is there once. */
static void fails(_Atomic int *which, int error, enum checkpoint_err want)
{
    struct checkpoint *cp = fixture_open(NULL);
    struct checkpoint_batch *b = some();
    fixture_write(cp, some());
    for (unsigned i = 0; i < 3; i++) {
        *which = error;
        cr_expect_eq(fixture_try_write(cp, b), want);
        expect_times(cp, 1);
        *which = 0;
    }
    cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_OK);
    expect_times(cp, 2);
    cr_expect_eq(checkpoint_stats(cp).failures, 3);
    checkpoint_batch_destroy(b);
    checkpoint_close(cp);
    cp = fixture_open(NULL);
    expect_times(cp, 2);
    checkpoint_close(cp);
}

Test(checkpoint_faults, no_space)
{
    fails(&page_error, ENOSPC, CHECKPOINT_NO_SPACE);
}

Test(checkpoint_faults, quota)
{
    fails(&page_error, EDQUOT, CHECKPOINT_NO_SPACE);
}

Test(checkpoint_faults, pages_are_not_written)
{
    fails(&page_error, EIO, CHECKPOINT_IO);
}

Test(checkpoint_faults, pages_are_not_synced)
{
    fails(&sync_error, EIO, CHECKPOINT_IO);
}

Test(checkpoint_faults, read_only_from_now_on)
{
    fails(&page_error, EROFS, CHECKPOINT_READ_ONLY);
}

/* After this LMDB wants to be opened anew. */
Test(checkpoint_faults, the_last_page_is_not_written)
{
    fails(&meta_error, EIO, CHECKPOINT_IO);
}

/* It said that it had not been written, and it was. */
Test(checkpoint_faults, the_last_page_is_written_after_all)
{
    struct checkpoint *const cp = fixture_open(NULL);
    meta_error = EIO;
    meta_lands = true;
    fixture_write(cp, some());
    expect_times(cp, 1);
    meta_error = 0;
    fixture_write(cp, some());
    expect_times(cp, 2);
    checkpoint_close(cp);
}

/* The same, and it can be seen later only: that batch is not carried out twice, another one with
 * the same in it is. */
Test(checkpoint_faults, nobody_knows_for_a_while)
{
    struct checkpoint *const cp = fixture_open(NULL);
    struct checkpoint_batch *const b = some(), *const other = some();
    fixture_write(cp, some());
    meta_error = EIO;
    meta_lands = true;
    unreadable = true;
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_IO);
        cr_expect_eq(fixture_try_write(cp, other), CHECKPOINT_IO);
    }
    uint64_t count;
    cr_expect_eq(checkpoint_count(cp, bytes_text("body"), &count), CHECKPOINT_IO);
    meta_error = 0;
    unreadable = false;
    cr_expect_eq(fixture_try_write(cp, other), CHECKPOINT_OK);
    expect_times(cp, 3);
    cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_OK);
    expect_times(cp, 3);
    cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_OK, "it was told once, and this is anew");
    expect_times(cp, 4);
    checkpoint_batch_destroy(b);
    checkpoint_batch_destroy(other);
    checkpoint_close(cp);
}

/* Those that are submitted while it fails, and after it, are tried on their own. */
static unsigned failures, successes;

static void tell(void *context, struct checkpoint_batch *batch, enum checkpoint_err err)
{
    (void)context;
    failures += err == CHECKPOINT_IO;
    successes += err == CHECKPOINT_OK;
    checkpoint_batch_destroy(batch);
}

Test(checkpoint_faults, later_ones_are_tried)
{
    struct checkpoint *cp = fixture_open(NULL);
    meta_error = EIO;
    for (unsigned i = 0; i < 5; i++) {
        checkpoint_submit(cp, some(), tell, NULL);
    }
    struct checkpoint_batch *const b = some();
    cr_expect_eq(fixture_try_write(cp, b), CHECKPOINT_IO);
    meta_error = 0;
    for (unsigned i = 0; i < 5; i++) {
        checkpoint_submit(cp, some(), tell, NULL);
    }
    checkpoint_batch_destroy(b);
    checkpoint_close(cp);
    cr_expect_eq(failures, 5);
    cr_expect_eq(successes, 5);
    cp = fixture_open(NULL);
    expect_times(cp, 5);
    checkpoint_close(cp);
}

/* A new one whose first transaction fails is none, and can be made later. */
Test(checkpoint_faults, cannot_be_made_for_now)
{
    struct checkpoint *cp;
    page_error = ENOSPC;
    cr_expect_eq(fixture_try_open(&cp), CHECKPOINT_NO_SPACE);
    page_error = 0;
    meta_error = EIO;
    cr_expect_eq(fixture_try_open(&cp), CHECKPOINT_IO);
    meta_error = 0;
    cp = fixture_open(NULL);
    fixture_write(cp, some());
    expect_times(cp, 1);
    checkpoint_close(cp);
}
