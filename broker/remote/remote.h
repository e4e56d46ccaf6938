/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote: the other nodes of the cluster, as far as the messages and subscriptions of one shard are
 * concerned. What the links (broker/peers) carry is made here, and understood here.
 *
 *   told.c      what this node's clients subscribe to ─▶ interest ══▶ the others
 *   views.c     what the others' do ══▶ interest ─▶ the index, as target INDEX_PEER_FIRST + number
 *   forward.c   publish_route() ══ PUBLISH ══▶ the others;  kept_by[] ◀══ RESULT ══
 *   arrive.c    ══ PUBLISH ══▶ the subscribers of this node;  ══ RESULT ══▶ when all have kept it
 *   gap.c       something may have been lost on its way here: who may miss it is disconnected
 *
 * It promises: what is published at QoS 1 and 2 is acknowledged when each living node that has
 * subscribers for it has it, as it is when each shard has; and a SUBACK waits until each living
 * node knows of the subscription, or half a second. A message goes from the node it was published
 * at to the others, and from there to no other.
 *
 * Owner: the shard; the interest of the node is shard 0's. Memory: an entry for each message of QoS
 * 1 and 2 that another node has not answered, or that this one has not; the links bound both
 * (link.h). A node without a cluster has none (s->remote is NULL), and pays a branch where a
 * message is routed, and where a first subscription is told.
 * At the bound of a link: QoS 0 is dropped and counted (drop_forward_full); whoever publishes QoS 1
 * and 2 to it is not read from, and refused where nothing is left.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/peers/peers.h"
#include "cluster/identity.h"
#include "proto/nodiscard.h"

struct node;
struct shard;

/* Losing it would leave nodes, or shards, disagreeing for good: the process ends. */
_Noreturn void remote_out_of_memory(void);

/* What there is to be told of links; for peers_create(). */
extern const struct peers_events remote_events;

/* For all shards, which do not run yet; what they subscribe to already is told. false: no memory.
 */
NODISCARD bool remote_create(struct node *node, const struct identity *self);
/* Is there another node that lives, as this shard was told? */
bool remote_has_others(const struct shard *s);
/* Is that shard's link to the peer slow, so that publishers wait? Any shard may ask. */
bool remote_is_slow(const struct shard *s, unsigned peer);

void remote_destroy(struct shard *s); /* nobody is told; the shard runs no more */

/* What the digests of interest come to, a moment ago: this node's own (peer: its own UUID), or what
 * it knows of another. Any thread. false: nothing is known. */
NODISCARD bool remote_interest_sum(const struct node *node, struct node_uuid peer, uint64_t *low,
                                   uint64_t *high);

void remote_turn(struct shard *s);  /* when mail was read, before it is said what is to be kept */
void remote_flush(struct shard *s); /* after that, before peers_flush() */
uint64_t remote_next_ms(const struct shard *s); /* when the next turn is due; 0: at once */
