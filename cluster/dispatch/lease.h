/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease: when a node may take it that a partition has no subscribers for a message, because it
 * knows of none. It has been told of all subscriptions that were acknowledged, or they are not
 * acknowledged yet; for a while, by its own clock.
 *
 *   node with publishers                              node of the leader
 *   lease_ask() at 100 ── ask 7 ────────────────────▶ lease_grant() at 5000
 *   lease_granted(): until 100 + 2906 ◀── 3000 ms ─── nobody else may have it wrong until 8000
 *   lease_without(now): partitions that have to       lease_answer(p, version, now): may a SUBACK
 *   be asked whatever is known of them                go?
 *
 * Holder. A lease counts from when it was asked for, so that nothing has to be known of how long
 * words take; and is shortened by a 32nd, so that the two clocks may run 1 % too slow and too fast.
 * It is good while the holder has the granter's interest up to the version that the lease names,
 * and that says that the granter leads.
 *
 * Granter. A subscription may be acknowledged when each peer has the interest with it, or has no
 * lease any more. A peer without which it was acknowledged gets its next lease with that version.
 *
 * Leaders. A leader grants while it is certain that no other one can have been elected, as the
 * caller says (certain_until_ms: by heartbeats that were answered); after that, only what would
 * have ended by then: no lease of a leader lasts longer than lease_ms after its last certainty. So
 * for that long a new leader takes it that anybody may have one, of whom it knows nothing.
 *
 * Both are plain structs without pointers; owner: one thread. Pure, no memory.
 * Time: a clock that does not go back, in ms, and goes on while the machine sleeps.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/node_dispatch.h"
#include "proto/nodiscard.h"

#define LEASE_PEERS_MAX 32u /* a peer is a number below that; the node itself is one of them */
#define LEASE_NOBODY    LEASE_PEERS_MAX
#define LEASE_MS        3000u
#define LEASE_RENEW_MS  1000u
#define LEASE_MARGIN    32u /* a lease is shorter by that part for who holds it */
#define LEASE_ASKS      4u  /* of a peer, that may be answered yet */

/* ---- Who holds leases */

struct lease_asked {
    uint64_t number; /* 0: none */
    uint64_t at_ms;
};

struct lease_peer {
    bool up;
    uint64_t version; /* of its interest, that is known here; 0: not all of any */
    uint64_t next_ms; /* when it is asked again */
    struct lease_asked asked[LEASE_ASKS];
};

struct lease_held {
    uint64_t led_term; /* the last in which it is known to be led, */
    uint64_t term;     /* of the lease */
    uint64_t until_ms;
    uint64_t version; /* that it needs */
    uint8_t led_peer; /* and by whom, as his interest says; LEASE_NOBODY */
    uint8_t peer;     /* of the lease; LEASE_NOBODY */
};

struct lease_holder {
    /* Not for others. */
    struct lease_peer peers[LEASE_PEERS_MAX];
    struct lease_held held[NODE_DISPATCH_PARTITIONS];
    uint64_t numbers;
};

void lease_holder_init(struct lease_holder *h);

/* There is a connection, or none any more. A lease is good without one. */
void lease_up(struct lease_holder *h, unsigned peer, uint64_t now_ms);
void lease_down(struct lease_holder *h, unsigned peer);

/* Each match that begins from now on finds all of the peer's interest up to that version. */
void lease_known(struct lease_holder *h, unsigned peer, uint64_t version);

/* Before anything of the peer's interest is taken away that it has not taken away itself: it was
 * started anew, is forgotten, its view begins anew. */
void lease_forget(struct lease_holder *h, unsigned peer);

/*
 * The peer's interest, as it is known here, is also that of a partition's subscribers, since it
 * leads it in that term; or is so no more, as it may have taken them away. A lease is good while
 * both say the same, in whatever order they come: one that was on its way when its leader ceased
 * is not.
 */
void lease_led(struct lease_holder *h, unsigned partition, unsigned peer, uint64_t term);
void lease_ended(struct lease_holder *h, unsigned partition, unsigned peer);

/* Whether the peer is to be asked now; *ask is what. */
bool lease_ask(struct lease_holder *h, unsigned peer, uint64_t now_ms, struct node_lease_ask *ask);

/* A body of LEASE. false: it is malformed. */
NODISCARD bool lease_granted(struct lease_holder *h, unsigned peer, struct bytes body);

/* The partitions that are to get each message of QoS 1 and 2, whatever is known of them. */
uint64_t lease_without(const struct lease_holder *h, uint64_t now_ms);

/* Whose interest says what the partition's subscribers want; LEASE_NOBODY: it is without. */
unsigned lease_of(const struct lease_holder *h, unsigned partition, uint64_t now_ms);

/* Until when lease_of() says so, unless something happens; 0: it is without. */
uint64_t lease_until(const struct lease_holder *h, unsigned partition, uint64_t now_ms);

uint64_t lease_next_ms(const struct lease_holder *h); /* of lease_ask() */

/* ---- Who grants them */

struct lease_member {
    uint64_t start;    /* of the peer; 0: it has not asked yet */
    uint64_t until_ms; /* no lease of its lasts longer */
    uint64_t known;    /* version that it has said to have, in that start */
    uint64_t needs;    /* version that it has to have to use a lease */
};

struct lease_led {
    uint64_t term;       /* 0: it is not led here */
    uint64_t assumed_ms; /* until then anybody may have a lease of a former leader */
};

struct lease_granter {
    /* Not for others. */
    struct lease_member members[LEASE_PEERS_MAX];
    struct lease_led led[NODE_DISPATCH_PARTITIONS];
};

void lease_granter_init(struct lease_granter *g);

/* Its subscriptions are in this node's interest, up to version. */
void lease_lead(struct lease_granter *g, unsigned partition, uint64_t term, uint64_t version,
                uint64_t now_ms);
void lease_cease(struct lease_granter *g, unsigned partition);

/* That start of the peer, >= 1, has all of this node's interest up to that version. */
void lease_member_knows(struct lease_granter *g, unsigned peer, uint64_t start, uint64_t version);

/*
 * Answers a peer's question with what is led here: *items of node_lease_item into items, which has
 * room for NODE_DISPATCH_PARTITIONS; *lease points into it. What is sent late is only shorter, for
 * who gets it. version: of this node's interest, now. certain_until_ms: by partition: until then
 * nobody else leads it; 0: it is not known. false: there is nothing to grant.
 */
NODISCARD bool lease_grant(struct lease_granter *g, unsigned peer, uint64_t start,
                           const struct node_lease_ask *ask, uint64_t version,
                           const uint64_t certain_until_ms[NODE_DISPATCH_PARTITIONS],
                           uint64_t now_ms, uint8_t *items, struct node_lease *lease);

/*
 * May a subscription of that partition be acknowledged, which is in this node's interest at
 * version? true: it is to go now, and counts as gone. false: ask again when a peer knows more, or
 * at *at_ms, if that is not before now.
 * Peers that have never been granted anything hold nothing, so nothing has to be known of them.
 */
NODISCARD bool lease_answer(struct lease_granter *g, unsigned partition, uint64_t version,
                            uint64_t now_ms, uint64_t *at_ms);
