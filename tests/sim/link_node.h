/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_node: a node's links and its interest as a module: what a shard, its sockets and the index
 * would be for them. Whom there is to talk to, and who is dead, it is told by the world, a few
 * seconds late, as by membership.
 *
 * Each node sends each other one numbered messages, and some without a number; and takes and lets
 * go of filters. What users do, and what must hold, is the suite's.
 */
#pragma once

#include "cluster/interest/interest.h"
#include "cluster/link/link.h"
#include "tests/sim/sim.h"

#define LINK_NODES_MAX  12u /* of both clusters; ours are before the others */
#define LINK_TEXTS      24u
#define LINK_PENDING    16u
#define LINK_GREET_MAX  (NODE_FRAME_HEAD_BYTES + NODE_HELLO_BYTES_MAX)
#define LINK_DEAD_MS    5000u
#define LINK_KEPT_MAX   40000u
#define LINK_TICK_MS    50u
#define LINK_PENDING_MS 5000u

/* That a suite of this module takes: all but those of datagrams, and of what is on disk. */
#define LINK_FAULTS                                                                                \
    (SIM_SLOW_PATHS | SIM_PARTITION | SIM_ONE_WAY | SIM_CRASH | SIM_NEW_ADDRESS | SIM_PAUSE |      \
     SIM_CLOCKS | SIM_STREAM_CUT | SIM_STREAM_STALL | SIM_DISK_WIPE | SIM_OTHER_CLUSTER)

struct link_node;

/* One of the others. */
struct link_peer {
    struct link_node *self;
    unsigned index;
    struct node_uuid uuid; /* whose link it is */
    struct link *link;     /* NULL: there has been nobody yet */
    uint64_t dialing;      /* the stream that is being opened; 0: none */
    bool live;
    uint64_t doubted_ms; /* world's time until which it is taken for dead, right or wrong */
    /* What came from it: */
    uint64_t of_start;             /* the sender's; 0: nothing came yet */
    uint64_t next;                 /* number that is to come next; 0: it is not known */
    uint64_t passing_last;         /* of frames without a number */
    bool told;                     /* of a gap, since the last one came */
    bool is_new;                   /* its interest has not been whole in this start of ours */
    uint32_t index_of[LINK_TEXTS]; /* the index: what it wants */
    /* What went to it: */
    uint64_t start; /* a number that no other start of a link in the world has */
    uint64_t last, passing;
};

/* A stream that somebody has opened, and has not greeted on. */
struct link_pending {
    uint64_t stream; /* 0: free */
    uint64_t since_ms;
    size_t len;
    uint8_t bytes[LINK_GREET_MAX];
};

struct link_node {
    struct sim_node *node;
    uint64_t streams_named;
    struct interest *interest;
    struct link_peer peers[LINK_NODES_MAX]; /* by index; its own is unused */
    struct link_pending pending[LINK_PENDING];
    uint32_t own[LINK_TEXTS];    /* how often it has taken each */
    uint64_t let_go[LINK_TEXTS]; /* how often it has let go of each */
    uint64_t tick_ms;
    void *rider; /* what link_rules.rider made; NULL: none */
};

extern const struct sim_module link_module;

/* Something else that talks over the same links, by frames without a number: all that are not the
 * interest's are for it. */
struct link_rider {
    void *(*create)(struct link_node *n);
    void (*destroy)(void *rider);
    void (*begin)(void *rider, unsigned peer, struct node_uuid uuid); /* it is that one now */
    void (*live)(void *rider, unsigned peer, bool live);              /* NULL: it does not ask */
    void (*up)(void *rider, unsigned peer, uint64_t generation);
    void (*down)(void *rider, unsigned peer);
    enum link_taken (*deliver)(void *rider, unsigned peer, const struct node_frame *frame);
    bool (*next)(void *rider, unsigned peer, size_t room, uint8_t *type, struct bytes *body);
    void (*turn)(void *rider);
    uint64_t (*next_ms)(const void *rider);
    void (*disk_done)(void *rider, uint64_t operation, int error); /* NULL: it has no disk */
    bool messages; /* frames PUBLISH are for it as well, with a number or without */
};

/* What the suite wants to hear of; all set, but for the rider. */
struct link_rules {
    const struct link_rider *rider;            /* NULL: none */
    uint64_t (*on_link)(struct link_peer *to); /* a link begins; its number */
    void (*on_numbered)(struct link_peer *from, uint64_t start, uint64_t number, uint64_t seq);
    void (*on_lost)(struct link_peer *to, uint64_t first, uint64_t last);
    void (*on_reached)(struct link_node *n, uint64_t token, uint32_t without);
};
extern struct link_rules link_rules;

/* How many nodes there are of our cluster, itself among them; 0: it is of the other one, and has
 * nobody to talk to. */
unsigned link_node_peers(const struct link_node *n);

struct bytes link_text(unsigned text, enum node_interest_kind *kind);

bool link_node_publish(struct link_node *n, unsigned peer, bool numbered, size_t more);
uint64_t link_node_take(struct link_node *n, unsigned text); /* the version */
void link_node_put(struct link_node *n, unsigned text);

/* Whatever there is to do now is done, and the timer set. After each of these, and each event. */
void link_node_go_on(struct link_node *n);
