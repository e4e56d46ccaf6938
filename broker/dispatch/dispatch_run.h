/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch_run: messages of QoS 1 and 2 to the partitions of kept sessions, at whoever leads them:
 * cluster/dispatch on the shards of this node. Only where node->replicas > 0; else there is
 * nothing here (s->dispatching is NULL), and messages go as ever.
 *
 *   publish_route() ─ dispatch_run_put() ─▶ the shard's source ══ DISPATCH, by its lane ══▶
 *   owed_kept(), target PEERS_SELF ◀─ ended ◀══ DISPATCHED ══ that lane
 *
 *   ══ DISPATCH ══▶ the lane's shard ─ mail ─▶ the partition's home: publish_to_partition()
 *   ══ DISPATCHED ◀─ that lane ◀─ mail ─ dispatch_run_applied() ◀─ committed, applied ◀─┘
 *
 * It promises what cluster/dispatch does: what is acknowledged is committed in each partition that
 * has subscribers for it, and with the transient subscribers of each node that lives; once, and in
 * order. The node itself is one of the peers, PEERS_SELF: what is for partitions that it leads goes
 * the same way, without a link.
 *
 * Owner: the shard. Memory: a copy of each message until it has ended, dispatch_conf's bounds a
 * shard; answers on their way to a link. At the bound: DISPATCH_FULL, the message is refused
 * (0x97); before that, publishers wait as for a slow link.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/peers/peers.h"
#include "broker/shard/post.h"
#include "cluster/identity.h"
#include "proto/nodiscard.h"

struct dispatch_uses;
struct message;
struct node;
struct shard;
struct subscribe_job;

/* ---- Partitions, on their home shard (broker/partitions) */

/* It is led here in that term: all that was committed before is applied, its sessions are there,
 * and their filters are in the index, and told (all POST_TELL are posted). The term, below 2^56, is
 * higher than any before, also of an earlier incarnation. */
void dispatch_run_lead(struct shard *s, unsigned p, uint64_t term);

/* It is not any more. Before any of its sessions is dropped, or taken out of the index. Fine if it
 * was not led. */
void dispatch_run_cease(struct shard *s, unsigned p);

/* An entry of that origin, a stream of dispatch (< 2^56; others are passed over), was applied here,
 * or passed over as a repetition. On the leader; fine elsewhere. */
void dispatch_run_applied(struct shard *s, unsigned p, uint64_t origin, uint64_t op);

/* ---- Publishers, on their shard (broker/route/publish.c) */

/* What was known of leaders and leases before the index was looked into. */
struct dispatch_view {
    uint64_t changes;
    uint64_t without; /* partitions that get the message, whatever the index says */
};

/* Is the message one that goes by dispatch? Of QoS 1 and 2, and not of the broker's own topics. */
bool dispatch_run_takes(const struct shard *s, const struct message *m);

struct dispatch_view dispatch_run_look(const struct shard *s); /* before the match */

/* After it: s->match is of the message, and the targets are of that. s->route_waits has
 * PEERS_SELF's bit, if it is waited for; s->route_reason says why it was refused. */
void dispatch_run_put(struct shard *s, struct message *m, const struct dispatch_view *before,
                      uint64_t targets);

/* ---- Subscribers, on their shard (broker/conn/on_subscribe.c) */

/* A subscription of a kept session is in the index, and told. true: job->done() is called when it
 * may be acknowledged: job->pending was counted up. false: it may be now. */
NODISCARD bool dispatch_run_subscribed(struct shard *s, unsigned partition,
                                       struct subscribe_job *job);

/* ---- Links (remote.c), on each shard */

enum link_taken dispatch_run_received(struct shard *s, unsigned peer,
                                      const struct node_frame *frame);
void dispatch_run_up(struct shard *s, unsigned peer);
void dispatch_run_down(struct shard *s, unsigned peer);
void dispatch_run_restarted(struct shard *s, unsigned peer);
void dispatch_run_facts(struct shard *s, const struct peer_facts *facts);

/* It has said on this connection of lane 0 how far it has this node's interest. */
void dispatch_run_acked(struct shard *s, unsigned peer);
/* Lane 0: may it be told now what this node's clients subscribe to? */
bool dispatch_run_may_tell_interest(const struct shard *s, unsigned peer);
/* A body of DISPATCH that has waited for what came before it; false: it is malformed. */
bool dispatch_run_arrived(struct shard *s, unsigned peer, struct bytes body);

extern post_fn dispatch_on_led, dispatch_on_leaders, dispatch_on_in, dispatch_on_out,
    dispatch_on_subscribed, dispatch_on_vouched;

/* ---- The loop */

void dispatch_run_turn(struct shard *s);              /* when mail was read, before remote_turn() */
void dispatch_run_flush(struct shard *s);             /* before remote_flush() */
uint64_t dispatch_run_next_ms(const struct shard *s); /* when the next turn is due; 0: at once */

/* For all shards, which do not run yet, after remote_create(); node->replicas > 0. false: no
 * memory. */
NODISCARD bool dispatch_run_create(struct node *node, const struct identity *self,
                                   const struct dispatch_uses *uses);
void dispatch_run_destroy(struct shard *s);
void leaders_destroy(struct node *node); /* after that, of all shards */

/* ---- Figures, of now; any thread */

enum dispatch_gauge {
    DISPATCH_OPS,   /* that have not ended */
    DISPATCH_BYTES, /* of them */
    DISPATCH_GAUGES,
};
uint64_t dispatch_run_gauge(const struct node *node, enum dispatch_gauge gauge);
