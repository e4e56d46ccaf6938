/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ownership: that a client identifier has one connection in the whole cluster, and that a will is
 * published once, also when its node dies. What cluster/claims decides, for the shards.
 *
 *   the session's shard                      shard 0
 *   CONNECT is accepted ── POST_CLAIM ─────▶ claims_attach() ══ CLAIM_HOLDS ══▶ the id's owner
 *   CONNACK leaves      ◀─ POST_CLAIMED ──── granted         ◀══ CLAIM_WORDS ══
 *   0x8E, closed        ◀─ POST_CLAIMED ──── kicked
 *   it has ended        ── POST_UNCLAIM ───▶ claims_detach()
 *   a kept session ends ◀─ POST_CLEARED ──── its id is another node's, by a clean start
 *                                            a will is due: published from here
 *
 * It promises: CONNACK leaves when the id's owner has said that the client has it, or after claims'
 * times without that (claims.h). What the client sends meanwhile is not looked at, and read up to a
 * bound (conn/input.c). With other nodes a will is their business as much as this one's: the id's
 * owner publishes it, wherever its client was.
 *
 * Owner: what belongs to a connection, its shard; the rest shard 0, on whose lane 0 the frames go.
 * Memory: of each client what claims has, and 56 bytes here; of a will, its bytes.
 * At the bound (claims.h): the client gets 0x97, and is closed. A will of more than
 * NODE_CLAIM_WILL_MAX bytes stays with its node: it is published there, and lost with it.
 * A node without a cluster has none (s->ownership is NULL), and pays a branch at CONNECT and at the
 * end of a connection.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/peers/peers.h"
#include "broker/session/session.h"
#include "broker/shard/post.h"
#include "cluster/identity.h"
#include "proto/nodiscard.h"

struct conn;
struct node;
struct shard;

/* For all shards, which do not run yet, and after remote_create(). false: no memory. */
NODISCARD bool ownership_create(struct node *node, const struct identity *self);
void ownership_destroy(struct shard *s); /* nobody is told; the shard runs no more */

/* ---- Connections, on their shard */

/* CONNECT is accepted: the connection has its session, and that its will. CONNACK stays where it is
 * until the answer. false: no memory. */
NODISCARD bool ownership_come(struct conn *c, bool clean_start);

/* It ends, and that is to become of its will. What is to become of it here: FORGET where the id's
 * owner sees to it. */
enum session_will ownership_end(struct conn *c, enum session_will will);

/* A will that an earlier start of this node has left: have others published it already, or will
 * they? */
bool ownership_is_elsewhere(const struct shard *s);

extern post_fn ownership_on_claim, ownership_on_unclaim, ownership_on_claimed, ownership_on_cleared;

/* ---- Links (remote.c), on each shard; of lane 0, but for facts */

enum link_taken ownership_received(struct shard *s, unsigned peer, const struct node_frame *frame);
void ownership_up(struct shard *s, unsigned peer);
void ownership_down(struct shard *s, unsigned peer);
void ownership_facts(struct shard *s, const struct peer_facts *facts);

/* Shard 0: who leads a partition of client identifiers owns these. A peer; or PEERS_SELF. */
void ownership_appoint(struct shard *s, unsigned partition, unsigned peer);

/* ---- The loop */

void ownership_turn(struct shard *s);  /* when mail was read, before connections go on */
void ownership_flush(struct shard *s); /* before peers_flush() */
uint64_t ownership_next_ms(const struct shard *s);
