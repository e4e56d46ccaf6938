/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay: a connection whose socket is on this node ("near") and whose packets, login and session
 * are on another ("far"), or the other way round.
 *
 *   client ══ socket, TLS, WebSocket ══ near ══ RELAY_DATA, on a link ══▶ far ── input_received()
 *   client ◀═══════ conn_flush() ═════ near ◀══ RELAY_DATA ═══════════ far ◀── its output
 *
 * Near, a connection goes into the phase CONN_RELAYED when its CONNECT is whole, asks for a session
 * that lasts, and the partition of its client identifier has its home elsewhere. Far, it is a
 * struct conn like any other, but for its socket, which is here: conn/socket.h asks which it is.
 * Whatever else there is of a connection (keep alive, takeover, kicks, limits, traces) is far's.
 *
 * Where a partition has its home, a table of the node says, which broker/dispatch/leaders.h fills;
 * without cluster.replicas it says `here` of all of them.
 *
 * It promises: bytes come once and in order, or the relay ends at both ends; also when the link's
 * connection breaks, as the frames are numbered. When the other node dies, is started anew, or
 * frames are given up, the client is told to come back (0x9C; 3.x: closed), and the session far is
 * detached, with its will, as from a connection that is lost.
 *
 * Owner: the shard of the connection; near, that is the one with the lane (broker/peers) to the
 * other node. Far it may be another than the lane's: mail, in order. Memory: 150 bytes each, and
 * NODE_RELAY_WINDOW bytes each way, which the other end takes in before more is sent; what near's
 * socket has given beyond that is unread input (conn/input.c). At the bounds: near, the socket is
 * not read; far, output stays where a socket that takes nothing leaves it. While a link is slow, or
 * full, no bytes are put into it. As many as connections. A node without a cluster has none
 * (s->relays is NULL): it pays a branch at CONNECT, and one for what it asks a socket.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/node.h"
#include "broker/peers/peers.h"
#include "broker/shard/post.h"
#include "proto/bytes.h"
#include "proto/mqtt.h"
#include "proto/nodiscard.h"

struct conn;
struct relay;
struct shard;

/* ---- Where a partition has its home: RELAY_HERE, RELAY_NOWHERE, or RELAY_PEER + a peer's number.
 */
enum { RELAY_HERE, RELAY_NOWHERE, RELAY_PEER };

/* For connections that come from now on; those that are here, or relayed, stay what they are. Any
 * thread. */
void relay_set_home(struct node *node, unsigned partition, unsigned home);

static inline unsigned relay_home(const struct node *node, unsigned partition)
{
    return atomic_load_explicit(&node->relay_home[partition], memory_order_relaxed);
}

/* Those that have their home on this shard, 1 << partition. */
uint64_t relay_partitions_here(const struct shard *s);

/* Where a CONNECT is dealt with: on which shard of this node, or by which shard's lane. */
struct relay_place {
    unsigned shard;
    unsigned home; /* as above */
    unsigned partition;
};

/* Of the partition of a client identifier with that hash; or, where it is empty, of one that the
 * client may be given. */
struct relay_place relay_place_of(const struct shard *s, uint64_t client_hash);
struct relay_place relay_place_of_any(const struct shard *s);

/* ---- Near (near.c) */

/* A CONNECT that is whole, of a client that is to be relayed: the phase is CONN_RELAYED when this
 * returns, and nothing of it is sent yet. SUCCESS, or with what it is to be refused. */
NODISCARD enum mqtt_reason relay_begin(struct conn *c, const struct mqtt_connect *connect,
                                       const struct relay_place *place);

/* Of what the client has sent, as much as may go now: its length. */
NODISCARD size_t relay_take(struct conn *c, const uint8_t *data, size_t len);
/* The socket is read, or not, by what is left. */
void relay_read_on(struct conn *c);
/* The client will send no more; after what is left of it the other node is told. */
void relay_client_left(struct conn *c);
/* So many bytes have left towards the client. */
void relay_sent(struct conn *c, size_t bytes);
/* Could the client read a DISCONNECT now? It is connected, and no packet is half sent. */
bool relay_may_tell(const struct conn *c);
/* The connection is closed: the other node is told. */
void relay_close(struct conn *c);
/* Nothing has come of the other node in time. */
void relay_timed_out(struct conn *c);
struct bytes relay_client_id(const struct conn *c); /* borrowed */

/* ---- Far (far.c): what io.h is of a socket; conn/socket.h calls it. What io's handlers tell, is
 * told by the same handlers, never from inside of these. */

void relay_receive(struct conn *c, bool once);
void relay_receive_stop(struct conn *c);
void relay_send(struct conn *c); /* what its output begins with; sent() may tell of a part */
void relay_shutdown_write(struct conn *c);
void relay_hang_up(struct conn *c); /* as io_close() */
bool relay_is_closed(const struct conn *c);
bool relay_client_has_gone(const struct conn *c);
/* The names of the client's certificate, as near has found them. */
struct bytes relay_client_name(const struct conn *c, enum config_name_from from);
/* By which node it comes; borrowed. */
struct bytes relay_node_name(const struct conn *c);

/* Near or far: the connection is freed. */
void relay_forget(struct conn *c);

/* ---- Links (remote.c), on each shard */

enum link_taken relay_received(struct shard *s, unsigned peer, const struct node_frame *frame);
/* Frames of this lane were lost, one way or the other. */
void relay_lost(struct shard *s, unsigned peer);
void relay_restarted(struct shard *s, unsigned peer);
void relay_facts(struct shard *s, const struct peer_facts *facts);
void relay_flows(struct shard *s, unsigned peer); /* its link is not slow any more */

extern post_fn relay_on_in, relay_on_out, relay_on_over;

/* ---- The loop */

void relay_turn(struct shard *s);  /* when mail was read */
void relay_flush(struct shard *s); /* when connections were flushed, before peers_flush() */
uint64_t relay_next_ms(const struct shard *s);

/* For all shards, which do not run yet. false: no memory. */
NODISCARD bool relay_create(struct node *node);
void relay_destroy(struct shard *s); /* connections have gone */
