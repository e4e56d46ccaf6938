/* SPDX-License-Identifier: Apache-2.0 */
/*
 * versions: of each topic that has, or had, a retained message, which write it is that counts here;
 * and sums of that, of everything and of its parts.
 *
 *   place of a topic    its hash, read backwards: the order in which the table is walked
 *   root ─ 256 children (first 8 bits of the place) ─ 256 leaves each (16 bits)
 *
 * A sum is that of a 128-bit hash of each topic and its version, modulo 2^128. Whether there still
 * is a message is not in it: one that has expired is gone here a little before or after it is gone
 * elsewhere, which is no difference.
 *
 * Owner: replica. Memory: 1.05 MB for the sums; for each topic 45 bytes and its name, rounded up by
 * the allocator, and 8 to 24 of the table's; for each start of a node whose writes are there, 40.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/interest/digest.h"
#include "cluster/table.h"
#include "proto/node_retained.h"
#include "proto/nodiscard.h"

#define VERSIONS_PARTS  256u
#define VERSIONS_LEAVES (VERSIONS_PARTS * VERSIONS_PARTS)

/* Who wrote: a node, in one of its starts. */
struct topic_writer {
    struct table_link link;
    struct node_uuid origin;
    uint64_t generation;
    uint64_t count; /* of topics whose version is of it */
};

struct topic_entry {
    struct table_link link; /* link.hash: of the topic, its lower half */
    uint64_t stamp;
    struct topic_writer *writer;
    uint64_t handle; /* the caller's name for the message; meaningless when it is gone */
    uint16_t len;
    bool gone;
    uint8_t topic[];
};

/* To be read by others. */
struct versions {
    struct table table, writers;
    uint64_t seed;
    size_t count, gone;
    size_t bytes; /* of entries and writers, as asked of the allocator */
    struct digest root, children[VERSIONS_PARTS];
    uint32_t counts[VERSIONS_PARTS]; /* of topics in each child */
    struct digest *leaves;           /* [VERSIONS_LEAVES] */
};

NODISCARD bool versions_init(struct versions *t, uint64_t seed); /* false: out of memory */
void versions_fini(struct versions *t);

/* The first 96 bits of a topic's hash. */
struct topic_name_hash {
    uint64_t hash;
    uint32_t check;
};

struct topic_name_hash versions_hash(const struct versions *t, struct bytes topic);
uint64_t versions_place(uint64_t hash);

struct topic_entry *versions_find(struct versions *t,
                                  struct bytes topic); /* NULL: never heard of */

/* What the topic has from now on; NULL: out of memory, and it has what it had. Of what it had
 * before nothing is done with the handle. */
NODISCARD struct topic_entry *versions_set(struct versions *t, struct bytes topic,
                                           const struct retained_version *version, bool gone,
                                           uint64_t handle);

/* The message has gone; the version stays. */
void versions_expire(struct versions *t, struct topic_entry *e);

/* It was never heard of. */
void versions_remove(struct versions *t, struct topic_entry *e);

static inline struct retained_version versions_version(const struct topic_entry *e)
{
    return (struct retained_version){e->stamp, e->writer->origin, e->writer->generation};
}

/* Of its origin and generation. */
static inline uint32_t versions_writer_hash(const struct topic_entry *e)
{
    return (uint32_t)e->writer->link.hash;
}

static inline struct bytes versions_name(const struct topic_entry *e)
{
    return bytes_of(e->topic, e->len);
}

/* Do all sums and counts come to what is there? For tests; takes long. */
bool versions_check(struct versions *t);
