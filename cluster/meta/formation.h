/* SPDX-License-Identifier: Apache-2.0 */
/*
 * formation: how nodes that belong to no cluster yet come to be one, or members of one.
 *
 *            ┌─ FORMED by it ◀── all have promised ──┐
 *   EMPTY ───┤ PROPOSED ───────────────────────────── ┘    who has the lowest UUID of initial_size
 *     ▲  │   └─ given up ─▶ EMPTY
 *     │  ├───── PROMISED ── FORMED by who proposed, or any other of them ──▶ FORMED
 *     └──┼──────────┘ ABANDONED by who proposed
 *        └───── WELCOME by a member of a cluster ──▶ FORMED
 *
 * A node promises one formation at a time, and keeps to it until who has proposed it says that it
 * is given up: it alone may say that all have promised, and says only one of the two. So two
 * formations that have a node in common never both come about. Each step is on disk before anybody
 * hears of it; what is said is said again until it is of no use any more, so any message may be
 * lost, doubled, or late.
 *
 * What it does not stand: who has proposed is lost for good, with its volume, after others have
 * promised and before it has said anything to any of them. They wait for it for ever, with empty
 * volumes, which then have to be emptied (formation_waits_for()).
 *
 * Who sees a cluster of its name that is there proposes nothing, and promises nothing: it waits to
 * be welcomed. Which initial_size is right: more than half of the nodes that there will be at the
 * first start, or two parts of a network could each form one.
 *
 * Pure: (state, input, now) in; what is to be sent and written out, by conf.events.
 * Owner: one thread. Memory: what formation_create() takes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/node_meta.h"
#include "proto/nodiscard.h"

struct formation;

enum formation_phase {
    FORMATION_EMPTY = 0,
    FORMATION_PROPOSED = 1,
    FORMATION_PROMISED = 2,
    FORMATION_FORMED = 3, /* for good */
};

struct formation_events {
    /* This is what is to be known after a start, instead of all that was written before; then
     * formation_durable(). Good until it returns. */
    void (*write)(void *context, struct bytes record);
    /* For that node's formation_received(). */
    void (*send)(void *context, struct node_uuid to, struct bytes message);
    void *context;
};

struct formation_conf {
    struct node_uuid self;
    uint8_t random[UUID_BYTES]; /* of this start, and of no other one anywhere */
    unsigned initial_size;      /* 1..NODE_META_FORM_MAX */
    uint64_t again_ms;          /* until something is said again */
    uint64_t patience_ms;       /* until a proposal is given up */
    struct formation_events events;
};

struct formation_conf formation_conf_defaults(void); /* all but self, random, and events */

/* A node of the same name and key, as gossip has it; this one, too. */
struct formation_seen {
    struct node_meta_node node;  /* texts are borrowed */
    struct cluster_uuid cluster; /* it is a member of; none: of none */
};

#define FORMATION_RECORD_MAX 8192u

NODISCARD struct formation *formation_create(const struct formation_conf *conf); /* NULL: memory */
void formation_destroy(struct formation *f);                                     /* NULL is fine */

/* What was written last; before anything else. false: nobody has written that. */
NODISCARD bool formation_recover(struct formation *f, struct bytes record);

uint64_t formation_written(const struct formation *f); /* records, in this start */
void formation_durable(struct formation *f, uint64_t written, uint64_t now_ms);

/* seen: those that live. Call it each second or so, and when there is something new. */
void formation_turn(struct formation *f, const struct formation_seen *seen, unsigned count,
                    uint64_t now_ms);
/* Any bytes are fair input; they come from that node. */
void formation_received(struct formation *f, struct node_uuid from, struct bytes message,
                        uint64_t now_ms);

/* A member of a cluster says so to a node that has been made one: the message, into
 * out[0..NODE_META_HEAD_MAX); its length. */
size_t formation_welcome(uint8_t *out, struct cluster_uuid cluster, uint32_t number);

/* FORMED only when that is on disk; then the others are for good. */
enum formation_phase formation_phase(const struct formation *f);
struct cluster_uuid formation_cluster(const struct formation *f);
uint32_t formation_number(const struct formation *f); /* this node's; >= 1 when FORMED */
/* node_meta_node items of the first members, if this is one of them: number 1, 2, … */
struct bytes formation_members(const struct formation *f);
/* Whose word is waited for: PROMISED; else none. */
struct node_uuid formation_waits_for(const struct formation *f);
