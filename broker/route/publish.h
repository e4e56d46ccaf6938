/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish: one message to all who want it: matched once, on the publisher's shard; then handed over
 * once to each shard that has subscribers, and once to the member chosen of each shared group.
 *
 *   publish_retain() ─▶ publish_route() ─▶ own subscribers: deliver.c
 *   (if RETAIN)                        ├─▶ POST_DELIVER ─▶ theirs
 *                                      └─▶ forward.c ─▶ other nodes
 *
 * A retained message is stored before it is matched, and a subscription is in the index before its
 * retained messages are looked up: so a subscriber gets the message by at least one of the two
 * ways.
 *
 * Owner: the publisher's shard. Order: what one shard publishes in order arrives in order, as every
 * mailbox keeps it (P2).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/shard/post.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct message;
struct retain_job;
struct shard;

/* Those who have a message already that is routed once more (store/revive.c). */
struct route_spares {
    const uint64_t *sessions; /* serial numbers, ascending */
    size_t sessions_count;
    const uint64_t *groups; /* share_name_hash() */
    size_t groups_count;
};

enum retain_result {
    RETAIN_DONE, /* stored, replaced, or deleted */
    RETAIN_FULL, /* limits.retained_messages_max, or no memory: not stored */
    RETAIN_WAIT, /* the job's done() will tell */
};

/* A retained message on its way to the shard that stores it. On the heap; done() frees it. */
struct retain_job {
    void (*done)(struct shard *s, struct retain_job *job, enum retain_result result);
    struct message *message; /* a reference, the job's; in a cluster it becomes another one */
};

/* Stores the message of the job (its RETAIN is set). RETAIN_DONE, _FULL: done() is not called.
 * Where things are kept on disk, done() tells when this one is, unless it is hurried. */
enum retain_result publish_retain(struct shard *s, struct retain_job *job);

/* The job of that shard (or of this one) is done here, for good (route/promise.c). */
void publish_retain_kept(struct shard *s, unsigned from, struct retain_job *job,
                         enum retain_result result);

/* May a message of QoS 1 or 2 not be taken at the moment, since sessions that match it are kept on
 * a disk that refuses? *reason is set then. */
bool publish_is_refused(struct shard *s, const struct message *message, uint8_t *reason);

/* Delivers to all that match; the message stays the caller's. publisher_hash: of the client id, for
 * hash_client. Returns how many filters and groups matched. s->route_waits: the shards that have to
 * keep it, and the other nodes, under s->ticket (route/promise.h). s->route_reason: it is not to
 * be acknowledged. */
size_t publish_route(struct shard *s, struct message *message, uint64_t publisher_hash);

/* What another node has sent, to those of this node alone: to all that match; or, where groups are
 * named (node_publish.h), to a member of each of them, and to nobody else. false: one has none. */
NODISCARD bool publish_arrived(struct shard *s, struct message *message, struct bytes groups);

/* As if that message, of the last publish_arrived(), had to be kept by that shard: it is one of
 * s->route_waits, and has told when all that it was sent before is on disk. */
void publish_wait_for(struct shard *s, unsigned target, struct message *message);

/*
 * To the sessions of that partition alone, which several nodes have, this one leads, and this shard
 * is the home of. QUEUED: an entry that names the operation of that source is on its way; NOBODY:
 * no session has to keep it; NOT_NOW: there is no memory, and nothing has happened.
 */
enum publish_partition {
    PUBLISH_PARTITION_QUEUED,
    PUBLISH_PARTITION_NOBODY,
    PUBLISH_PARTITION_NOT_NOW,
};
NODISCARD enum publish_partition publish_to_partition(struct shard *s, unsigned partition,
                                                      struct message *message, uint64_t stream,
                                                      uint64_t operation);

/* Routes what the shard itself has to say (shard_due()). */
void publish_due(struct shard *s);

/* Drops a few retained messages that have expired; once a second. */
void publish_expire_retained(struct shard *s);

/* How many deliveries a POST_DELIVER or POST_DELIVER_SHARED is, about; at least 1. */
size_t publish_deliveries(struct shard *s, const struct post_head *record);

extern post_fn publish_on_deliver, publish_on_deliver_shared, publish_on_retain,
    publish_on_retained;
