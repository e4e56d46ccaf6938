/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_id: who a node of a cluster is, as values: its UUID, its incarnation, its cluster's UUID;
 * and where it is, which says nothing about who it is.
 *
 *   struct node_uuid     made once, kept on the node's volume. A lost volume is a new node.
 *   struct cluster_uuid  made once for a cluster. Nothing of another one is listened to.
 *   struct incarnation   generation: counted up, and on disk, before each start says a word;
 *                        version: counted up by the node itself while it runs. The higher one is
 *                        the newer word about a node, the generation first.
 *   struct node_address  an attribute: a node that comes back may have another, and another
 *                        node, or another cluster, may have this one by then.
 *
 * Pure; no memory. The two kinds of UUID are types of their own so that none is taken for the
 * other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define UUID_BYTES         16u
#define UUID_TEXT_BYTES    37u /* 8-4-4-4-12 in lower case, and a NUL */
#define NODE_NAME_MAX      64u /* bytes; a name of a pod is one of DNS's labels, of 63 at most */
#define ADDRESS_TEXT_BYTES 56u /* [IPv6]:port, and a NUL */

struct node_uuid {
    uint8_t bytes[UUID_BYTES]; /* all zero: none */
};

struct cluster_uuid {
    uint8_t bytes[UUID_BYTES]; /* all zero: none */
};

struct incarnation {
    uint64_t generation; /* of a node that has been started: >= 1 */
    uint32_t version;
};

/* For datagrams and streams alike. */
struct node_address {
    uint8_t ip[16]; /* IPv6; an IPv4 address as ::ffff:a.b.c.d */
    uint16_t port;  /* 0: no address */
};

static inline bool node_uuid_equal(struct node_uuid a, struct node_uuid b)
{
    return memcmp(a.bytes, b.bytes, UUID_BYTES) == 0;
}

/* < 0, 0, > 0; an order that all nodes agree on. */
static inline int node_uuid_compare(struct node_uuid a, struct node_uuid b)
{
    return memcmp(a.bytes, b.bytes, UUID_BYTES);
}

static inline bool node_uuid_is_none(struct node_uuid a)
{
    return node_uuid_equal(a, (struct node_uuid){{0}});
}

static inline bool cluster_uuid_equal(struct cluster_uuid a, struct cluster_uuid b)
{
    return memcmp(a.bytes, b.bytes, UUID_BYTES) == 0;
}

static inline bool cluster_uuid_is_none(struct cluster_uuid a)
{
    return cluster_uuid_equal(a, (struct cluster_uuid){{0}});
}

/* < 0: a is the older word; 0; > 0. */
static inline int incarnation_compare(struct incarnation a, struct incarnation b)
{
    if (a.generation != b.generation) {
        return a.generation < b.generation ? -1 : 1;
    }
    return (a.version > b.version) - (a.version < b.version);
}

static inline bool node_address_equal(const struct node_address *a, const struct node_address *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* Of 16 random bytes, those of a UUID of version 4 (RFC 9562, 5.4). */
struct node_uuid node_uuid_of_random(const uint8_t random[UUID_BYTES]);
struct cluster_uuid cluster_uuid_of_random(const uint8_t random[UUID_BYTES]);

void uuid_print(char out[UUID_TEXT_BYTES], const uint8_t uuid[UUID_BYTES]);

/* The 36 characters that uuid_print() makes, in either case. false: it is not one. */
NODISCARD bool uuid_parse(uint8_t out[UUID_BYTES], struct bytes text);

/* "10.1.2.3:1884", "[2001:db8::1]:1884" */
void node_address_print(char out[ADDRESS_TEXT_BYTES], const struct node_address *address);

/* 1..NODE_NAME_MAX letters, digits, '-', '_' and '.': it stands in logs, labels of metrics, and
 * paths of the API. */
bool node_name_is_valid(struct bytes name);
