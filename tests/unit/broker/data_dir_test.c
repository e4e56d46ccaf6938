/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/data_dir.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "/tmp/dunlin-data-dir-XXXXXX";
static char path[128];

static void begin(void)
{
    cr_assert_not_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/data", root);
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", root, root);
    cr_assert_eq(system(command), 0);
}

TestSuite(data_dir, .init = begin, .fini = end);

static void write_id(const char *text, size_t len)
{
    char file[160];
    snprintf(file, sizeof file, "%s/node.id", path);
    FILE *f = fopen(file, "w");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(text, 1, len, f), len);
    fclose(f);
}

Test(data_dir, keeps_the_identity_it_made)
{
    struct data_dir d;
    int sys_errno;
    cr_assert_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_OK);
    char id[NODE_ID_TEXT];
    strcpy(id, d.node_id);
    cr_expect_eq(strlen(id), 36);
    cr_expect_eq(id[14], '4', "a random UUID: %s", id);
    cr_expect_not_null(strchr("89ab", id[19]), "%s", id);
    data_dir_close(&d);
    data_dir_close(&d);
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_OK);
    cr_expect_str_eq(d.node_id, id);
    data_dir_close(&d);

    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0750);
}

Test(data_dir, two_nodes_have_two_identities)
{
    struct data_dir a, b;
    int sys_errno;
    cr_assert_eq(data_dir_open(&a, path, &sys_errno), DATA_DIR_OK);
    strcat(path, "2");
    cr_assert_eq(data_dir_open(&b, path, &sys_errno), DATA_DIR_OK);
    cr_expect_str_neq(a.node_id, b.node_id);
    data_dir_close(&a);
    data_dir_close(&b);
}

Test(data_dir, has_one_user_at_a_time)
{
    struct data_dir d, again;
    int sys_errno;
    cr_assert_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_OK);
    cr_expect_eq(data_dir_open(&again, path, &sys_errno), DATA_DIR_IN_USE);
    cr_expect_eq(again.lock_fd, -1);
    data_dir_close(&d);
    cr_expect_eq(data_dir_open(&again, path, &sys_errno), DATA_DIR_OK);
    data_dir_close(&again);
}

/* The lock is another process's, and goes with it. */
Test(data_dir, is_free_when_its_process_has_ended)
{
    int ready[2], quit[2];
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(quit), 0);
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct data_dir d;
        int sys_errno;
        char byte = (char)('0' + (int)data_dir_open(&d, path, &sys_errno));
        const bool told = write(ready[1], &byte, 1) == 1;
        close(quit[1]);
        (void)!read(quit[0], &byte, 1); /* until the other end is closed */
        _exit(told ? 0 : 1);
    }
    char byte;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_expect_eq(byte, '0' + DATA_DIR_OK);
    struct data_dir d;
    int sys_errno;
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_IN_USE);
    close(quit[0]);
    close(quit[1]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_OK);
    data_dir_close(&d);
}

static const struct {
    const char *name, *text;
    bool good;
} ids[] = {
    {"fine", "0f8b2c1e-1234-4abc-9def-0123456789ab\n", true},
    {"without a newline", "0f8b2c1e-1234-4abc-9def-0123456789ab", true},
    {"empty", "", false},
    {"short", "0f8b2c1e-1234-4abc-9def-0123456789a", false},
    {"no dash", "0f8b2c1e01234-4abc-9def-0123456789ab\n", false},
    {"a dash too many", "0f8b2c1e-1234-4abc-9def-01234567-9ab\n", false},
    {"not hexadecimal", "0f8b2c1g-1234-4abc-9def-0123456789ab\n", false},
    {"capitals", "0F8B2C1E-1234-4ABC-9DEF-0123456789AB\n", false},
};

/* A bad one is not overwritten: the operator may have another. */
Test(data_dir, refuses_an_identity_that_is_none)
{
    cr_assert_eq(mkdir(path, 0700), 0);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct data_dir d;
        int sys_errno;
        write_id(ids[i].text, strlen(ids[i].text));
        cr_expect_eq(data_dir_open(&d, path, &sys_errno),
                     ids[i].good ? DATA_DIR_OK : DATA_DIR_BAD_ID, "%s", ids[i].name);
        cr_expect_eq(d.lock_fd >= 0, ids[i].good, "%s", ids[i].name);
        data_dir_close(&d);
    }
}

/* Nothing is made by asking. */
Test(data_dir, is_identified_if_it_is_one)
{
    struct data_dir d;
    char id[NODE_ID_TEXT];
    int sys_errno;
    cr_assert_eq(mkdir(path, 0700), 0);
    const int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_expect_eq(data_dir_identify(dir, id), DATA_DIR_NONE);
    cr_expect_eq(data_dir_identify(dir, id), DATA_DIR_NONE);
    cr_assert_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_OK);
    cr_expect_eq(data_dir_identify(dir, id), DATA_DIR_OK);
    cr_expect_str_eq(id, d.node_id);
    data_dir_close(&d);

    const int mark = openat(dir, DATA_DIR_UNFINISHED_MARK, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_expect_eq(data_dir_identify(dir, id), DATA_DIR_UNFINISHED);
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_UNFINISHED);
    close(mark);
    cr_assert_eq(unlinkat(dir, DATA_DIR_UNFINISHED_MARK, 0), 0);
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_OK);
    data_dir_close(&d);
    close(dir);
}

Test(data_dir, says_why_it_cannot_be_reached)
{
    struct data_dir d;
    int sys_errno;
    char deep[160];
    snprintf(deep, sizeof deep, "%s/not/there", root);
    cr_expect_eq(data_dir_open(&d, deep, &sys_errno), DATA_DIR_UNREACHABLE);
    cr_expect_eq(sys_errno, ENOENT);

    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fclose(f);
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_UNREACHABLE);
    cr_expect_eq(sys_errno, ENOTDIR);
    cr_assert_eq(unlink(path), 0);

    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(deep, sizeof deep, "%s/dunlin.lock", path);
    cr_assert_eq(mkdir(deep, 0700), 0);
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_UNREACHABLE);
    cr_expect_eq(sys_errno, EISDIR);
    cr_assert_eq(rmdir(deep), 0);

    snprintf(deep, sizeof deep, "%s/node.id.new", path);
    cr_assert_eq(mkdir(deep, 0700), 0);
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_UNREACHABLE);
    cr_expect_eq(d.lock_fd, -1);
}

/* root may do all of this, so that there is nothing to be seen as root. */
Test(data_dir, needs_the_permission)
{
    if (geteuid() == 0) {
        end(); /* a test that is skipped comes to no end */
        cr_skip_test("root has every permission");
    }
    struct data_dir d;
    int sys_errno;
    cr_assert_eq(mkdir(path, 0500), 0);
    cr_expect_eq(data_dir_open(&d, path, &sys_errno), DATA_DIR_UNREACHABLE);
    cr_expect_eq(sys_errno, EACCES);
}

Test(data_dir, every_error_is_a_sentence)
{
    for (int err = DATA_DIR_OK; err <= DATA_DIR_UNFINISHED; err++) {
        const char *text = data_dir_err_text((enum data_dir_err)err);
        cr_expect_geq(strlen(text), err == DATA_DIR_OK ? 2 : 30);
    }
    cr_expect_str_eq(data_dir_err_text((enum data_dir_err)99), "?");
}
