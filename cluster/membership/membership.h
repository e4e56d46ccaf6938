/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membership: who of the cluster lives, as far as this node can tell: SWIM (Das et al., 2002) with
 * what Lifeguard (Dadgar et al., 2017) adds. A state machine: it is told what comes and what time
 * it is, and tells its shell what to send and what has changed.
 *
 *              a probe fails, or somebody says so                 suspected for too long
 *   ALIVE ───────────────────────────────────────▶ SUSPECT ──────────────────────────▶ DEAD
 *     ▲ ▲            refuted: a higher version         │            said by anybody      │
 *     │ └──────────────────────────────────────────────┘                                 │
 *     └───────────── a higher version, or generation ────────── LEFT (said by itself) ◀──┘
 *
 * What it says may be wrong: a node that is called dead may live behind a cut. Nothing that cannot
 * be taken back may hang on it alone.
 *
 *   probes    each interval one member, all in turn in random order: a datagram; when that is not
 *             answered in time, three others are asked to try, and a stream is tried
 *   suspects  are given time to say that they live: the less, the more members suspect them, and
 *             the more, the worse this node itself seems to do
 *   rumours   each change is told to three random members each gossip interval, and with each
 *             probe and answer, until it was told often enough
 *   exchange  now and then all that is known is exchanged with one member, by a stream: this
 *             mends what rumours have missed, and brings parts of a cluster together again
 *
 * Who is who: a node is its UUID. A higher generation is a new start, and replaces all that was
 * known of it at once, its address too. A new UUID is a new member, whatever its name.
 *
 * Owner: one thread. Memory: all of it in membership_create(), some 300 bytes a member.
 * Bounds, and what happens there:
 *   living members    members_max, this node among them: one more is not taken, and counted
 *   dead or left ones tombstones_max: the one that has been there for longest is forgotten early,
 *                     so that an old word could revive it
 *   rumours           one for each member
 *   probes for others MEMBERSHIP_RELAYS_MAX at a time: one more is not made, and counted
 *   a message         GOSSIP_MESSAGE_MAX bytes (proto/gossip.h)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/identity.h"
#include "proto/bytes.h"
#include "proto/gossip.h"
#include "proto/nodiscard.h"

#define MEMBERSHIP_MEMBERS_MAX    1024u
#define MEMBERSHIP_TOMBSTONES_MAX 1024u
#define MEMBERSHIP_RELAYS_MAX     64u

struct membership;

enum member_state {
    MEMBER_ALIVE = GOSSIP_ALIVE,
    MEMBER_SUSPECT = GOSSIP_SUSPECT,
    MEMBER_DEAD = GOSSIP_DEAD,
    MEMBER_LEFT = GOSSIP_LEFT,
};

/* It is not known that it ended. */
static inline bool member_state_lives(enum member_state state)
{
    return state == MEMBER_ALIVE || state == MEMBER_SUSPECT;
}

/* What is known of a member; for reading, until the next call. */
struct member {
    struct node_uuid node;
    struct incarnation incarnation;
    struct node_address address;
    enum member_state state;
    bool gone;         /* LEFT, and not to come back: nothing is kept for it */
    uint64_t since_ms; /* when it came to be in that state, on this node's clock; what another node
                        * told of the dead may lie before the clock's beginning: then 0 */
    uint8_t name_len;
    uint8_t name[NODE_NAME_MAX];
    uint8_t data_len;
    uint8_t data[GOSSIP_DATA_MAX]; /* what it says of itself: membership_set_data() */
};

/* The LAN profile of memberlist but for what is said; membership_lan() has these values. */
struct membership_conf {
    struct identity identity;
    struct node_address address; /* where the others reach this node */
    uint64_t seed;               /* of all that is chosen at random; another one for each node */
    uint32_t members_max;        /* 1..MEMBERSHIP_MEMBERS_MAX */
    uint32_t tombstones_max;     /* 1..MEMBERSHIP_TOMBSTONES_MAX */

    uint32_t probe_interval_ms;    /* 1000 */
    uint32_t probe_timeout_ms;     /* 300, there 500; < the interval */
    uint32_t indirect_probes;      /* 3 */
    uint32_t suspicion_mult;       /* 4 */
    uint32_t suspicion_max_mult;   /* 6; 1: suspicions have a fixed time, as in SWIM */
    uint32_t awareness_max;        /* 8; 1: no awareness of itself, as in SWIM */
    uint32_t retransmit_mult;      /* 4 */
    uint32_t gossip_interval_ms;   /* 200 */
    uint32_t gossip_nodes;         /* 3 */
    uint32_t gossip_to_dead_ms;    /* 60 s, there 30 s: they may live, and refute */
    uint32_t exchange_interval_ms; /* 15 s, there 30 s; longer above 32 members */
    uint32_t reconnect_least_ms;   /* 10 s; a dead member is tried each 10 to 30 s */
    uint32_t reconnect_most_ms;    /* 30 s */
    uint64_t tombstone_ms;         /* 24 h; there as long as gossip_to_dead_ms */
    uint64_t stall_ms; /* 500: called so late, it judges nobody for that time; not there */
};

enum membership_event {
    MEMBERSHIP_JOINED,    /* new, or back from the dead */
    MEMBERSHIP_RESTARTED, /* a higher generation of one that was not known to be dead */
    MEMBERSHIP_SUSPECTED,
    MEMBERSHIP_REFUTED, /* a suspect lives */
    MEMBERSHIP_DIED,
    MEMBERSHIP_LEFT,
    MEMBERSHIP_UPDATED,   /* address, name or data are others */
    MEMBERSHIP_FORGOTTEN, /* the tombstone has gone */
    MEMBERSHIP_CONFLICT,  /* about this node: somebody else is it, or was, with a generation or
                           * version  that this start cannot surpass. It has to start with a higher
                           * one. */
};

enum membership_carrier {
    MEMBERSHIP_DATAGRAM,
    MEMBERSHIP_STREAM, /* ordered and whole, each message with its length; whoever sends opens it */
};

/* The way that a message came, and an answer goes: by a stream, back by that very stream. */
struct membership_via {
    enum membership_carrier carrier;
    struct node_address address;
};

/* What the shell does. No call to the membership from within these. */
struct membership_shell {
    void *context;
    /* message.len <= GOSSIP_MESSAGE_MAX; it is not kept. `to` is none when whoever is there is
     * meant. */
    void (*send)(void *context, const struct membership_via *via, struct node_uuid to,
                 struct bytes message);
    void (*event)(void *context, enum membership_event event, const struct member *member);
};

/* For metrics; all only grow, but for the last group. */
struct membership_counters {
    uint64_t probes, probes_failed;
    uint64_t probes_by_others;  /* answered by way of another member */
    uint64_t probes_by_stream;  /* answered by a stream only: are datagrams let through? */
    uint64_t pings_for_another; /* meant for whoever had this address before */
    uint64_t relays, relays_refused;
    uint64_t suspicions, refutations; /* of others; by this node of itself */
    uint64_t deaths;                  /* that this node declared */
    uint64_t members_refused;
    uint64_t tombstones_evicted;
    uint64_t words, words_new; /* about members that came; that were news */
    uint64_t malformed;
    uint64_t stalls; /* it was called so late that it could not judge others */

    uint32_t living, suspects, tombstones, rumours;
    uint32_t awareness; /* 0: good, .. awareness_max - 1 */
};

/* All but identity, address and seed. */
struct membership_conf membership_lan(void);

/* NULL when out of memory. now_ms of any monotonic clock, here and below; it never goes back. */
struct membership *membership_create(const struct membership_conf *conf,
                                     const struct membership_shell *shell, uint64_t now_ms);
void membership_destroy(struct membership *m); /* NULL is fine */

/* A message came, and the one who sealed it is `sender`. Any bytes are fair input: what is not
 * understood is counted, and said. */
enum gossip_err membership_receive(struct membership *m, uint64_t now_ms,
                                   const struct membership_via *via, struct node_uuid sender,
                                   struct bytes message);

/* Does what is due. To be called at membership_due(), which each call may change. */
void membership_tick(struct membership *m, uint64_t now_ms);
uint64_t membership_due(const struct membership *m);

/* Exchanges all that is known with whoever is at that address: at a start, and again whenever a
 * list or DNS names somebody who is not known. */
void membership_contact(struct membership *m, uint64_t now_ms, const struct node_address *address);

/* What the others shall read of this node, copied; data.len <= GOSSIP_DATA_MAX. Each change is a
 * rumour that goes to all: a few a minute, not a few a second. */
void membership_set_data(struct membership *m, uint64_t now_ms, struct bytes data);

/* This node says that it leaves; for good: nobody is to keep anything for it. It goes on answering
 * until the shell ends it, best once that was told often enough, or after a second or two. */
void membership_leave(struct membership *m, uint64_t now_ms, bool for_good);
bool membership_leave_is_told(const struct membership *m);

enum membership_forgotten {
    MEMBERSHIP_IS_GONE, /* or was already; all will hear it */
    MEMBERSHIP_UNKNOWN,
    MEMBERSHIP_LIVES, /* as far as is known here, or it is this node */
};

/* An operator says that this node is dead and will not come back. If it lives all the same, behind
 * a cut, it says so when it hears that, and is a member again. */
NODISCARD enum membership_forgotten membership_forget(struct membership *m, uint64_t now_ms,
                                                      struct node_uuid node);

/* The highest generation that somebody has told of this node; 0: none. After a MEMBERSHIP_CONFLICT
 * the next start has to be above it. */
uint64_t membership_generation_heard(const struct membership *m);

const struct member *membership_self(const struct membership *m);
const struct member *membership_find(const struct membership *m, struct node_uuid node);
struct membership_counters membership_counters(const struct membership *m);

/* All members, this node first: i from 0 on, until NULL. */
const struct member *membership_at(const struct membership *m, size_t i);

/* What must hold between its parts, for tests; false: it does not. Takes long. */
bool membership_check(const struct membership *m);
