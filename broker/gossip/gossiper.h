/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gossiper: the thread that finds the other nodes of the cluster, knows who of them lives, and
 * makes the connections that shards have to them. It is the shell of cluster/membership: sockets, a
 * clock, DNS.
 *
 *   UDP ───────────────▶ seal ─▶ membership ─▶ log, figures, gossiper_links.tell()
 *   TCP "DLGS" streams ─▶  ▲         │
 *   seeds, resolver.h ─────┴ contact ┘
 *   TCP "DLNK" knock.h, TLS, HELLO ────────────▶ gossiper_links.arrived()
 *   gossiper_dial() ─▶ TCP, knock.h, TLS ────────▶ gossiper_links.dialed()
 *
 * Owner: what is in struct gossiper is that of who holds its lock: the thread while it is awake,
 * which is for microseconds, others to look. No shard takes the lock; what shards ask is one atomic
 * word for each node (gossiper_dial()).
 * Memory: that of membership, seal and tcp, all of it bounded there; nothing grows with time.
 * Bounds: RECEIVE_MAX datagrams in a turn, then other things first; a datagram that the kernel does
 * not take is dropped (membership bears that); connections: tcp.h; steps of TLS handshakes, which
 * cost a millisecond or more and which only those get to who have the cluster's key:
 * GOSSIPER_TLS_STEPS in a turn.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/config/seeds.h"
#include "broker/gossip/keys.h"
#include "broker/gossip/load.h"
#include "broker/gossip/peer_numbers.h"
#include "broker/peers/peers.h"
#include "cluster/identity.h"
#include "cluster/membership/membership.h"
#include "cluster/seal.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define GOSSIPER_STREAM_MAGIC "DLGS" /* with which a stream of gossip begins */

struct gossiper;
struct tls_context;

/* Who has the links between nodes. Called on the gossip thread; must not wait. */
struct gossiper_links {
    void *context;
    void (*tell)(void *context, const struct peer_facts *peer);
    /* The connection is the callee's; `read` is what has come: a HELLO, and maybe more. */
    void (*arrived)(void *context, unsigned number, unsigned lane, struct peer_wire wire,
                    struct bytes read);
    /* After each gossiper_dial(), once; PEER_WIRE_NONE: it did not work. */
    void (*dialed)(void *context, unsigned number, unsigned lane, struct peer_wire wire);
};

struct gossiper_conf {
    struct identity identity;
    int dir;                       /* of the identity file; -1: it is not kept. Borrowed. */
    int udp, tcp;                  /* bound to the same address, non-blocking; borrowed */
    int family;                    /* of both */
    struct node_address listen;    /* what they are bound to */
    struct node_address advertise; /* port 0: listen, or what is found out */
    struct seeds seeds;
    struct key_ring ring;
    enum config_cluster_tls tls;     /* of links; what membership says is sealed anyway */
    struct tls_context *tls_context; /* a reference is taken; NULL: tls is off */
    unsigned shards;
    uint64_t (*clock_ms)(void);
    _Atomic bool *joining; /* set at the start, cleared when the node has found others, or need not
                            * wait for them */
    _Atomic uint32_t
        *absent; /* NULL, or members that are dead, and that links are told nothing of */
    const struct gossiper_links *links; /* NULL: nobody has any; connections for them are refused */
    /* How it is with this node's clients; on the gossip thread, each second. NULL: none. */
    struct node_load (*load)(void *context);
    void *load_context;
};

/* NULL: no memory, or no thread. */
NODISCARD struct gossiper *gossiper_start(const struct gossiper_conf *conf);

/* Tells the others that this node leaves, for GOSSIPER_LEAVE_MS at most, and ends the thread. */
#define GOSSIPER_LEAVE_MS 1000u
void gossiper_stop(struct gossiper *g, bool for_good); /* NULL is fine */
void gossiper_destroy(struct gossiper *g);             /* stopped; NULL is fine */

/* From now on. */
void gossiper_set_keys(struct gossiper *g, const struct key_ring *ring);

/* For connections from now on. Takes a reference. */
void gossiper_set_tls(struct gossiper *g, struct tls_context *context);

/* More seeds, which are asked at once, and as long as the process lives. Any thread but a
 * shard's. NULL, or what is wrong: a constant text. */
NODISCARD const char *gossiper_join(struct gossiper *g, const struct seeds *more);

enum gossiper_forgotten {
    GOSSIPER_IS_GONE,
    GOSSIPER_UNKNOWN,   /* no member has that name or UUID */
    GOSSIPER_LIVES,     /* as far as is known here */
    GOSSIPER_AMBIGUOUS, /* several that are dead have that name */
};

/* membership_forget() of the member with that UUID or, of those that have ended, that name. */
NODISCARD enum gossiper_forgotten gossiper_forget(struct gossiper *g, struct bytes named);

/* Asks for a connection to that node for a lane (< 64). Any thread; does not wait. */
void gossiper_dial(struct gossiper *g, unsigned number, unsigned lane);

/* ---- For those who look; any thread but a shard's. */

struct gossiper_figures {
    struct membership_counters membership; /* zeros while the own address is not known */
    uint64_t alive, suspect, dead, left;   /* members in that state; this node is one */
    uint64_t clients;                      /* of those that live, as they have said */
    uint64_t draining;                     /* members that live, and send their clients away */
    uint64_t datagrams_received, datagrams_sent, datagrams_dropped;
    uint64_t refused[SEAL_NO_MEMORY + 1]; /* messages, by why they were not opened */
    uint64_t streams, streams_accepted, streams_displaced, streams_timed_out;
    uint64_t links_accepted, links_dialed, links_refused, links_failed;
    uint64_t links_encrypted; /* of those accepted and dialed */
    uint64_t tls_failed;
    uint64_t peers_refused; /* times that a node got no number */
    uint64_t conflicts;
    uint64_t seeds_failed; /* of the last time that seeds were looked up */
};

void gossiper_figures(struct gossiper *g, struct gossiper_figures *out); /* NULL: zeros */

/* Where this node's clients could go. */
struct gossiper_others {
    unsigned nodes;      /* others that live, and do not drain */
    unsigned silent;     /* of these, those that have not said how many clients they have */
    uint64_t clients;    /* theirs together */
    uint64_t admits;     /* connections that they take in a second together; UINT64_MAX: any */
    uint64_t changed_ms; /* when a node came to live, or ceased to, or this one was started */
};

void gossiper_others(struct gossiper *g, struct gossiper_others *out); /* NULL: zeros */

/* At most `max` members, this node first, copied; how many. */
size_t gossiper_members(struct gossiper *g, struct member *out, size_t max);
