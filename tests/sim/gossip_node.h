/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gossip_node: a node of a simulated world that runs a membership, as the broker's gossip thread
 * will: it seals and opens, keeps a few streams, and asks the seeds at its start.
 *
 * Owner: the world. What a suite wants to know it reads in the struct, and is told by on_event.
 */
#pragma once

#include "cluster/membership/membership.h"
#include "cluster/seal.h"
#include "tests/sim/sim.h"

#define GOSSIP_STREAMS_MAX 48u
#define GOSSIP_SEEDS       3u /* nodes 0.. are asked at a start, and any one with them */

struct gossip_stream {
    uint64_t name; /* 0: free */
    struct node_address peer;
    bool ours, open;
    uint64_t used_ms;
    uint64_t end_ms; /* it is dropped then */
    bool asked;      /* something was sent since something came last */
    uint8_t *out;    /* what is not written yet: [out_len] */
    size_t out_len;
    uint8_t in[2 + GOSSIP_MESSAGE_MAX + SEAL_BYTES];
    size_t in_len;
};

struct gossip_node {
    struct sim_node *node;
    struct membership *membership;
    struct seal *seal; /* NULL: messages go as they are (large worlds) */
    struct gossip_stream streams[GOSSIP_STREAMS_MAX];
    uint64_t contact_ms; /* next time the seeds are asked */
    uint64_t opened[9];  /* by enum seal_err */
    bool leaving;
};

/* What differs between suites; one for the process, set before a world is made. */
struct gossip_rules {
    struct membership_conf conf; /* but identity, address, seed */
    bool sealed;
    bool no_stream_probes; /* as in SWIM: only datagrams say that somebody lives */
    unsigned (*ring)(const struct gossip_node *g, struct seal_key keys[SEAL_KEYS_MAX]);
    void (*on_start)(struct gossip_node *g);
    void (*on_stop)(struct gossip_node *g);
    void (*on_event)(struct gossip_node *g, enum membership_event event,
                     const struct member *member);
    void (*on_opened)(struct gossip_node *g, const struct seal_sender *sender);
};

extern struct gossip_rules gossip_rules;
extern const struct sim_module gossip_module;

/* After a call to g->membership from outside of the module's functions. */
void gossip_node_rearm(struct gossip_node *g);
const char *gossip_event_name(enum membership_event event);
