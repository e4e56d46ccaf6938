/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/identity_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME           "node"
#define NEW_NAME       "node.new"
#define FILE_BYTES_MAX 256u

static size_t print(char out[FILE_BYTES_MAX], const struct identity *identity)
{
    char node[UUID_TEXT_BYTES], cluster[UUID_TEXT_BYTES];
    uuid_print(node, identity->node.bytes);
    uuid_print(cluster, identity->cluster.bytes);
    return (size_t)snprintf(out, FILE_BYTES_MAX,
                            "dunlin node 1\nnode %s\ncluster %s\ngeneration %" PRIu64 "\nend\n",
                            node, cluster, identity->generation);
}

/* Takes what print() makes, and nothing else: it is printed again, and compared. */
static bool parse(struct bytes text, struct identity *identity)
{
    static const char node_at[] = "dunlin node 1\nnode ", cluster_at[] = "\ncluster ",
                      generation_at[] = "\ngeneration ";
    const size_t uuid = UUID_TEXT_BYTES - 1;
    const size_t first = sizeof node_at - 1, second = first + uuid + sizeof cluster_at - 1;
    const size_t number = second + uuid + sizeof generation_at - 1;
    char again[FILE_BYTES_MAX];
    struct identity read = {.generation = 0};
    if (text.len < number || !uuid_parse(read.node.bytes, bytes_of(text.at + first, uuid)) ||
        !uuid_parse(read.cluster.bytes, bytes_of(text.at + second, uuid))) {
        return false;
    }
    for (size_t i = number; i < text.len && text.at[i] >= '0' && text.at[i] <= '9'; i++) {
        read.generation = read.generation * 10 + (uint64_t)(text.at[i] - '0');
    }
    const size_t len = print(again, &read);
    if (!bytes_equal(bytes_of(again, len), text) || read.generation == 0) {
        return false;
    }
    identity->node = read.node;
    identity->cluster = read.cluster;
    identity->generation = read.generation;
    return true;
}

/* 0, or an errno; ENOENT: there is none. *len is as much as there is, FILE_BYTES_MAX at most. */
static int read_file(int dir, uint8_t out[FILE_BYTES_MAX], size_t *len)
{
    const int fd = openat(dir, NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int err = 0;
    *len = 0;
    while (err == 0 && *len < FILE_BYTES_MAX) {
        const ssize_t n = read(fd, out + *len, FILE_BYTES_MAX - *len);
        if (n == 0) {
            break;
        }
        err = n < 0 && errno != EINTR ? errno : 0;
        *len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return err;
}

static int write_and_sync(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

enum identity_file_err identity_file_keep(int dir, const struct identity *identity, int *sys_errno)
{
    char text[FILE_BYTES_MAX];
    const size_t len = print(text, identity);
    const int fd = openat(dir, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        *sys_errno = errno;
        return IDENTITY_FILE_IO;
    }
    int err = write_and_sync(fd, text, len);
    if (close(fd) != 0 && err == 0) {
        err = errno;
    }
    if (err == 0 && renameat(dir, NEW_NAME, dir, NAME) != 0) {
        err = errno;
    }
    if (err == 0 && fsync(dir) != 0) {
        err = errno;
    }
    *sys_errno = err;
    return err == 0 ? IDENTITY_FILE_OK : IDENTITY_FILE_IO;
}

enum identity_file_err identity_file_start(int dir, const uint8_t random[UUID_BYTES],
                                           uint64_t first, struct identity *identity,
                                           int *sys_errno)
{
    assert(first > 0);

    uint8_t text[FILE_BYTES_MAX];
    size_t len = 0;
    struct identity next = *identity;
    const int err = read_file(dir, text, &len);
    if (err == ENOENT) {
        next.node = node_uuid_of_random(random);
        next.cluster = (struct cluster_uuid){{0}};
        next.generation = first - 1;
    } else if (err != 0) {
        *sys_errno = err;
        return IDENTITY_FILE_IO;
    } else if (!parse(bytes_of(text, len), &next)) {
        return IDENTITY_FILE_DAMAGED;
    }
    if (next.generation == UINT64_MAX) {
        return IDENTITY_FILE_EXHAUSTED;
    }
    next.generation++;
    const enum identity_file_err kept = identity_file_keep(dir, &next, sys_errno);
    if (kept == IDENTITY_FILE_OK) {
        *identity = next;
    }
    return kept;
}
