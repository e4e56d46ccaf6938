/* SPDX-License-Identifier: Apache-2.0 */
/* partitions_parts: what the files of this folder have in common. Not a public header. */
#pragma once

#include <stdatomic.h>

#include "broker/fifo.h"
#include "broker/node.h"
#include "broker/partitions/applier.h"
#include "broker/partitions/partitions.h"
#include "broker/route/local.h"
#include "broker/shard/shard.h"
#include "broker/store/origins.h"
#include "broker/store/revival.h"
#include "cluster/table.h"
#include "proto/node_meta.h"

struct revival_of;

/*
 * From an incarnation to the next, or to none; each step is on disk before the next one:
 *
 *   NOTED ── that META has said so ─▶ VOID ── the former group's records in the journal are ─▶
 *   BEGUN ── the place has the new one ─▶ NONE: its group is open
 *
 * So a node that ends in between does not take part in the former one again, having forgotten what
 * it has promised there; nor does it take its records for the new one's.
 */
enum opening_step {
    OPENING_NONE,
    OPENING_NOTED,
    OPENING_VOID,
    OPENING_BEGUN,
};

enum copy_step {
    COPY_NONE,
    COPY_ERASING,
    COPY_ASKING,
    COPY_TAKING,
    COPY_WAITING, /* to begin anew */
};

struct partition_copying {
    enum copy_step step;
    uint64_t from, index; /* as groups_events.copy_wanted had it last */
    uint64_t asked;       /* which server */
    uint64_t copy, part;  /* that is asked for */
    uint64_t of_index;    /* that the copy is of */
    uint64_t sealed;      /* likewise */
    uint64_t again_ms, begun_ms;
    unsigned tries, turns;
};

/* How far one is that is to take the partition over, by its own word. */
struct partition_newcomer {
    uint64_t number, index;
};

struct partition_move {
    uint64_t sealed; /* the incarnation has ended there; 0: it goes on */
    struct partition_newcomer newcomers[NODE_META_REPLICAS_MAX]; /* who leads */
    unsigned newcomers_count;
};

struct partition {
    struct shard *shard; /* its home */
    unsigned number;
    enum partition_role role;
    enum opening_step opening;
    struct partition_conf next;    /* that is being opened; incarnation 0: none is to be here */
    uint64_t void_at;              /* OPENING_VOID: position in the store's journal */
    struct partition_place begins; /* likewise: what it is to begin with */
    bool erases;                   /* likewise: there are to be no records before */
    struct partition_move move;
    uint32_t stopped;             /* an incarnation that is not to be opened again here; 0: none */
    uint64_t flush;               /* of applier_flush(): the last one that was asked for */
    struct partition_conf conf;   /* as served last */
    struct partition_place place; /* index: on disk */
    uint32_t generation;          /* of what the applier has of it */
    uint64_t term, leader;        /* as told */
    uint64_t applied;             /* index of the last entry that was */
    struct partition_copying copying;
    struct revival_of *revival; /* REVIVES */
    struct table origins;       /* struct origin_row; REVIVES and LEADS */
    _Atomic uint64_t led;       /* the term; 0: it is not. The owner's to write, release */
};

/* How far a stream of messages has come in it, or the exchanges, or the wills, of a session. */
struct origin_row {
    struct table_link by_origin;
    enum origin_kind kind;
    uint64_t origin, highest;
};

struct shard_partitions {
    uint64_t reviving, copying, opening; /* partitions, 1 << number; opening: OPENING_VOID */
    uint64_t moves_ms;                   /* when they are looked at next */
    struct kept_link reads;   /* struct revival_read: under way, or not looked at yet: head */
    struct kept_link leaving; /* struct revival_of: given up, and with subscriptions under way */
    uint64_t shown_ms;
    _Atomic uint64_t gauges[PARTITIONS_SHOWN]; /* the owner's to write, relaxed */
};

struct partitions {
    struct node *node;
    struct partitions_conf conf;
    struct applier_thread *applier;
    bool is_over; /* the checkpoint is closed, or about to be; shards do not run */
    struct partition of[PARTITIONS];
    struct shard_partitions of_shard[INDEX_SHARDS_MAX];
};

/* ---- partitions.c */

struct partition *partition_of(const struct shard *s, unsigned p); /* on its home */
void partition_lead(struct partition *p);                          /* its sessions are there */
void partition_cease(
    struct partition *p); /* they go, if there are any: another one leads, or nobody */
void partition_give_up(struct partition *p, const char *why); /* it has failed */
void partition_flush(struct partition *p);                    /* revival_of_flushed(), when it is */
void partition_erase_all(struct partition *p); /* of that incarnation nothing is here any more */
void partition_note_origin(struct partition *p, enum origin_kind kind, uint64_t origin,
                           uint64_t highest);

/* ---- incarnations.c */

void incarnation_flushed(struct partition *p); /* partition_flush(), where it is opening */
void incarnations_turn(struct shard *s);

/* ---- revive.c */

void revival_of_begin(struct partition *p);
void revival_of_flushed(struct partition *p); /* its records are all on disk */
void revival_of_abandon(struct partition *p);
void revivals_turn(struct shard *s);
uint64_t revivals_next_ms(const struct shard *s);
bool revivals_are_reading(const struct shard_partitions *all); /* any thread that may look at it */
void revivals_fini(struct shard_partitions *all);              /* the checkpoint is closed */

/* ---- copies.c */

void copies_want(struct partition *p, uint64_t from, uint64_t index);
void copies_forget(struct partition *p);
void copies_received(struct partition *p, uint64_t from, struct bytes body); /* any bytes */
void copies_erased(struct partition *p);
void copies_part(struct partition *p, const struct applier_news *n); /* PART, PART_NOT */
void copies_taken(struct partition *p, const struct applier_news *n);
void copies_copied(struct partition *p, uint64_t index);
void copies_failed(struct partition *p);
void copies_turn(struct shard *s);
uint64_t copies_next_ms(const struct shard *s);

/* ---- moves.c */

void move_said(struct partition *p);                    /* another duty */
void move_sealed(struct partition *p, uint64_t sealed); /* by an entry, or a copy; 0: it is not */
void move_written(struct partition *p);                 /* more of it is on disk */
void move_has(struct partition *p, uint64_t number, uint64_t index);
void moves_turn(struct shard *s);
uint64_t moves_next_ms(const struct shard *s);

/* ---- vanish.c */

/* All that this shard has of sessions of it, without a word but to their clients. */
void partition_vanish(struct partition *p);
