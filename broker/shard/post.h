/* SPDX-License-Identifier: Apache-2.0 */
/*
 * post: mail from one shard to the others, in order, through the mailbox of each pair; what finds
 * its mailbox full waits in a list here, and publishers wait with it (shard_congested()).
 *
 * Owner: the shard. Memory: the mailboxes it receives by (one a sender), and the overflow: what one
 * turn produces, as publishers are held up while there is any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct mailbox;
struct shard;

enum post_type {
    POST_CONNECTION,   /* a connection moves to its session's shard */
    POST_FILTER_ADD,   /* the index's writer shall add a filter for the sender */
    POST_FILTER_ADDED, /* … has done so */
    POST_FILTER_REMOVE,
    POST_SHARE_JOIN,
    POST_SHARE_JOINED,
    POST_SHARE_LEAVE,
    POST_RETAIN,   /* the part's shard shall store a retained message */
    POST_RETAINED, /* … has done so, or refuses */
    POST_REPLAY,   /* the part's shard shall look retained messages up */
    POST_REPLAYED,
    POST_KEPT,           /* what the receiver sent up to a ticket is kept */
    POST_DELIVER,        /* a message for the subscribers of some filters */
    POST_DELIVER_SHARED, /* a message for one member of a group */
    POST_TELL,           /* the other nodes shall know of a subscription (remote/told.h) */
    POST_TOLD,           /* … they do */
    POST_UNTELL,
    POST_PEER_ITEM, /* another node has subscribers for a filter, or none any more (remote/views.h)
                     */
    POST_PEER_MARK, /* all before it is to be found by each match */
    POST_PEER_MARKED, /* … it is */
    POST_FORWARD,     /* a message for another node, by the receiver's lane (remote/forward.h) */
    POST_FORWARDED,   /* that node has what the receiver sent it, up to a ticket */
    POST_REFUSED,     /* … or refuses what was sent under a ticket */
    POST_SKIPPED,     /* a node that is taken for dead has missed something */
    POST_REPLICATE,   /* a retained message of a cluster; to shard 0 (replicated/write.c) */
    POST_REPLICA_PUT, /* … counts, and the topic's shard shall store, or delete it */
    POST_REPLICA_EXPIRED, /* … is expired; to shard 0 */
    POST_REPLICA_MARK,    /* when all before it is on disk, shard 0 is to know */
    POST_GAP,             /* something from another node may be lost (remote/gap.h) */
    POST_CLAIM,         /* a client has come, and asks for its identifier (ownership/ownership.h) */
    POST_UNCLAIM,       /* … is there no more */
    POST_CLAIMED,       /* … has it, or is to go */
    POST_CLEARED,       /* … is over, as another node has the client */
    POST_RELAY_IN,      /* a frame of another node about a connection of the receiver's */
    POST_RELAY_OUT,     /* … for another node, by the receiver's lane */
    POST_RELAY_OVER,    /* connections by the sender's lane to a peer end (relay/relay.h) */
    POST_GROUP_MESSAGE, /* for a group of the receiver's (groups/groups.h) */
    POST_GROUP_SEND,    /* for a group of another node's, by the receiver's lane */
    POST_GROUP_LET_GO,  /* a group has written again what the receiver's journal has of it */
    POST_LED,           /* the sender's partition is led here, or no more; to shard 0 (dispatch/) */
    POST_LEADERS,       /* other nodes lead partitions than before */
    POST_DISPATCH_IN,   /* for the receiver's partitions, or about what it has sent (dispatch/) */
    POST_DISPATCH_OUT,  /* … for another node, by the receiver's lane */
    POST_SUBSCRIBED,    /* a kept session has subscribed; may it be told? To shard 0 */
    POST_VOUCHED,       /* … it may */
    POST_DUTY,          /* what META has the receiver do about a partition (meta/meta_run.h) */
    POST_PREFER,        /* who should lead partitions of the receiver's */
    POST_META_REPORT,   /* what META's leader has to know; to shard 0 */
    POST_TYPES,
};

/* Begins every record. */
struct post_head {
    enum post_type type;
};

struct post_waiting {
    struct post_waiting *next;
    size_t len;
    _Alignas(16) uint8_t record[];
};

struct post_out {
    struct mailbox *box; /* the receiver's; NULL for oneself */
    struct post_waiting *first, *last;
    struct post_waiting *open; /* reserved outside of the mailbox, not yet committed */
    unsigned committed;        /* records in the mailbox that the receiver cannot see yet */
    unsigned shown;            /* by the last post_flush() */
};

struct post {
    struct mailbox **in;  /* [shard_count], owned; NULL at oneself */
    struct post_out *out; /* [shard_count] */
    unsigned overflowed;  /* targets with something waiting */
};

int post_init(struct shard *s, unsigned shard_count,
              size_t mailbox_bytes);                     /* 0, or -1: no memory */
void post_connect(struct shard *from, struct shard *to); /* after all post_init() */
void post_fini(struct shard *s); /* records that were not read are the caller's to have read */

/* Room for one record to `to` (another shard), whose head is already filled in; fill the rest and
 * post_commit(). len <= POST_BYTES_MAX. Never NULL: without memory the process ends with a message,
 * as losing mail would leave the shards disagreeing. */
#define POST_BYTES_MAX 8192u
void *post_reserve(struct shard *s, unsigned to, enum post_type type, size_t len);
void post_commit(struct shard *s, unsigned to);

/* Has nothing been committed since the last post_flush()? */
bool post_is_shown(const struct shard *s);

/* Puts waiting records into mailboxes that have room again, and shows what was committed. Once a
 * turn. Returns a set, 1 << id: who has new mail and is to be told (shard/visit.h). */
NODISCARD uint64_t post_flush(struct shard *s);

/* Calls handle() for the records that have come, of each sender at most `records`, and until they
 * have caused `work` (shard.h); true: there may be more. */
typedef void post_fn(struct shard *s, unsigned from, const struct post_head *record);
bool post_receive(struct shard *s, unsigned records, uint64_t work,
                  post_fn *const handlers[POST_TYPES]);

bool post_is_empty(const struct shard *s); /* nothing has come; any thread may ask */
