/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster: this node as one of a cluster, from the start of the process to its end: sockets, who
 * it is, the key and its file, the certificate and its files, and the thread that gossips
 * (gossiper.h). Without cluster.listen all of it is nothing.
 *
 * Owner: the main thread. Memory: gossip's.
 */
#pragma once

#include <stdbool.h>

#include "broker/gossip/gossiper.h"
#include "broker/gossip/link_certificates.h"
#include "broker/watched_file.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

struct config;
struct data_dir;
struct node;

struct cluster {
    bool is; /* there is one, and the descriptors are open */
    int udp, tcp;
    int dir; /* -1: nothing is kept */
    int family;
    struct node_address listen;
    struct watched_file key_file;
    struct link_certificates certificates;
    struct gossiper_links links; /* to the shards */
};

/* Binds, as root if need be. false: it cannot be; told. */
NODISCARD bool cluster_open(struct cluster *c, const struct config *config);

/* Says the first word, after the generation is on disk. Before the shards run. */
NODISCARD bool cluster_start(struct cluster *c, struct node *node, const struct config *config,
                             const struct data_dir *data_dir);

bool cluster_is_needed(const struct cluster *c); /* is there a file to look after? */
void cluster_refresh(struct cluster *c, struct node *node, bool all);

void cluster_leave(struct node *node); /* the others are told; nobody is heard any more */
void cluster_close(struct cluster *c, struct node *node); /* left, and no shard runs */
