/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_cluster: several fake_nodes on one thread, with one clock, and wires between their links.
 * The test is membership: it says who lives, and it is the network.
 *
 * Owner: the test. Each node's number for another is its place in `nodes`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/fake_node.h"

#define FAKE_CLUSTER_NODES 4u

struct fake_cluster;
struct fake_disk;
struct link_conf;
struct wire;

/* A node is there, and has heard of nobody yet. */
typedef void fake_joined_fn(struct fake_cluster *c, unsigned number);

struct fake_place {
    struct fake_cluster *cluster;
    unsigned number;
};

struct fake_cluster {
    struct fake_node *nodes[FAKE_CLUSTER_NODES];
    struct fake_place places[FAKE_CLUSTER_NODES];
    unsigned count;
    unsigned shards[FAKE_CLUSTER_NODES];
    uint64_t generations[FAKE_CLUSTER_NODES];
    const struct link_conf *limits;
    struct fake_disk *disks; /* [count]; NULL: nothing is kept */
    fake_joined_fn *joined;  /* NULL: nobody asks */
    struct wire *wires;
    /* From the one to the other. */
    bool cut[FAKE_CLUSTER_NODES][FAKE_CLUSTER_NODES];   /* nobody gets a connection */
    bool stuck[FAKE_CLUSTER_NODES][FAKE_CLUSTER_NODES]; /* bytes stay under way */
    bool lanes_wait; /* only lane 0 gets a connection, of those that are asked for */
};

/* All know each other, and are connected. settings: fake_node_create()'s. limits: peers_conf's. */
struct fake_cluster *fake_cluster_create(unsigned count, const unsigned shards[],
                                         const char *const settings[],
                                         const struct link_conf *limits);
/* The same, of nodes that keep what they have on these disks; joined: for each, also later ones. */
struct fake_cluster *fake_cluster_create_on(unsigned count, const unsigned shards[],
                                            const char *const settings[],
                                            const struct link_conf *limits, struct fake_disk *disks,
                                            fake_joined_fn *joined);
void fake_cluster_destroy(struct fake_cluster *c); /* disks are closed, and stay */

void fake_cluster_settle(struct fake_cluster *c);
void fake_cluster_advance(struct fake_cluster *c, uint64_t ms);

/* client_connect() on that node; the others have their turns before CONNACK is taken. */
struct fake_client *fake_cluster_connect(struct fake_cluster *c, unsigned at, unsigned shard,
                                         const char *id, const struct terms *terms);

/* What `at` is told of `of`. */
void fake_cluster_tell(struct fake_cluster *c, unsigned at, unsigned of, bool live, bool forgotten);

/* Connections between the two end, with what is under way; and there are none until healed. */
void fake_cluster_cut(struct fake_cluster *c, unsigned a, unsigned b, bool cut);
void fake_cluster_stick(struct fake_cluster *c, unsigned from, unsigned to, bool stuck);

/* By the connections that there are, nothing more is taken from the one for the other. */
void fake_cluster_block(struct fake_cluster *c, unsigned from, unsigned to, bool block);

/* The node is gone, from one moment to the next, and another is there with its UUID. */
void fake_cluster_restart(struct fake_cluster *c, unsigned number, const char *const settings[]);

/* Of a cluster on disks: the node is gone, as fake_disk_crash() has it, or after a clean end; the
 * others hear that it is dead. Then a later start of it, with that many shards. */
void fake_cluster_crash(struct fake_cluster *c, unsigned number,
                        bool (*kept)(void *context, uint64_t sector), void *context);
void fake_cluster_close(struct fake_cluster *c, unsigned number);
void fake_cluster_start(struct fake_cluster *c, unsigned number, unsigned shards,
                        const char *const settings[]);

uint64_t fake_cluster_count(const struct fake_cluster *c, unsigned at, enum metric metric);
