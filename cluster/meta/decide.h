/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decide: what the leader of META should propose next, by what META has said, who lives, and what
 * members report. Whoever leads asks again and again: a command that was lost, or that another
 * leader has proposed too, is refused or asked for anew, and nothing has to be remembered.
 *
 *   who lives (gossip) ─┐
 *   reports ────────────┼─▶ meta_decide() ─▶ commands, a change of META's servers, another leader
 *   META's state ───────┘
 *
 * What it goes by:
 *   - who has been alive for join_ms, and is no member, becomes one; and a server of META's group
 *   - voters of META are an odd number of members, voters_max at most, as rendezvous has those that
 *     have not been dead for dead_ms, and others while these are too few; the rest is standby: they
 *     have META's log, and no vote
 *   - a partition that has a replica at a member that leaves or was removed, or has fewer than it
 *     could, moves at once, to members that live; any other one to where rendezvous wants it, when
 *     all members have lived for stable_ms
 *   - a move whose target is dead for dead_ms goes elsewhere
 *   - moves_max moves at a time
 *   - a dead member leaves that others have forgotten, as an operator has said so; and one that is
 *     dead for dead_ms while another node of its name lives: its volume is lost
 *   - a member that leaves and has nothing any more is removed; one that is dead for
 *     remove_after_ms too, unless that is 0
 *   - while most members are dead, as far as the leader has heard, nothing is taken from anybody
 *
 * Pure. Owner: who leads META. Memory: the caller's; nothing is kept.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cluster/meta/meta.h"
#include "proto/node_consensus.h"

/* A node of the cluster, as gossip has it. */
struct meta_seen {
    struct node_meta_node node; /* texts are borrowed */
    bool is_alive;
    uint64_t since_ms; /* alive, or dead */
};

/* What members have reported of one partition. */
struct meta_reported {
    uint32_t incarnation; /* that `sealed` is about */
    uint64_t sealed;      /* 0: nobody has said so */
    uint64_t moved;       /* that `held` is about */
    struct node_replicas held;
};

struct meta_reports {
    struct meta_reported at[NODE_META_PARTITIONS];
};

/* Takes node_report items of that member; what is over, or not known, is passed over. */
void meta_reports_take(struct meta_reports *reports, const struct meta_state *state,
                       uint32_t number, struct bytes items);

struct meta_view {
    uint64_t now_ms;
    uint32_t self;
    const struct meta_seen *seen; /* [seen_count]; who is not in it is dead since 0 */
    unsigned seen_count;
    const struct node_uuid *forgotten; /* [forgotten_count] */
    unsigned forgotten_count;
    const struct meta_reports *reports;
    struct bytes servers; /* of META's group: node_server items */
    /* What is to be said first of all, in a log that is empty. NULL: nothing is known. */
    const struct node_meta_command *form;
};

struct meta_limits {
    uint64_t join_ms, stable_ms, dead_ms;
    uint64_t remove_after_ms; /* 0: never by itself */
    unsigned moves_max, voters_max;
};

struct meta_limits meta_limits_defaults(void);

#define META_DECIDED_MAX 16u

struct meta_decision {
    unsigned count;
    struct node_meta_command commands[META_DECIDED_MAX]; /* items point into `items` */
    uint32_t change; /* the member whose role in META's group is to be another one; 0: none */
    enum node_server_role role;
    uint32_t lead; /* who should lead META instead of this member; 0: it is fine */
    uint8_t items[META_DECIDED_MAX][NODE_META_NODE_MAX];
};

/* The servers that META's group begins with, of the first members (formation_members()):
 * node_server items, into out[0..NODE_META_FORM_MAX * NODE_SERVER_BYTES); the length. */
size_t meta_first_servers(uint8_t *out, struct bytes members, unsigned voters_max);

void meta_decide(struct meta_decision *decision, const struct meta_state *state,
                 const struct meta_view *view, const struct meta_limits *limits);
