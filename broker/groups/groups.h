/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups: Raft groups (cluster/consensus) on the shards of this node.
 *
 *   group_propose() ─▶ consensus ── records ─▶ the shard's journal ── one sync for all ─▶ durable
 *                          ║                                                                │
 *                     CONSENSUS frames ══▶ the others' shards             events.applied ◀──┘
 *
 * A group has the number of a partition: 0..63, those of client identifiers, or STORE_META. It
 * lives on one shard of each of its nodes, group_home(), and its records are that shard's
 * journal's. Its messages go without a number by the lane of that shard, or, where the other node
 * has fewer shards, by another's; who gets one for a group of another shard passes it on by mail.
 *
 * What entries come to is the caller's, who keeps it in a checkpoint, and says how far that has
 * come (group_checkpointed()). Entries that are applied, and that the checkpoint does not have, are
 * the tail, which is in memory here. A snapshot of the group is the index that the checkpoint has,
 * and the tail: so it is of use where there is a checkpoint of that index. A server that is sent
 * one and has an older checkpoint stands still (events.copy_wanted), until it has a copy of a later
 * one (group_copied()). How it comes by that is not said here.
 *
 * It promises:
 *   - events.applied is called on each server for the same entries at the same indexes, in order,
 *     from the one behind the checkpoint on; after group_copied() from behind that
 *   - events.leading comes when all that was committed before has been applied here
 *   - what cluster/consensus does; data.durability does not lessen it
 *
 * Owner: the group's home shard; no call may come from another thread. events.applied and .proposed
 * are told from within calls, and may call nothing here but the questions at the end; the others
 * are told in groups_turn(), and may call all but groups_turn() and group_close(). Memory: of a
 * group what consensus has, and the tail, tail_bytes_max, about; at that bound the leader takes no
 * proposals (GROUP_BUSY), and a follower no entries, until the checkpoint has come further.
 * Messages wait in links, in what these have for frames without a number: where one finds no room,
 * or no connection, it is dropped and counted, as Raft sends it again. A node without groups
 * (s->groups is NULL: without a cluster) pays a branch a turn.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/peers/peers.h"
#include "broker/shard/post.h"
#include "cluster/consensus/consensus.h"
#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define GROUPS_SERVERS_MAX 40u /* META's are all members */

struct node;
struct shard;

enum group_err {
    GROUP_OK = 0,
    GROUP_NO_MEMORY,
    GROUP_NO_DISK,    /* nothing is kept, or not on disk: there can be no groups */
    GROUP_CORRUPT,    /* its records are none that are understood */
    GROUP_NOT_LEADER, /* or not yet: after events.leading, until events.following */
    GROUP_BUSY,       /* too much waits: for others, for the disk, for the checkpoint */
    GROUP_TOO_LARGE,  /* more than group_entry_max() */
};

struct groups_events {
    void (*applied)(struct shard *s, unsigned group, uint64_t index, struct bytes entry);
    /* Once for each that was taken; CONSENSUS_COMMITTED: after it was applied. */
    void (*proposed)(struct shard *s, unsigned group, uint64_t ticket, enum consensus_end end);
    void (*leading)(struct shard *s, unsigned group, uint64_t term);
    /* The number of the leader; 0: none is known. Also after `leading`, when that is over. */
    void (*following)(struct shard *s, unsigned group, uint64_t leader);
    /* It stands still until group_copied() of `index` or a later one. from: the number of a server
     * that has it; 0: whoever leads. It may come again, with a later index. */
    void (*copy_wanted)(struct shard *s, unsigned group, uint64_t from, uint64_t index);
    /* What that server has said by group_say_beside(); any bytes. May be NULL. */
    void (*beside)(struct shard *s, unsigned group, uint64_t from, struct bytes body);
};

struct groups_conf {
    const struct groups_events *events; /* outlives the node */
    size_t tail_bytes_max;
    size_t snapshot_bytes_max;       /* of a tail, to be in one; with a longer one there are none */
    struct consensus_conf consensus; /* all but group, self, seed and events */
};

/* All but events. */
struct groups_conf groups_conf_defaults(void);

/* For all shards, which do not run yet. false: no memory. */
NODISCARD bool groups_create(struct node *node, const struct groups_conf *conf);
void shard_groups_destroy(
    struct shard *s); /* the shard runs no more; nothing is told, or written */

/* ---- Groups */

struct groups_server {
    uint64_t number; /* >= 1; in this group, for good */
    struct node_uuid node;
};

struct group_conf {
    const struct groups_server *servers; /* [servers_count], of whom messages are taken */
    unsigned servers_count;              /* <= GROUPS_SERVERS_MAX */
    uint64_t self;
    uint32_t incarnation;  /* of several groups of that number, one after the other: nothing that is
                            * said in one is heard in another */
    bool bootstrap;        /* it begins with those, unless there are records; all of them say so */
    uint64_t checkpointed; /* index that the checkpoint has; 0: none */
    /* With bootstrap: it begins behind what another group of that number has come to, whose last
     * entry that was; 0: with nothing. */
    uint64_t behind_index, behind_term;
    struct bytes first; /* with bootstrap: node_server items, for the roles that those have;
                         * empty: each of `servers` has a vote */
};

unsigned group_home(const struct node *node, unsigned group); /* its shard */
bool group_is_one(unsigned group);                            /* is it a group's number? */

/* It has what the journals have of it. Not open, on its home. */
NODISCARD enum group_err group_open(struct shard *s, unsigned group, const struct group_conf *conf);

/* This node is no server of it any more: what it has promised to the others of the group goes, too.
 * Proposals are told of. Its records are void when store_durable() has come to what is returned. */
uint64_t group_close(struct shard *s, unsigned group);

/* The same of a group that is not open: of what the journals had of it at the start. */
uint64_t group_forget(struct shard *s, unsigned group);

/* Other servers, or at other nodes; those of consensus itself are not changed by this. */
void group_set_servers(struct shard *s, unsigned group, const struct groups_server *servers,
                       unsigned count);

/* entry: not empty; ticket: not UINT64_MAX. GROUP_OK: events.proposed says what becomes of it. */
NODISCARD enum group_err group_propose(struct shard *s, unsigned group, struct bytes entry,
                                       uint64_t ticket);

/* The checkpoint has all up to that index, for good. */
void group_checkpointed(struct shard *s, unsigned group, uint64_t index);

/* After events.copy_wanted: the checkpoint is another one now, of that index. */
void group_copied(struct shard *s, unsigned group, uint64_t index);

/* What was applied has come to nothing that can be kept: it stands still until the next start, as
 * one that has failed. */
void group_give_up(struct shard *s, unsigned group);

/* A body of a PARTITION_COPY frame, which is not the group's own business, for that server, by the
 * way that its messages go. It may be lost. */
void group_say_beside(struct shard *s, unsigned group, uint64_t to, struct bytes body);

/* That server, or, as 0, any, is to lead; it is asked for once. false: nobody was: this one does
 * not lead, or no other could at once. */
NODISCARD bool group_transfer(struct shard *s, unsigned group, uint64_t to);

/* consensus_change(): that server is to have that role. GROUP_NOT_LEADER: nor can a leader change
 * its own. */
NODISCARD enum group_err group_change(struct shard *s, unsigned group, uint64_t number,
                                      enum node_server_role role);

/* ---- Questions */

size_t group_entry_max(const struct shard *s); /* the longest entry */

struct group_state {
    bool is_open, leads, stands_still, failed;
    uint64_t term, leader;    /* leader: 0: none is known */
    uint64_t applied;         /* index */
    uint64_t lease_ms;        /* consensus_lease_ms() */
    size_t tail_bytes;        /* of tail_bytes_max */
    uint64_t committed, last; /* indexes */
};
struct group_state group_state(const struct shard *s, unsigned group);

/* consensus_servers(); 0: it is not open, or stands still. */
size_t group_servers(const struct shard *s, unsigned group, uint8_t *out);

/* ---- Links (remote.c) */

enum link_taken groups_received(struct shard *s, unsigned peer, const struct node_frame *frame);
enum link_taken groups_received_beside(struct shard *s, unsigned peer,
                                       const struct node_frame *frame); /* PARTITION_COPY */
void groups_facts(struct shard *s, const struct peer_facts *facts);

extern post_fn groups_on_message, groups_on_send, groups_on_let_go;

/* ---- The loop */

void groups_turn(struct shard *s);  /* when mail was read, before it is said what is to be kept */
void groups_flush(struct shard *s); /* after that */
uint64_t groups_next_ms(const struct shard *s); /* when the next turn is due; 0: at once */

/* ---- Figures, of now; any thread */

enum groups_gauge {
    GROUPS_LED,
    GROUPS_FOLLOWED,   /* whose leader is known */
    GROUPS_LEADERLESS, /* neither */
    GROUPS_STANDING,   /* still, for want of a copy, or as they have failed */
    GROUPS_TAIL_BYTES,
    GROUPS_GAUGES,
};
uint64_t groups_gauge(const struct node *node, enum groups_gauge gauge);
