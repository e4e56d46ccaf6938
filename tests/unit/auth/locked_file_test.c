/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/locked_file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/route/fault.h"

#define BYTES_MAX 1000u

static char folder[] = "/tmp/dunlin-locked-file-XXXXXX";

static void begin(void)
{
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static void end(void)
{
    char command[128];
    cr_assert_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", folder, folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(locked_file, .init = begin, .fini = end, .timeout = 60);

static void put(const char *path, const char *text)
{
    FILE *const f = fopen(path, "we");
    cr_assert_not_null(f);
    fputs(text, f);
    cr_assert_eq(fclose(f), 0);
}

static void expect(const char *path, const char *text)
{
    char buffer[BYTES_MAX + 1] = "";
    FILE *const f = fopen(path, "re");
    cr_assert_not_null(f, "%s", path);
    buffer[fread(buffer, 1, BYTES_MAX, f)] = '\0';
    fclose(f);
    cr_expect_str_eq(buffer, text);
}

static struct locked_file opened(const char *path, enum locked_file_how how)
{
    struct locked_file f;
    int sys_errno;
    const enum locked_file_err err = locked_file_open(&f, path, how, &sys_errno);
    cr_assert_eq(err, LOCKED_FILE_OK, "%s: %s (%d)", path, locked_file_err_text(err), sys_errno);
    return f;
}

static void replace(struct locked_file *f, const char *text)
{
    int sys_errno;
    const enum locked_file_err err = locked_file_replace(f, bytes_text(text), &sys_errno);
    cr_assert_eq(err, LOCKED_FILE_OK, "%s (%d)", locked_file_err_text(err), sys_errno);
}

static enum locked_file_err failure(const char *path, enum locked_file_how how, int sys_errno)
{
    struct locked_file f;
    int got;
    const enum locked_file_err err = locked_file_open(&f, path, how, &got);
    cr_assert_neq(err, LOCKED_FILE_OK, "%s", path);
    cr_expect_eq(got, sys_errno, "%s: %d", path, got);
    cr_expect_eq(f.fd, -1);
    return err;
}

static unsigned files_here(void)
{
    FILE *const f = popen("ls -A | wc -l", "re");
    unsigned n = 0;
    cr_assert_eq(fscanf(f, "%u", &n), 1); // NOLINT(cert-err34-c): wc writes a number
    pclose(f);
    return n;
}

Test(locked_file, is_read_and_replaced)
{
    put("p", "old\n");
    cr_assert_eq(chmod("p", 0640), 0);
    struct locked_file f = opened("p", LOCKED_FILE_OLD);
    char *text;
    size_t len;
    int sys_errno;
    cr_assert_eq(locked_file_read(&f, BYTES_MAX, &text, &len, &sys_errno), LOCKED_FILE_OK);
    cr_expect_eq(len, 4);
    cr_expect_arr_eq(text, "old\n", 4);
    free(text);
    replace(&f, "new\n");
    locked_file_close(&f);
    expect("p", "new\n");
    struct stat st;
    cr_assert_eq(stat("p", &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0640);
    cr_expect_eq(files_here(), 1);
}

Test(locked_file, keeps_the_owner)
{
    if (geteuid() != 0) {
        end(); /* a test that is skipped comes to no end */
        cr_skip_test("only root has files of others");
    }
    put("p", "old");
    cr_assert_eq(chown("p", 12, 34), 0);
    cr_assert_eq(chmod("p", 0604), 0);
    struct locked_file f = opened("p", LOCKED_FILE_OLD);
    replace(&f, "new");
    locked_file_close(&f);
    struct stat st;
    cr_assert_eq(stat("p", &st), 0);
    cr_expect_eq(st.st_uid, 12);
    cr_expect_eq(st.st_gid, 34);
    cr_expect_eq(st.st_mode & 07777, 0604);
}

/* Somebody who may write the file, but not give it back to whom it belongs. */
Test(locked_file, of_another_owner_is_left_alone)
{
    if (geteuid() != 0) {
        end();
        cr_skip_test("only root has files of others");
    }
    put("p", "old");
    cr_assert_eq(chmod("p", 0666), 0);
    cr_assert_eq(chmod(folder, 0777), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct locked_file f;
        int sys_errno = 0;
        const bool fine =
            setgid(12) == 0 && setuid(12) == 0 &&
            locked_file_open(&f, "p", LOCKED_FILE_OLD, &sys_errno) == LOCKED_FILE_OK &&
            locked_file_replace(&f, bytes_text("new"), &sys_errno) == LOCKED_FILE_FOREIGN &&
            sys_errno == EPERM;
        _exit(fine ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    expect("p", "old");
    cr_expect_eq(files_here(), 1);
}

Test(locked_file, is_made)
{
    umask(0);
    struct locked_file f = opened("p", LOCKED_FILE_NEW);
    replace(&f, "new");
    locked_file_close(&f);
    expect("p", "new");
    struct stat st;
    cr_assert_eq(stat("p", &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
    cr_expect_eq(failure("p", LOCKED_FILE_NEW, 0), LOCKED_FILE_EXISTS);
    expect("p", "new");
}

/* One that was made for a change that does not come about goes again. */
Test(locked_file, is_not_made_in_vain)
{
    struct locked_file f = opened("p", LOCKED_FILE_NEW);
    cr_expect_eq(files_here(), 1);
    locked_file_close(&f);
    cr_expect_eq(files_here(), 0);
}

Test(locked_file, what_a_crash_left_is_removed)
{
    put("p", "old");
    put(".p.dunlin", "half of it, and much longer than what comes");
    cr_assert_eq(chmod(".p.dunlin", 0), 0);
    struct locked_file f = opened("p", LOCKED_FILE_OLD);
    replace(&f, "new");
    locked_file_close(&f);
    expect("p", "new");
    cr_expect_eq(files_here(), 1);
}

Test(locked_file, a_link_is_followed)
{
    cr_assert_eq(mkdir("there", 0700), 0);
    put("there/p", "old");
    cr_assert_eq(symlink("there/p", "link"), 0);
    struct locked_file f = opened("link", LOCKED_FILE_OLD);
    replace(&f, "new");
    locked_file_close(&f);
    expect("there/p", "new");
    struct stat st;
    cr_assert_eq(lstat("link", &st), 0);
    cr_expect(S_ISLNK(st.st_mode));
}

Test(locked_file, is_reached_by_any_path)
{
    char path[128];
    snprintf(path, sizeof path, "%s/p", folder);
    cr_assert_eq(mkdir("there", 0700), 0);
    static const char *const paths[] = {"p", "./p", "there/../p"};
    for (size_t i = 0; i < 4; i++) {
        struct locked_file f = opened(i < 3 ? paths[i] : path, LOCKED_FILE_NEW);
        replace(&f, "x");
        locked_file_close(&f);
        f = opened(i < 3 ? paths[i] : path, LOCKED_FILE_OLD);
        locked_file_close(&f);
        expect("p", "x");
        cr_assert_eq(unlink("p"), 0);
    }
}

Test(locked_file, says_why_it_cannot_be_had)
{
    cr_expect_eq(failure("p", LOCKED_FILE_OLD, 0), LOCKED_FILE_ABSENT);
    cr_expect_eq(failure("no/p", LOCKED_FILE_OLD, 0), LOCKED_FILE_ABSENT);
    cr_expect_eq(failure("no/p", LOCKED_FILE_NEW, ENOENT), LOCKED_FILE_UNREACHABLE);
    put("p", "");
    cr_expect_eq(failure("p/x", LOCKED_FILE_OLD, ENOTDIR), LOCKED_FILE_UNREACHABLE);
    cr_expect_eq(failure(".", LOCKED_FILE_OLD, 0), LOCKED_FILE_IRREGULAR);
    cr_expect_eq(failure("/", LOCKED_FILE_OLD, 0), LOCKED_FILE_IRREGULAR);
    cr_expect_eq(failure("./", LOCKED_FILE_NEW, EISDIR), LOCKED_FILE_UNREACHABLE);
    cr_expect_eq(failure("..", LOCKED_FILE_NEW, EISDIR), LOCKED_FILE_UNREACHABLE);
    cr_expect_eq(failure("/dev/null", LOCKED_FILE_OLD, 0), LOCKED_FILE_IRREGULAR);
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    cr_expect_eq(failure("pipe", LOCKED_FILE_OLD, 0), LOCKED_FILE_IRREGULAR);
    cr_assert_eq(symlink("nowhere", "dangling"), 0);
    cr_expect_eq(failure("dangling", LOCKED_FILE_OLD, 0), LOCKED_FILE_ABSENT);
    cr_expect_eq(failure("dangling", LOCKED_FILE_NEW, 0), LOCKED_FILE_EXISTS);
    for (int err = LOCKED_FILE_OK; err <= LOCKED_FILE_NO_MEMORY; err++) {
        const char *const text = locked_file_err_text((enum locked_file_err)err);
        cr_expect_geq(strlen(text), err == LOCKED_FILE_OK ? 2 : 12);
    }
    cr_expect_str_eq(locked_file_err_text((enum locked_file_err)99), "?");
}

Test(locked_file, too_large_is_not_read)
{
    put("p", "12345");
    struct locked_file f = opened("p", LOCKED_FILE_OLD);
    char *text;
    size_t len;
    int sys_errno;
    cr_expect_eq(locked_file_read(&f, 4, &text, &len, &sys_errno), LOCKED_FILE_TOO_LARGE);
    cr_expect_eq(locked_file_read(&f, 5, &text, &len, &sys_errno), LOCKED_FILE_OK);
    free(text);
    cr_assert_eq(truncate("p", 3), 0); /* by somebody who does not ask for the lock */
    cr_expect_eq(locked_file_read(&f, 5, &text, &len, &sys_errno), LOCKED_FILE_UNREADABLE);
    fault_at(0);
    const enum locked_file_err err = locked_file_read(&f, 5, &text, &len, &sys_errno);
    fault_at(FAULT_NEVER);
    cr_expect_eq(err, LOCKED_FILE_NO_MEMORY);
    locked_file_close(&f);
}

Test(locked_file, what_cannot_be_written_leaves_the_old)
{
    put("p", "old");
    cr_assert_eq(mkdir(".p.dunlin", 0700), 0);
    struct locked_file f = opened("p", LOCKED_FILE_OLD);
    int sys_errno = 0;
    cr_expect_eq(locked_file_replace(&f, bytes_text("new"), &sys_errno), LOCKED_FILE_UNWRITABLE);
    cr_expect_eq(sys_errno, EEXIST);
    locked_file_close(&f);
    expect("p", "old");
}

/* Several processes count up what is in the file: no one's addition is lost. */
Test(locked_file, one_at_a_time)
{
    enum { EDITORS = 4, ROUNDS = 25 };
    put("p", "0");
    for (unsigned i = 0; i < EDITORS; i++) {
        const pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child != 0) {
            continue;
        }
        for (unsigned round = 0; round < ROUNDS; round++) {
            struct locked_file f;
            char *text, count[32];
            size_t len;
            int sys_errno;
            if (locked_file_open(&f, "p", LOCKED_FILE_OLD, &sys_errno) != LOCKED_FILE_OK ||
                locked_file_read(&f, BYTES_MAX, &text, &len, &sys_errno) != LOCKED_FILE_OK) {
                _exit(1);
            }
            snprintf(count, sizeof count, "%ld", strtol(text, NULL, 10) + 1);
            free(text);
            if (locked_file_replace(&f, bytes_text(count), &sys_errno) != LOCKED_FILE_OK) {
                _exit(2);
            }
            locked_file_close(&f);
        }
        _exit(0);
    }
    for (unsigned i = 0; i < EDITORS; i++) {
        int status;
        cr_assert_gt(wait(&status), 0);
        cr_expect_eq(status, 0);
    }
    char want[16];
    snprintf(want, sizeof want, "%u", EDITORS * ROUNDS);
    expect("p", want);
    cr_expect_eq(files_here(), 1);
}

/* Who waited for the lock finds the file gone, and says so. */
Test(locked_file, removed_while_waiting)
{
    put("p", "old");
    const int fd = open("p", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct locked_file f;
        int sys_errno;
        close(fd); /* a copy, which would keep the lock */
        _exit(locked_file_open(&f, "p", LOCKED_FILE_OLD, &sys_errno) == LOCKED_FILE_ABSENT ? 0 : 1);
    }
    cr_assert_eq(unlink("p"), 0);
    close(fd);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
}

Test(locked_file, does_not_wait_for_ever)
{
    put("p", "old");
    const int fd = open("p", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_expect_eq(failure("p", LOCKED_FILE_OLD, 0), LOCKED_FILE_BUSY);
    close(fd);
}
