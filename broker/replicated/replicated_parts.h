/* SPDX-License-Identifier: Apache-2.0 */
/* replicated_parts: what the files of this folder have in common. Not a public header. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/fifo.h"
#include "broker/peers/peers.h"
#include "broker/replicated/replicated.h"
#include "broker/route/publish.h"
#include "broker/shard/shard.h"
#include "cluster/replica/replica.h"

/* What shard 0 shows of a peer. */
struct shown_peer {
    _Atomic uint64_t node[2]; /* its UUID; zeros: none, or it has said nothing */
    _Atomic uint64_t low, high;
};

/* All up to a mark of the replica's is to be on all shards' disks; one at a time. */
struct barrier {
    struct retain_job job; /* without a message */
    uint64_t mark;
    unsigned left; /* shards that have not answered; 0: nothing is asked */
    uint64_t next_ms;
};

struct replicated {
    struct node *node;
    struct replica *replica;
    struct node_uuid self;
    uint64_t generation;

    uint32_t known, live, up;             /* peers, a bit each */
    uint64_t differs_since_ms[PEERS_MAX]; /* live, and not the same; 0: it is */
    struct node_uuid nodes[PEERS_MAX];
    struct node_uuid missing[PEERS_MAX]; /* forgotten while they were dead: members still */
    unsigned missing_count;

    uint64_t joined_ms;  /* since when the cluster is found; 0: it is not */
    uint64_t turn_ms;    /* not sooner */
    bool expiring;       /* the topic's shard is about to let the message go by itself */
    bool heard;          /* replicated_has_heard() */
    struct fifo waiting; /* struct waiting, until the replica may stamp */
    struct barrier barrier;

    /* Written by shard 0, read by any thread, relaxed; a moment old, and each for itself. */
    _Atomic bool shown_heard;
    _Atomic uint64_t shown[REPLICATED_GAUGES];
    struct shown_peer shown_peers[PEERS_MAX];
};

/* Shard 0's record of a write that waits. */
struct waiting {
    struct retain_job *job;
    uint8_t from;
};

/* ---- write.c */

/* To the topic's shard; job NULL: nobody waits. The reference is the record's. */
void write_put(struct shard *s, struct message *m, bool gone, struct retain_job *job, unsigned from,
               bool durable);
void write_waiting(struct shard *s); /* those that waited, if they need not any more */

/* A message that says nothing but that the topic has none, as of the version. */
struct message *write_grave(struct bytes topic, const struct retained_version *version);

/* ---- restore.c: what is on disk, into the replica. false: no memory */
NODISCARD bool restore_all(struct replicated *r);
