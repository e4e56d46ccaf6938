/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_run: META on this node: how it comes to be of a cluster, the group of who is a member and
 * who has which partition (cluster/meta), and what this node has to do by that.
 *
 *   META_MEMBER, META_FORM frames ◀═▶ formation ── FORMED: cluster, number ─▶ group STORE_META
 *   applied commands ─▶ meta_state ─▶ meta_duty() ── POST_DUTY ─▶ home shard: partition_serve(), …
 *   who leads META: each second meta_decide() ─▶ commands, META's servers, another leader
 *
 * META's state and what formation has promised are records of the checkpoint (META_RECORD_…), which
 * are written by batches of their own. A node whose state is too old asks who leads for it
 * (META_STATE).
 *
 * Owner: shard 0; what other shards' threads may call says so. Memory: META's state, of some 40
 * KiB, thrice at most. At the bound (META_MEMBERS_MAX members, PEERS_MAX nodes): further nodes are
 * no members. A node with cluster.replicas 0 has none (node->meta_run is NULL), and pays a branch.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/groups/groups.h"
#include "broker/peers/peers.h"
#include "broker/shard/post.h"
#include "cluster/meta/decide.h"
#include "cluster/meta/meta.h"
#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

struct identity;
struct node;
struct shard;

/* Keys of the checkpoint: letter 'g' and this place; those of partitions are below them. */
#define META_RECORD_STATE     65u /* index of META's log, and meta_encode() of what it came to */
#define META_RECORD_FORMATION 66u /* formation's last record */

struct meta_run_conf {
    const struct identity *self; /* borrowed for the call */
    struct bytes zone;           /* likewise; <= NODE_META_ZONE_MAX */
    uint8_t random[UUID_BYTES];  /* of this start, and of no other one anywhere */
    unsigned replicas;           /* 1, 3, 5 */
    unsigned initial_size;       /* 1..NODE_META_FORM_MAX */
    struct meta_limits limits;
};

/* Of that node. */
struct meta_run_conf meta_run_conf_defaults(void); /* all but self and random */

/* After persistence_open(), remote_create() and partitions_create(), before the shards run: reads
 * what is kept. node->meta_run, from then on. false: no memory, or the records are none that are
 * understood; told. */
NODISCARD bool meta_run_create(struct node *node, const struct meta_run_conf *conf);
void meta_run_destroy(struct node *node); /* the checkpoint is closed; fine without one */

/* ---- Shard 0: the loop */

void meta_run_turn(struct shard *s); /* behind groups_turn(); nothing on other shards */
uint64_t meta_run_next_ms(const struct shard *s);

/* ---- Shard 0: what is told of STORE_META's group (partitions_conf.meta) */

extern const struct groups_events meta_run_events;

/* ---- Shard 0: from links (broker/remote) */

enum link_taken meta_run_received(struct shard *s, unsigned peer, const struct node_frame *frame);
void meta_run_up(struct shard *s, unsigned peer);
void meta_run_facts(struct shard *s, const struct peer_facts *facts);

/* ---- Any shard: what META's leader has to know of a partition of this node, until another one is
 * said of it. The shard is the partition's home. */

/* That incarnation was sealed at that index of its log. */
void meta_run_report_sealed(struct shard *s, unsigned p, uint32_t incarnation, uint64_t index);
/* All that was sealed is here, durably; moved: of the duty. */
void meta_run_report_held(struct shard *s, unsigned p, uint32_t incarnation, uint64_t moved);

extern post_fn meta_run_on_duty, meta_run_on_prefer, meta_run_on_report;

/* ---- Questions */

/* This node's number; 0: it is no member (yet). Any thread. */
uint32_t meta_run_number(const struct node *node);

/* Shard 0's: what META's log has come to here; NULL: nothing, or there is no META. */
const struct meta_state *meta_run_state(const struct shard *s);

/* ---- Figures, of now; any thread */

enum meta_run_gauge {
    META_RUN_NUMBER,  /* meta_run_number() */
    META_RUN_MEMBERS, /* that there are, as META has it */
    META_RUN_WAITING, /* 1: this node waits to be of a cluster */
    META_RUN_GAUGES,
};
uint64_t meta_run_gauge(const struct node *node, enum meta_run_gauge gauge);
