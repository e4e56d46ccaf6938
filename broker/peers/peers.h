/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers: the links to the other nodes of the cluster, on the rings of the shards.
 *
 * Between two nodes there are as many links (cluster/link) as the one with fewer shards has shards.
 * Lane l belongs to shard l on both sides: its connection is a socket of that shard's io, its
 * timers are looked at in that shard's turns, and what comes is delivered there.
 *
 *   gossip thread                    a shard
 *   peers_tell()    ── a list ──▶    its link to that node is made, wanted, given up, unmade
 *   peers_arrived() ── for each ─▶   a connection that has called, its HELLO first
 *   peers_dialed()  ── shard ───▶    the connection that the link has asked for by dial()
 *                                    events: deliver, up, down, slow, gap, restarted, lost, facts
 *
 * A peer is a number, which the gossip thread gives and takes back. Two nodes never share one:
 * between them it was told that the former is forgotten.
 *
 * Owner: the node, which unmakes it after the shards' io. Each shard has its part for itself.
 * Memory: a link for each node and shard, and what links keep (link.h); what has come and is not
 * taken yet, a few receive buffers a link, as nothing more is read then.
 * At the bound: link.h. Without memory for the words of the gossip thread the process ends, as the
 * shards would not agree about who is there.
 * A node without a cluster has none (node->peers is NULL), and pays a branch a turn.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/identity.h"
#include "cluster/link/link.h"
#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define PEERS_MAX 32u
#define PEERS_SELF                                                                                 \
    (PEERS_MAX - 1) /* this node itself, where it is one of them; no other has it                  \
                     */

struct node;
struct peers;
struct shard;
struct tls_context;
struct tls_pipe;

/* A connection on its way to a shard. Whoever has it closes it. */
struct peer_wire {
    int fd;               /* non-blocking; -1: there is none */
    struct tls_pipe *tls; /* its handshake is over; NULL: it is not encrypted */
};

#define PEER_WIRE_NONE ((struct peer_wire){.fd = -1})

void peer_wire_close(struct peer_wire w);
void peer_wire_refuse(struct peer_wire w, enum node_close why); /* says why, and closes it */

/* What the shards have to know of a peer. A plain value. */
struct peer_facts {
    unsigned number; /* below PEERS_MAX */
    struct node_uuid node;
    uint64_t generation; /* of the start that is known; for logs */
    unsigned lanes;      /* 1..shards of this node */
    bool live;           /* alive, or suspect; else dead or left */
    bool forgotten;      /* the number is free again after this: its links are unmade */
    bool gone;           /* … and it is no member any more; else it is one that died */
    uint8_t name_len;
    uint8_t name[NODE_NAME_MAX];
};

/* On the shard that owns the lane. They are called from peers_turn(), peers_flush(), and when the
 * kernel tells of a connection; peers_put() may be called in them, for any peer. */
struct peers_events {
    enum link_taken (*deliver)(struct shard *s, unsigned peer, const struct node_frame *frame);
    void (*up)(struct shard *s, unsigned peer);
    void (*down)(struct shard *s, unsigned peer); /* after an up */
    void (*slow)(struct shard *s, unsigned peer, bool slow);
    void (*gap)(struct shard *s, unsigned peer);
    void (*restarted)(struct shard *s, unsigned peer);
    void (*lost)(struct shard *s, unsigned peer, uint64_t first, uint64_t last, enum link_loss why);
    /* On every shard, also without a lane; after the link has been made, wanted, given up. */
    void (*facts)(struct shard *s, const struct peer_facts *facts);
};

struct peers_conf {
    struct node *node;
    struct identity self;
    struct bytes build;                /* of HELLO; borrowed */
    const struct peers_events *events; /* outlives it */
    /* Asks for a connection to the peer for that lane. Any shard's thread; does not wait. Exactly
     * one peers_dialed() follows, and until then that lane asks for no other. */
    void (*dial)(void *context, unsigned number, unsigned lane);
    void *dial_context;
    /* Bounds and times of the links; the rest of it is not looked at. NULL: link_conf_defaults().
     */
    const struct link_conf *limits;
};

/* Before the shards run. node->peers, from then on: node_destroy() unmakes it. NULL: no memory. */
NODISCARD struct peers *peers_create(const struct peers_conf *conf);
void peers_destroy(struct peers *p); /* after the shards' io; NULL is fine */

/* ---- The gossip thread. None of these waits for a shard. */

void peers_tell(struct peers *p, const struct peer_facts *facts); /* to all shards, in order */

/* Somebody has called, and has said HELLO for that lane (greeting_read()): `read` is all that has
 * come in clear, HELLO first. The connection is the shard's from here on. */
void peers_arrived(struct peers *p, unsigned number, unsigned lane, struct peer_wire wire,
                   struct bytes read);
/* PEER_WIRE_NONE: in vain. */
void peers_dialed(struct peers *p, unsigned number, unsigned lane, struct peer_wire wire);

/* Other certificates, or revocation lists, are trusted from now on: who would not be let in any
 * more is disconnected. The main thread. Takes references. */
void peers_trust(struct peers *p, struct tls_context *now);

/* ---- A shard's thread; of the lane that it owns */

/* LINK_NO_ROOM also where the shard has no lane of that peer. */
NODISCARD enum link_put peers_put(struct shard *s, unsigned peer, uint8_t type, bool numbered,
                                  size_t body_len, uint8_t **body, uint64_t *seq);
bool peers_has_lane(const struct shard *s, unsigned peer);
size_t peers_room(const struct shard *s, unsigned peer); /* link_room() */
/* For a frame that is larger than that: while nothing waits to be sent; 0: something does. */
size_t peers_room_alone(const struct shard *s, unsigned peer);

/* After LINK_NOT_NOW: the frame is given again in this turn or the next. By itself that happens
 * every 10 ms. */
void peers_resume(struct shard *s, unsigned peer);
void peers_give_up(struct shard *s, unsigned peer); /* link_give_up(), in this turn or the next */
struct bytes peers_name(const struct shard *s, unsigned peer); /* as last told; borrowed */
unsigned peers_lanes(const struct shard *s, unsigned peer); /* as last told; 0: nobody's number */
/* Of the start at the other end, as of the last connection; 0: not known, or no lane. */
uint64_t peers_generation(const struct shard *s, unsigned peer);
/* What it has, as NODE_FEATURE_…, likewise. */
uint64_t peers_features(const struct shard *s, unsigned peer);

/* ---- The loop; all of it is nothing without a cluster */

void peers_turn(struct shard *s);  /* early in a turn: words, time, what was held */
void peers_flush(struct shard *s); /* late: what is to be sent, goes */

/* Has something been put, or asked for, that waits for a turn? A visitor (shard/visit.h) leaves it
 * to the owner. */
bool peers_are_waiting(const struct shard *s);
uint64_t peers_next_ms(const struct shard *s); /* when the next turn is due; 0: at once */

/* Nobody is left who could have something for other nodes: links end when what they may send now
 * is sent. Each turn, until peers_are_gone(). What is not acknowledged is not waited for. */
void peers_end(struct shard *s);
void peers_cut_off(struct shard *s); /* at once */
bool peers_are_gone(const struct shard *s);

/* ---- Figures, of now; any thread */

enum peers_gauge {
    PEERS_LINKS,      /* with a node that is alive */
    PEERS_LINKS_UP,   /* of them, connected */
    PEERS_LINKS_SLOW, /* whose senders are slowed */
    PEERS_KEPT_BYTES, /* sent or to be sent, and not acknowledged */
    PEERS_PASSING_BYTES,
    PEERS_GAUGES,
};
uint64_t peers_gauge(const struct peers *p, enum peers_gauge gauge); /* NULL: 0 */
