/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claims_node: a node's claims, which ride on its links (link_node), and the clients that a broker
 * would have for them. What must hold is the suite's.
 */
#pragma once

#include "cluster/claims/claims.h"
#include "tests/sim/link_node.h"

#define CLAIMS_IDS     10u
#define CLAIMS_CLIENTS 24u /* of a node, at a time */

/* One CONNECT of a client, to its end; the world's, and no node knows of it. */
struct life {
    unsigned index; /* of the node */
    struct claims_key key;
    unsigned id;
    bool clean, has_will;
    uint64_t delay_ms;
    uint64_t begun_ms;
    uint64_t attached_ms; /* 0: not yet */
    bool degraded;
    uint64_t claim;
    struct node_uuid owner; /* whose word it was, and of which start */
    uint64_t owner_generation;
    uint64_t ended_ms; /* 0: not yet; of a start that crashed, the moment of that */
    bool ended_clean, crashed;
    /* Who took a clean end; generation 0: nobody yet. */
    bool is_told; /* it is to be */
    struct node_uuid taker;
    uint64_t taker_generation;
    unsigned wills; /* published */
    struct node_uuid publisher;
    uint64_t publisher_generation, published_ms;
};

struct claims_client {
    struct life *life; /* NULL: free */
    bool attached, closing;
    uint64_t close_ms; /* world's time, of a kicked one */
};

struct claims_node {
    struct link_node *links;
    struct claims *claims;
    uint64_t serials; /* of its clients; they grow */
    struct claims_client clients[CLAIMS_CLIENTS];
    bool used[LINK_NODES_MAX];
    struct node_uuid uuids[LINK_NODES_MAX];
    uint64_t generations[LINK_NODES_MAX]; /* of who is, or was, at the other end */
    /* World's times. */
    uint64_t down_ms[LINK_NODES_MAX]; /* 0: it is up */
    uint64_t lost_ms[LINK_NODES_MAX]; /* when it last may have been taken for lost; 0: never */
    bool live[LINK_NODES_MAX];
    uint64_t own_since_ms[CLAIMS_IDS]; /* since when it is the owner; 0: it is not */
};

struct claims_rules {
    void (*attached)(struct claims_node *n, struct claims_client *client,
                     const struct claims_grant *grant);
    void (*will)(struct claims_node *n, const struct claims_key *whose, unsigned id,
                 uint32_t number);
    uint64_t (*kick_ms)(struct claims_node *n); /* how long the client takes to close */
};
extern struct claims_rules claims_rules;
extern const struct link_rider claims_rider;

struct bytes claims_id(unsigned id);
uint64_t claims_id_hash(const struct claims_node *n, unsigned id);

/* The will of a life is its number, in a few bytes. false: there is no room. */
bool claims_node_attach(struct claims_node *n, struct life *life, uint32_t number);
void claims_node_detach(struct claims_node *n, struct claims_client *client, enum claims_end end);
