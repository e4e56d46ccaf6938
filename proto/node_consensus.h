/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_consensus: what the servers of a Raft group say to each other (Ongaro, "Consensus: Bridging
 * Theory and Practice", 2014, figure 3.1 and chapters 5 and 9.6), and what they keep of it. Pure.
 *
 * What it is for is told in cluster/consensus.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

/* Given once and for all. */
enum node_consensus_kind {
    NODE_APPEND = 1,
    NODE_APPENDED = 2,
    NODE_VOTE = 3,
    NODE_VOTED = 4,
    NODE_INSTALL = 5,
    NODE_TIMEOUT_NOW = 6,
};

enum {
    NODE_CONSENSUS_PRE_VOTE = 1 << 0, /* VOTE, VOTED: it only asks whether it would be elected */
    NODE_CONSENSUS_DISRUPT = 1 << 1,  /* VOTE: the leader has asked for it */
    NODE_CONSENSUS_GRANTED = 1 << 2,  /* VOTED */
};

struct node_consensus {
    uint8_t kind;
    uint8_t flags;
    uint64_t group;
    uint64_t term; /* >= 1 */
    /* An entry: VOTE, TIMEOUT_NOW: the sender's last; APPEND: the one before those that follow;
     * APPENDED: the sender's last; INSTALL: the last that the snapshot has. */
    uint64_t index, index_term;
    /* APPEND: what is committed; APPENDED: the entry that was refused, or 0; INSTALL: that of the
     * configuration. */
    uint64_t other;
    /* APPEND: a time of the sender's, of no meaning to others; APPENDED: that of the latest APPEND
     * of this term that the sender has taken; 0: there is none. */
    uint64_t sent_ms;
    struct bytes configuration; /* INSTALL: of node_server items */
    struct bytes data;          /* APPEND: of node_entry items; INSTALL: the snapshot */
};

#define NODE_CONSENSUS_HEAD_MAX 72u /* of a body, without its configuration and data */
#define NODE_ENTRY_BYTES        16u /* of an entry, without its data */
#define NODE_SERVER_BYTES       9u
#define NODE_ENTRY_TYPES        3u /* a command, a barrier, a configuration: 1, 2, 3 */
#define NODE_SERVER_ROLES       3u /* that an item may have: 0, 1, 2 */

/*
 *    0  u64  term, >= 1
 *    8  u8   type
 *    9       0, 0, 0
 *   12  u32  length
 *   16       data
 */
struct node_entry {
    uint64_t term;
    uint8_t type;
    struct bytes data;
};

enum node_server_role {
    NODE_SERVER_STANDBY = 0, /* has the log, and no vote */
    NODE_SERVER_VOTER = 1,
    NODE_SERVER_SPARE = 2, /* is only known */
    NODE_SERVER_NONE = 3,  /* no item has it: it is no server */
};

struct node_server {
    uint64_t id;  /* >= 1 */
    uint8_t role; /* of enum node_server_role, but for NONE */
};

/* Their lengths; there is room. */
size_t node_entry_encode(uint8_t *out, const struct node_entry *entry);
size_t node_server_encode(uint8_t *out, const struct node_server *server);

/* Take the next one off *rest; false: there is none left, or it is malformed. */
NODISCARD bool node_entry_next(struct bytes *rest, struct node_entry *entry);
NODISCARD bool node_server_next(struct bytes *rest, struct node_server *server);

/* Are these entries, one behind the other? */
NODISCARD bool node_entries_check(struct bytes entries, uint32_t *count);
NODISCARD bool node_servers_check(struct bytes servers, uint32_t *count);

/* The length of a body; out may be NULL. */
size_t node_consensus_encode(uint8_t *out, const struct node_consensus *message);

/* Any bytes are fair input; what is decoded points into `body`, and its items have been checked. */
NODISCARD enum node_err node_consensus_decode(struct node_consensus *message, struct bytes body);
