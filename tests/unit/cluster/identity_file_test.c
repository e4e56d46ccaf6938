/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/identity_file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t some[UUID_BYTES] = {1, 2, 3}, other[UUID_BYTES] = {9};

static char path[] = "/tmp/identity-XXXXXX";
static int dir = -1;

static void begin(void)
{
    cr_assert_not_null(mkdtemp(path));
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dir, 0);
}

static void end(void)
{
    unlinkat(dir, "node", 0);
    unlinkat(dir, "node.new", 0);
    unlinkat(dir, "node", AT_REMOVEDIR);
    close(dir);
    rmdir(path);
}

TestSuite(identity_file, .init = begin, .fini = end);

static void put(const char *name, const char *text)
{
    const int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

Test(identity_file, each_start_is_the_same_node_of_a_higher_generation)
{
    struct identity first = {.name_len = 1, .name = {'n'}}, again = first;
    int sys_errno = 0;
    cr_assert_eq(identity_file_start(dir, some, 1000, &first, &sys_errno), IDENTITY_FILE_OK);
    cr_expect_eq(first.generation, 1000);
    cr_expect(cluster_uuid_is_none(first.cluster));
    for (uint64_t i = 1001; i < 1012; i++) {
        put("node.new", "torn"); /* of a start that went no further */
        cr_assert_eq(identity_file_start(dir, other, 7, &again, &sys_errno), IDENTITY_FILE_OK);
        cr_expect_eq(again.generation, i);
        cr_expect(node_uuid_equal(again.node, first.node));
        cr_expect_eq(again.name_len, 1);
    }
}

Test(identity_file, its_cluster_is_kept)
{
    struct identity identity = {.generation = 0}, again = identity;
    int sys_errno = 0;
    cr_assert_eq(identity_file_start(dir, some, 1, &identity, &sys_errno), IDENTITY_FILE_OK);
    identity.cluster = cluster_uuid_of_random(other);
    cr_assert_eq(identity_file_keep(dir, &identity, &sys_errno), IDENTITY_FILE_OK);
    cr_assert_eq(identity_file_start(dir, some, 1, &again, &sys_errno), IDENTITY_FILE_OK);
    cr_expect(cluster_uuid_equal(again.cluster, identity.cluster));
    cr_expect_eq(again.generation, 2);
}

#define NODE    "dunlin node 1\nnode 01234567-89ab-4def-8edc-ba9876543210\n"
#define CLUSTER "cluster 00000000-0000-0000-0000-000000000000\n"

static const struct {
    const char *text;
    enum identity_file_err err;
} rows[] = {
    {NODE CLUSTER "generation 7\nend\n", IDENTITY_FILE_OK},
    {NODE CLUSTER "generation 18446744073709551614\nend\n", IDENTITY_FILE_OK},
    {NODE CLUSTER "generation 18446744073709551615\nend\n", IDENTITY_FILE_EXHAUSTED},
    {NODE CLUSTER "generation 18446744073709551616\nend\n", IDENTITY_FILE_DAMAGED},
    {NODE CLUSTER "generation 0\nend\n", IDENTITY_FILE_DAMAGED},
    {NODE CLUSTER "generation 07\nend\n", IDENTITY_FILE_DAMAGED},
    {NODE CLUSTER "generation 7\nend", IDENTITY_FILE_DAMAGED},
    {NODE CLUSTER "generation 7\nend\n\n", IDENTITY_FILE_DAMAGED},
    {NODE CLUSTER "generation \nend\n", IDENTITY_FILE_DAMAGED},
    {NODE CLUSTER, IDENTITY_FILE_DAMAGED},
    {NODE "generation 7\nend\n", IDENTITY_FILE_DAMAGED},
    {"dunlin node 2\nnode 01234567-89ab-4def-8edc-ba9876543210\n" CLUSTER "generation 7\nend\n",
     IDENTITY_FILE_DAMAGED},
    {"dunlin node 1\nnode 01234567-89AB-4def-8edc-ba9876543210\n" CLUSTER "generation 7\nend\n",
     IDENTITY_FILE_DAMAGED},
    {"", IDENTITY_FILE_DAMAGED},
};

/* What is damaged stays as it is, for somebody to look at; nothing is made up. */
Test(identity_file, only_what_was_written_is_read)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct identity identity = {.generation = 99};
        int sys_errno = 0;
        put("node", rows[i].text);
        cr_expect_eq(identity_file_start(dir, some, 1, &identity, &sys_errno), rows[i].err, "%zu",
                     i);
        if (rows[i].err != IDENTITY_FILE_OK) {
            char text[300] = {0};
            const int fd = openat(dir, "node", O_RDONLY | O_CLOEXEC);
            cr_expect_eq(read(fd, text, sizeof text - 1), (ssize_t)strlen(rows[i].text));
            cr_expect_str_eq(text, rows[i].text);
            cr_expect_eq(identity.generation, 99);
            close(fd);
        }
    }
}

Test(identity_file, what_the_disk_says_is_told)
{
    struct identity identity = {.generation = 0};
    int sys_errno = 0;
    cr_assert_eq(mkdirat(dir, "node.new", 0700), 0);
    cr_expect_eq(identity_file_start(dir, some, 1, &identity, &sys_errno), IDENTITY_FILE_IO);
    cr_expect_eq(sys_errno, EISDIR);
    cr_assert_eq(unlinkat(dir, "node.new", AT_REMOVEDIR), 0);
    cr_assert_eq(mkdirat(dir, "node", 0700), 0);
    cr_expect_eq(identity_file_start(dir, some, 1, &identity, &sys_errno), IDENTITY_FILE_IO);
    cr_expect_eq(sys_errno, EISDIR);
    identity.generation = 1;
    cr_expect_eq(identity_file_keep(dir, &identity, &sys_errno), IDENTITY_FILE_IO);
    cr_expect_eq(sys_errno, EISDIR); /* the rename */
    cr_expect_eq(identity_file_start(-1, some, 1, &identity, &sys_errno), IDENTITY_FILE_IO);
    cr_expect_eq(sys_errno, EBADF);
}
