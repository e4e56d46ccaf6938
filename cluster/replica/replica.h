/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replica: every node has every retained message. Which write of a topic counts is the same on all
 * nodes, in whatever order they hear of them: the one with the highest version (stamp of a hybrid
 * logical clock, then the writer). The messages themselves are the caller's; here are the topics,
 * their versions, and what is said to other nodes so that all come to the same.
 *
 *   a write here         replica_write() gives the stamp; the message goes to all nodes as a frame
 *                        PUBLISH with that stamp, and there replica_apply() says whether it counts
 *   what that has missed every digest_ms each node says what it has comes to. Where it is not the
 *                        same, a node walks through the other one's sums, down to where they
 *                        differ, and asks for what is newer there. Each does so for itself.
 *   deletes              leave their version (a tombstone), and so does what expires: it is that
 *                        which an old message that comes late meets
 *
 * When tombstones go. Each node says up to which stamp it is *complete*: it has all that the others
 * have written up to that, on its disk. The lowest of these is the *floor*: a tombstone up to it is
 * forgotten, as everybody has it, or something newer. From then on the floor stands for it: an item
 * up to the floor of a topic that is not known here is refused, as it was deleted, and whoever has
 * it is told to drop it. So an old message comes back by nobody: not by a node that was restored
 * from a backup, nor by one that was away for so long that it was not waited for
 * (replica_peer_lost()). What such a node has written meanwhile, and told nobody, is lost as far as
 * the floor has passed it. Only a majority may go on without the others.
 *
 * Owner: one thread of the node. events are called from within the calls that say so; of the
 * replica they may call nothing.
 * Memory: versions.h; for each peer 8 asks of up to 12 KiB; one body.
 * At the bound: out of memory, an item is not taken, and is asked for again later.
 * Time: now_ms of any clock that does not go back; wall_ms since 1970, as far as it is known. No
 * call takes long: what goes through many topics does so in steps of turn_steps.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/interest/digest.h"
#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/node_id.h"
#include "proto/node_retained.h"
#include "proto/nodiscard.h"

#define REPLICA_PEERS_MAX 32u /* a peer is a number below that, which the caller gives */
#define REPLICA_ASKS_MAX  8u  /* that are open between two nodes, each way */

/* The stamp of what was there before anything had one: any write counts more. */
#define REPLICA_UNSTAMPED 1u

/* Of a frame's body, in which there is one item of that many bytes, its topic among them. */
#define REPLICA_BODY_MAX(item_bytes)                                                               \
    (NODE_RETAINED_HEAD_MAX + NODE_RETAINED_ITEM_BYTES + (item_bytes) +                            \
     NODE_RETAINED_DROPS_HEAD_MAX + NODE_RETAINED_DROPS_MAX * NODE_RETAINED_DROP_BYTES)

struct replica;

enum replica_err {
    REPLICA_OK = 0,
    REPLICA_NO_MEMORY,
    REPLICA_MALFORMED, /* the connection is over */
    REPLICA_OLD,       /* what is here is as new, or newer, or it was deleted long ago */
    REPLICA_AHEAD,     /* of a clock that is too far ahead: not now */
    REPLICA_NOT_READY, /* see replica_write() */
};

struct replica_events {
    /* The topic has that message from now on, to be kept with its version. *handle: the caller's
     * name for it. Not REPLICA_OK: it has what it had. */
    enum replica_err (*set)(void *context, const struct node_retained_item *item, uint64_t *handle);
    /* It has none from now on; the version is to be kept. */
    void (*gone)(void *context, struct bytes topic, const struct retained_version *version);
    /* Nothing is to be kept of it any more; a message that it has goes. */
    void (*forget)(void *context, struct bytes topic);
    /* The floor is to be kept, not before all that was said before it. */
    void (*floor)(void *context, uint64_t floor);
    /* The handle is not used here any more. */
    void (*drop)(void *context, uint64_t handle);
    /* The message, for another node, whose events.set() gets it: its length, and it is written if
     * it is at most out_max. 0: it has expired. */
    size_t (*body)(void *context, uint64_t handle, uint8_t *out, size_t out_max);
    void *context;
};

struct replica_conf {
    struct cluster_uuid cluster;
    struct node_uuid self;
    uint64_t generation; /* of this start; >= 1 */
    struct replica_events events;

    uint32_t ahead_max_ms;     /* of stamps: cluster/hlc.h */
    uint32_t digest_ms;        /* 1 s */
    uint32_t walk_wait_max_ms; /* between walks that brought nothing: up to 30 s, doubled each time
                                */
    size_t part_bytes;         /* of items in a frame: 64 KiB, or one item */
    size_t item_bytes_max;     /* topic and body; a larger one is not told, and counted */
    unsigned known_max;        /* topics that an ask names; <= NODE_RETAINED_KNOWN_MAX */
    unsigned turn_steps;       /* topics or buckets that a call looks at */
};

/* All but cluster, self, generation and events, as docs/cluster.md has them. */
struct replica_conf replica_conf_defaults(void);

NODISCARD struct replica *replica_create(const struct replica_conf *conf); /* NULL: no memory */
void replica_destroy(struct replica *r); /* nobody is told, no handle is dropped; NULL is fine */

/* ---- At the start: what the disk has, before anything else. */

/* handle is not looked at when it is gone. */
NODISCARD enum replica_err replica_restore(struct replica *r, struct bytes topic,
                                           const struct retained_version *version, bool gone,
                                           uint64_t handle);
void replica_restore_floor(struct replica *r, uint64_t floor);

/* It is the first node of its cluster, or has waited for others long enough: it need not hear of
 * them before it writes. */
void replica_is_first(struct replica *r);
bool replica_is_ready(const struct replica *r);

/* ---- The disk */

/* All that was told by events, or answered, so far; to be given to replica_durable() when it is on
 * disk. Of several that are open only the last counts. */
uint64_t replica_mark(struct replica *r);
void replica_durable(struct replica *r, uint64_t mark);
bool replica_wants_mark(const struct replica *r); /* there is something to be said of the disk */

/* ---- Messages */

/*
 * A client of this node has written: the topic has that message from now on, or none. *version is
 * what it is to be kept with, and what the others are told. drop.
 * REPLICA_NOT_READY: this node has nothing of before, and has not heard of another one yet; so it
 * cannot know which stamps are over.
 */
NODISCARD enum replica_err replica_write(struct replica *r, struct bytes topic, bool gone,
                                         uint64_t handle, uint64_t wall_ms,
                                         struct retained_version *version);

/*
 * A client of another node has. REPLICA_OK: it counts here, and is to be kept; any other: the
 * handle stays the caller's. Whichever: subscribers who are there get it, as any message. drop.
 */
NODISCARD enum replica_err replica_apply(struct replica *r, struct bytes topic,
                                         const struct retained_version *version, bool gone,
                                         uint64_t handle, uint64_t wall_ms);

/* The message of that version has expired; if it is still the one that counts, its version is to
 * be kept as one of a topic without a message. Expiry is nobody's write: each node does it for
 * itself. forget: not even the version, since the floor stands for it. drop. */
void replica_expired(struct replica *r, struct bytes topic, const struct retained_version *version);

/* All handles, in no order; for the end. */
void replica_each(struct replica *r, void (*each)(void *context, uint64_t handle), void *context);

/* What counts; false: nothing is known of the topic. */
bool replica_look(struct replica *r, struct bytes topic, struct retained_version *version,
                  bool *gone);

/* ---- Peers. There are none at first. */

/* That number is that node's from now on. It is a member, and waited for. */
void replica_peer_begin(struct replica *r, unsigned peer, struct node_uuid node);
/* It is not a member any more, for good; the number may be another's. */
void replica_peer_end(struct replica *r, unsigned peer);
/* It has been dead for so long that it is not waited for, or is back. */
void replica_peer_lost(struct replica *r, unsigned peer, bool lost);
/* All members, dead ones as well, have a number: no floor moves before. */
void replica_members_known(struct replica *r);
/* So many members have none any more, and have not left: they count for the majority. */
void replica_members_missing(struct replica *r, unsigned count);

/* Its link has a connection, or has none any more. */
void replica_peer_up(struct replica *r, unsigned peer, uint64_t now_ms);
void replica_peer_down(struct replica *r, unsigned peer);

/* A frame of one of the four types has come from it, on the connection that is up. Any body is fair
 * input. set, gone, forget, floor, drop. */
NODISCARD enum replica_err replica_received(struct replica *r, unsigned peer,
                                            const struct node_frame *frame, uint64_t now_ms,
                                            uint64_t wall_ms);

/*
 * The next frame for it, whose body is at most `room` bytes; false: none, or none that fits
 * (REPLICA_BODY_MAX(item_bytes_max) always does). It must be sent, after those before it, or the
 * connection closed. *body is good until the next call. body.
 */
NODISCARD bool replica_next(struct replica *r, unsigned peer, size_t room, uint64_t now_ms,
                            uint8_t *type, struct bytes *body);

/* ---- Time */

void replica_turn(struct replica *r, uint64_t now_ms); /* forget, floor */

/* When replica_turn() is due, or replica_next() has something; UINT64_MAX: never, unless something
 * happens. */
uint64_t replica_next_ms(const struct replica *r);

/* ---- Figures */

struct replica_figures {
    uint64_t topics, gone; /* gone: of these, without a message */
    uint64_t bytes;        /* as asked of the allocator */
    struct digest digest;
    uint64_t high, complete, floor; /* stamps */
    uint64_t walks, walks_for_nothing;
    uint64_t asks_sent, asks_answered;
    uint64_t items_sent, items_taken, items_old;
    uint64_t ahead;     /* stamps that were not listened to */
    uint64_t refused;   /* items up to the floor */
    uint64_t dropped;   /* topics, since a peer said so */
    uint64_t forgotten; /* tombstones */
    uint64_t too_large;
    uint64_t no_memory;
};

struct replica_figures replica_figures(const struct replica *r);

struct replica_peer_figures {
    bool up, lost;
    bool said, same;             /* a digest, since the number is its; at the last one */
    uint64_t complete, floor;    /* as it says */
    uint64_t has;                /* up to which stamp this node has what that one wrote */
    uint8_t sum[NODE_SUM_BYTES]; /* its last digest */
};

struct replica_peer_figures replica_peer_figures(const struct replica *r, unsigned peer);

bool replica_check(struct replica *r); /* do the sums come to what is there? For tests */
