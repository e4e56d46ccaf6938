/* SPDX-License-Identifier: Apache-2.0 */
/* meta_parts: what the files of this folder have in common. Not a public header. */
#pragma once

#include <stdatomic.h>

#include "broker/meta/meta_run.h"
#include "broker/store/checkpoint.h"
#include "cluster/meta/formation.h"

#define META_FEATURES 1u /* the level of what this version knows of META's commands */

#define META_SECOND_MS 1000u

/* Another node that links know. */
struct meta_peer {
    struct node_uuid node; /* none: the number is nobody's, or this node's */
    bool is_live;
    uint64_t since_ms; /* alive, or dead */
    bool owes;         /* META_MEMBER is to be said to it */
    bool has_said;     /* the same, of it: what follows */
    struct cluster_uuid cluster;
    uint32_t number, features;
    uint8_t name_len, zone_len;
    uint8_t name[NODE_NAME_MAX], zone[NODE_META_ZONE_MAX];
};

/* What this node has to report of a partition; zeros: nothing. */
struct meta_own_report {
    uint32_t sealed_incarnation, held_incarnation;
    uint64_t sealed, moved;
};

/*
 * What goes to the checkpoint: a batch at a time.
 *
 *   IDLE ─ something has changed ─▶ WRITING ─ done ─▶ IDLE
 *                                     ▲ └─ failed ─▶ AGAIN ─ some time ─┐
 *                                     └──────── the same batch ─────────┘
 */
enum meta_disk_state {
    META_DISK_IDLE,
    META_DISK_WRITING,
    META_DISK_AGAIN,
};

struct meta_disk {
    struct checkpoint *checkpoint;
    enum meta_disk_state state;
    struct checkpoint_batch *batch;
    _Atomic int answer; /* 1 + enum checkpoint_err; 0: not yet. The checkpoint's thread sets it */
    uint64_t again_ms;
    uint64_t form_written; /* formation's record that the batch has; 0: none */
    uint64_t index;        /* of META's state that it has; 0: none */
    uint64_t due_ms;       /* when a state that has changed is written; UINT64_MAX: it has not */
};

#define META_FORGOTTEN_MAX 16u

struct meta_run {
    struct shard *shard; /* 0 */
    struct node_uuid self;
    uint8_t name_len, zone_len;
    uint8_t name[NODE_NAME_MAX], zone[NODE_META_ZONE_MAX];
    unsigned replicas, initial_size;
    struct meta_limits limits;
    uint64_t began_ms;
    uint64_t second_ms; /* when what is done each second is next */
    bool is_due;        /* something is to be done in the next turn */

    struct formation *formation;
    bool form_pending; /* what follows is newer than what is on disk */
    uint8_t form_record[FORMATION_RECORD_MAX];
    size_t form_len;
    uint64_t said_ms; /* when the log heard last that it waits; 0: never */
    bool was_formed;  /* and all was done that follows from it, but for the group */

    struct meta_peer peers[PEERS_MAX];

    /* The group. */
    struct meta_state state; /* of all up to */
    uint64_t applied;        /* index */
    bool is_open, has_refused;
    bool leads;
    uint64_t leader;   /* its number; 0: none is known, or this node is it */
    unsigned proposed; /* and not ended */
    bool said_replicas;
    uint64_t decided_ms;
    struct groups_server servers[GROUPS_SERVERS_MAX]; /* as the group has them */
    unsigned servers_count;
    struct meta_decision decision; /* scratch */

    /* A state that is wanted from others. */
    uint64_t wanted; /* index; 0: none is */
    uint64_t wanted_from;
    uint64_t asked_ms;
    unsigned asked; /* times */
    bool has_copy;  /* it is here, and on its way to the disk */

    /* What this node does by it. */
    bool duties_due;
    uint64_t posted[NODE_META_PARTITIONS]; /* `changed` of the duty that was posted last; 0: none */
    uint64_t prefer_ms;

    /* Whom gossip has forgotten, the last ones; the next goes to [forgotten_count % …]. */
    struct node_uuid forgotten[META_FORGOTTEN_MAX];
    unsigned forgotten_count;

    struct meta_reports reports; /* of all members, while it leads */
    struct meta_own_report own[NODE_META_PARTITIONS];

    struct meta_disk disk;

    _Atomic uint32_t number;  /* any thread reads it, relaxed */
    _Atomic uint32_t members; /* likewise; 0: none are known */
    _Atomic bool waits;       /* likewise */
};

bool meta_is_formed(const struct meta_run *r);
uint32_t meta_own_number(const struct meta_run *r); /* 0: not formed */
void meta_hurry(struct meta_run *r);                /* a turn is to come */
void meta_show(struct meta_run *r);                 /* figures */

/* ---- links.c */

void meta_say(struct shard *s, unsigned peer, uint8_t type, struct bytes body);
unsigned meta_peer_of(const struct meta_run *r, struct node_uuid node); /* PEERS_MAX: nobody */
/* By its number in this cluster. */
unsigned meta_peer_numbered(const struct meta_run *r, uint32_t number);
void meta_say_who(struct shard *s); /* to those who are to hear it */
void meta_ask(struct shard *s);     /* for a state that is wanted, if it is time to */
struct node_meta_node meta_node_of_peer(const struct meta_peer *p);
struct node_meta_node meta_node_of_self(const struct meta_run *r);

/* ---- disk.c */

NODISCARD bool meta_disk_read(struct meta_run *r, struct checkpoint *checkpoint);
void meta_disk_turn(struct shard *s);
uint64_t meta_disk_next_ms(const struct meta_run *r);
void meta_disk_fini(struct meta_run *r);
void meta_state_changed(struct meta_run *r, bool at_once);

/* ---- lead.c */

void meta_set_servers(struct shard *s); /* as they are known now, if the group is open */
void meta_lead(struct shard *s);        /* what who leads does each second */

/* ---- duties.c */

void meta_post_duties(struct shard *s);
void meta_post_preferences(struct shard *s);
void meta_report(struct shard *s);
