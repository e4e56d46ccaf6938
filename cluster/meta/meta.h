/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta: what META's log comes to: who is a member of the cluster, and which members have which of
 * the 64 partitions. One state on all members, at each index of that log.
 *
 *   command ─▶ consensus ══▶ meta_apply() on each member ─▶ meta_duty(): what it has to do
 *
 * Replicas of a partition never change while it runs. It moves by incarnations, each a group of its
 * own, with a log of its own:
 *
 *   STEADY ── MOVE(to) ──▶ COPYING ── SEALED ──▶ SEALED ── STARTED ──▶ STEADY, next incarnation
 *    i runs                 i runs;     nothing    i takes nothing;      i + 1 runs, on `to`;
 *                           the others  commits    the others copy       others forget
 *                           copy ahead  in i any   what was sealed
 *                                       more
 *
 * i was sealed by an entry of its own log, so by a majority; i + 1 does not run before META's log
 * says STARTED, and that is proposed when a majority of `to` has, durably, all that i came to. So
 * the two never both commit, and until then a move can go somewhere else, or back.
 *
 * Pure: no clock, no chance, no memory of its own.
 * Owner: whoever has the state; a plain value of some 40 KiB.
 * At the bound: members_max are META_FULL. Of those that were removed the last META_REMOVED_MAX
 * are known; an older one that comes back becomes a member anew, with another number.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/node_meta.h"
#include "proto/nodiscard.h"

#define META_MEMBERS_MAX 128u
#define META_REMOVED_MAX 256u

enum meta_member_state {
    META_MEMBER = 0,
    META_LEAVING = 1, /* gets nothing more; what it has moves away, and then it is removed */
};

struct meta_member {
    uint32_t number; /* >= 1; nobody else ever has it: the id in all groups */
    uint32_t features;
    struct node_uuid uuid;
    uint8_t state; /* of enum meta_member_state */
    uint8_t name_len, zone_len;
    uint8_t name[NODE_NAME_MAX], zone[NODE_META_ZONE_MAX];
};

struct meta_removed {
    uint32_t number;
    struct node_uuid uuid;
};

enum meta_step {
    META_STEADY = 0,
    META_COPYING = 1,
    META_SEALED = 2,
};

const char *meta_step_text(uint8_t step); /* "steady", … */

struct meta_partition {
    uint32_t incarnation; /* that runs, or was sealed; >= 1 */
    uint8_t step;         /* of enum meta_step */
    struct node_replicas replicas;
    uint64_t changed;        /* index in META of the last command that has changed it */
    uint64_t began;          /* where the incarnation before was sealed; 0: there was none */
    struct node_replicas to; /* not STEADY */
    uint64_t moved;          /* index in META of the MOVE; 0: STEADY */
    uint64_t sealed;         /* SEALED: index in the incarnation's log; else 0 */
};

struct meta_state {
    struct cluster_uuid cluster; /* none: nothing was applied */
    uint32_t next_number;
    uint32_t level;   /* of features, that all members know */
    uint8_t replicas; /* how many each partition is to have: 1, 3, 5 */
    unsigned members_count, removed_count;
    struct meta_member members[META_MEMBERS_MAX];  /* by number */
    struct meta_removed removed[META_REMOVED_MAX]; /* by number */
    struct meta_partition partitions[NODE_META_PARTITIONS];
};

/* What a command has come to. Only META_APPLIED has changed something. */
enum meta_outcome {
    META_APPLIED = 0,
    META_SAME,           /* it is so already */
    META_MALFORMED,      /* these bytes are no command */
    META_UNKNOWN,        /* of a later version */
    META_NOT_FORMED,     /* the first command is FORM */
    META_FORMED,         /* and it comes once */
    META_NO_MEMBER,      /* nobody has that number */
    META_WAS_REMOVED,    /* that node does not come back: its volume has to be another one */
    META_FULL,           /* members_max */
    META_LAST,           /* nobody else would be left */
    META_TOO_OLD,        /* the node does not know the level of features that is in force */
    META_NOT_ALL_KNOW,   /* that level, or it is not a higher one */
    META_NO_PARTITION,   /* 0..63 */
    META_OTHER_MOVE,     /* it is about an incarnation, or a move, that is over */
    META_WRONG_STEP,     /* not in the state that the partition is in */
    META_UNFIT_REPLICAS, /* not members, or leaving, or too many, or not a number of them */
    META_OUTCOMES,
};

/* "SAME", …; for logs. */
const char *meta_outcome_text(enum meta_outcome outcome);

void meta_init(struct meta_state *state);

/* Applies what stands at `index` of META's log. Any bytes are fair input. */
enum meta_outcome meta_apply(struct meta_state *state, struct bytes entry, uint64_t index);

/* NULL: nobody. */
const struct meta_member *meta_member_of(const struct meta_state *state, uint32_t number);
const struct meta_member *meta_member_by_uuid(const struct meta_state *state,
                                              struct node_uuid uuid);
bool meta_was_removed(const struct meta_state *state, struct node_uuid uuid);
/* How many replicas a partition can have now: as many as it should, or as are there. */
unsigned meta_replicas_possible(const struct meta_state *state);

/* ---- The whole, as bytes: META's snapshot */

size_t meta_encode(const struct meta_state *state, uint8_t *out); /* the length; NULL: only that */
/* Any bytes are fair input. false: they are no state, and *state is as it was begun. */
NODISCARD bool meta_decode(struct meta_state *state, struct bytes in);
/* Of the bytes: two states have the same one if they are the same. */
NODISCARD bool meta_hash(const struct meta_state *state, uint64_t *hash); /* false: no memory */

/*
 * ---- What a member has to do about a partition, by what META has said so far.
 *
 * After a start META's log is read again, and says for a while what is over: to forget what was
 * copied since, or to begin what was forgotten. So the highest `changed` that was gone by is kept,
 * durably, beside what there is of the partition, also if that is nothing; and nothing is done by a
 * duty of a lower one.
 */

struct meta_duty {
    uint64_t changed; /* see above */

    /* Serve this incarnation, a group of `servers`, which begins with what was sealed at `begins`
     * of the one before, by whom has that: who lacks it copies it first. 0: serve none. */
    uint32_t run;
    struct node_replicas servers;
    uint64_t begins; /* 0: with nothing */

    /* Lead it to its end: propose SEAL when those of `to` who do not serve have a copy. */
    bool seal;
    /* It has ended: serve it on to those who lack the end of it, and take nothing. */
    bool sealed;
    struct node_replicas to; /* of whom the next one will be; if seal or sealed */

    /* Copy what incarnation `copy` came to from whoever of `from` has it; report HELD when it is
     * durable, if copy_sealed. 0: nothing is to be copied. */
    uint32_t copy;
    bool copy_sealed; /* all of it, up to copy_index; false: as much as there is, ahead of time */
    uint64_t copy_index;       /* of its SEAL */
    uint64_t moved;            /* for the report */
    struct node_replicas from; /* others that have it, or may */

    bool forget; /* keep nothing of it */
};

struct meta_duty meta_duty(const struct meta_state *state, uint32_t self, unsigned partition);
