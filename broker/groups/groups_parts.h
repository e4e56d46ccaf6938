/* SPDX-License-Identifier: Apache-2.0 */
/* groups_parts: what the files of this folder have in common. Not a public header. */
#pragma once

#include <stdatomic.h>

#include "broker/fifo.h"
#include "broker/groups/group_records.h"
#include "broker/groups/groups.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"

/* An entry that is applied, and that the checkpoint does not have. */
struct tail_entry {
    struct tail_entry *next;
    uint64_t index;
    size_t len;
    uint8_t bytes[];
};

/* A message that is kept, or on its way between shards. On the heap; whoever has it frees it. */
struct parcel {
    struct node_uuid node; /* to, or from */
    unsigned group;
    uint8_t type; /* of the frame: CONSENSUS, PARTITION_COPY */
    size_t len;
    uint8_t bytes[]; /* of its body */
};

/*
 *   RUNNING ── INSTALL of a later checkpoint ──▶ STANDING ── group_copied() ──▶ RUNNING
 *      │          records of a later one, at the start ──▶ │
 *      └── it has given up ──▶ FAILED
 */
enum group_state_kind {
    GROUP_RUNNING,
    GROUP_STANDING,
    GROUP_FAILED,
};

struct group {
    struct shard *shard;
    unsigned number;
    struct consensus *consensus;
    enum group_state_kind state;
    bool is_started;   /* consensus is; not yet in STANDING, from the start on */
    bool is_closing;   /* what is written now is for nobody */
    bool is_mute;      /* and nothing is told */
    bool is_inside;    /* events of consensus are being told */
    bool is_asked_off; /* another one was asked to lead, as this node ends, or its disk does */
    bool said_large;   /* that messages do not fit into the journal here */

    struct groups_server servers[GROUPS_SERVERS_MAX];
    unsigned servers_count;
    uint64_t self;
    uint32_t incarnation;

    struct fifo positions; /* uint64_t, in the store: of records that are not durable yet */
    uint64_t durable;      /* records */

    /* Written again: */
    bool again_due;        /* GROUP_AGAIN is to be written before the next record */
    uint64_t again_index;  /* of the last GROUP_AGAIN; */
    bool again_under_way;  /* what it made void is not let go of yet */
    uint64_t old_journals; /* shards, 1 << id, whose journals had some at the start */

    uint64_t checkpointed, applied;
    struct tail_entry *tail_first, *tail_last;
    size_t tail_bytes;

    /* As told last, and as it is. */
    bool told_leads;
    uint64_t told_term, told_leader;
    bool is_told;          /* of a leader at all */
    uint64_t barrier_term; /* of the empty entry that was proposed last; 0: none */
    bool barrier_over;     /* and it is applied */

    struct parcel *install; /* STANDING: what is waited for; NULL: at the start */
    uint64_t install_from;
    bool copy_due; /* events.copy_wanted is to be told */

    struct consensus_figures counted;
};

/* When that position is durable, records of the group up to that index are let go of. */
struct letting_go {
    uint64_t position, index;
    uint64_t journals; /* shards, 1 << id, besides this one */
    uint16_t group;
};

struct shard_groups {
    struct groups_conf conf;
    struct group *of[RECORD_PARTITIONS]; /* NULL: not open */
    unsigned count;
    uint64_t next_ms;                  /* of all */
    uint64_t durable;                  /* store_durable(), when it was looked at last */
    bool has_written;                  /* since groups_flush(): for another turn */
    bool has_old;                      /* of some group other journals may have records */
    bool has_news;                     /* of some group something is to be told */
    bool is_asking_off;                /* others are to lead */
    bool is_shown;                     /* gauges may not be 0 */
    struct fifo letting;               /* struct letting_go, by position */
    struct node_uuid nodes[PEERS_MAX]; /* zeros: nobody's number */
    uint64_t now_ms;                   /* as told to consensus last */
    uint64_t shown_ms;
    _Atomic uint64_t gauges[GROUPS_GAUGES]; /* the owner's to write, relaxed */
};

/* As messages name it. */
static inline uint64_t group_name(unsigned number, uint32_t incarnation)
{
    return number | (uint64_t)incarnation << 16;
}

static inline unsigned group_named(uint64_t name)
{
    return (unsigned)(name & UINT16_MAX);
}

/* ---- group.c: one group */

void group_on_durable(struct group *g, uint64_t position);
void group_on_time(struct group *g);
/* Any bytes that were decoded; message: of `body`. */
void group_take(struct group *g, const struct node_uuid *from, const struct node_consensus *message,
                struct bytes body);
void group_write_again(struct group *g); /* if it may */
void group_tell(struct group *g);        /* what has changed; calls events that may call others */
void group_ask_off(struct group *g, bool wanted); /* another one is to lead */
void group_free(struct group *g, bool is_mute);
uint64_t groups_now(struct shard *s);

/* ---- group_tail.c: the tail, and snapshots */

void group_tail_add(struct group *g, uint64_t index, struct bytes entry);
void group_tail_drop(struct group *g, uint64_t index); /* up to that */
bool group_tail_snapshot(const struct group *g, struct bytes *data);
/* Of snapshot data; false: it is none. */
NODISCARD bool group_tail_checkpoint_of(struct bytes data, uint64_t *index);
/* The next entry; *rest is what is behind the index to begin with. false: none, or malformed. */
NODISCARD bool group_tail_next(struct bytes *rest, uint64_t *index, struct bytes *entry);
#define GROUP_TAIL_HEAD_BYTES 8u

/* ---- letters.c: messages */

NODISCARD struct parcel *parcel_create(const struct node_uuid *node, unsigned group, uint8_t type,
                                       struct bytes bytes); /* NULL: no memory */

void groups_send(struct shard *s, unsigned group, const struct node_uuid *to, uint8_t type,
                 struct bytes message);
/* The event of that name, if the node is a server of the group. */
void group_take_beside(struct group *g, const struct node_uuid *from, struct bytes body);
