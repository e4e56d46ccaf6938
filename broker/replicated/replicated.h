/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replicated: the retained messages of a cluster, which each node has: what cluster/replica
 * decides, with messages, shards, links and a disk.
 *
 *   a client's shard, or that of a lane        shard 0                     the topic's shard
 *   replicated_retain(), _arrived()  ──────▶   replica: does it count?
 *                                              its version, on the disk
 *                                              if it is a deletion   ───▶  stored, or deleted
 *   job->done()  ◀─────────────────────────────────────────────────────   (and on the disk)
 *   then it is matched, and sent to all nodes (route/publish.c), or matched alone (arrive.c)
 *
 *   ══ RETAINED_… ══▶ replicated_received(): something that was missed ─▶  stored, or deleted
 *
 * So the order of all writes of a topic is that of the mail from shard 0, and what the topic's
 * shard has is what the replica says, a moment later.
 *
 * Owner: shard 0. The replica has a reference to each message. Memory: cluster/replica/replica.h.
 * At the bound of limits.retained_messages_max a client's message is refused at the node where it
 * is published; what other nodes have stored is stored.
 * A node without a cluster has none (node->replicated is NULL), and pays a branch for each retained
 * message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/route/publish.h"
#include "broker/shard/post.h"
#include "cluster/identity.h"
#include "cluster/link/link.h"
#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/node_retained.h"
#include "proto/nodiscard.h"

struct message;
struct node;
struct peer_facts;
struct shard;

/* With what is on disk, before the shards run. node->replicated, from then on. false: no memory. */
NODISCARD bool replicated_create(struct node *node, const struct identity *self);
void replicated_destroy(struct node *node); /* the shards run no more */

/* Up to which stamp versions are forgotten; for the disk. 0 without a cluster. */
uint64_t replicated_floor(const struct node *node);

/* ---- any shard */

/* As publish_retain(). job->message is another one afterwards, which has room for its version. */
enum retain_result replicated_retain(struct shard *s, struct retain_job *job);

/* The same, of a message that another node's client has written; and it does not wait for the disk.
 * RETAIN_DONE also where it does not count any more. */
enum retain_result replicated_arrived(struct shard *s, struct retain_job *job,
                                      const struct retained_version *version);

void replicated_expired(struct shard *s, struct message *m); /* about to go from here */

/* For the disk: has the topic no message as of a version? */
bool replicated_is_buried(struct shard *s, struct bytes topic, struct retained_version *version);

extern post_fn replicated_on_write, replicated_on_put, replicated_on_expired, replicated_on_mark;

/* ---- shard 0: for broker/remote */

void replicated_facts(struct shard *s, const struct peer_facts *facts);
void replicated_up(struct shard *s, unsigned peer);
void replicated_down(struct shard *s, unsigned peer);
enum link_taken replicated_received(struct shard *s, unsigned peer, const struct node_frame *frame);
void replicated_turn(struct shard *s);
NODISCARD bool replicated_next(struct shard *s, unsigned peer, size_t room, uint8_t *type,
                               struct bytes *body);
uint64_t replicated_next_ms(const struct shard *s);

/* ---- any thread: as of a moment ago */

enum replicated_gauge {
    REPLICATED_TOPICS,     /* with a message */
    REPLICATED_TOMBSTONES, /* without one, whose version is still known */
    REPLICATED_BYTES,
    REPLICATED_WAITING,  /* messages that wait until the node has heard of others */
    REPLICATED_DIFFER_S, /* for so long a living node has had others; the longest */
    REPLICATED_WALKS,
    REPLICATED_ITEMS_SENT,
    REPLICATED_ITEMS_TAKEN,
    REPLICATED_FORGOTTEN,
    REPLICATED_DROPPED,
    REPLICATED_AHEAD,
    REPLICATED_TOO_LARGE,
    REPLICATED_SUM_LOW, /* the digest */
    REPLICATED_SUM_HIGH,
    REPLICATED_GAUGES,
};
uint64_t replicated_gauge(const struct node *node, enum replicated_gauge gauge); /* 0: none */

/* What a living node has, as it said last. false: it has said nothing. */
bool replicated_peer_sum(const struct node *node, struct node_uuid peer, uint64_t *low,
                         uint64_t *high);

/* It has heard, since its start, what the living others have; or has waited long enough. */
bool replicated_has_heard(const struct node *node);

/* What the clock on the wall shows now, in ms since 1970; any thread. */
uint64_t replicated_wall_ms(void);
