/* SPDX-License-Identifier: Apache-2.0 */
/*
 * difference: what the checkpoint lacks of one shard's sessions and retained messages. It only
 * notes that something is different; what it is, is looked up when it is written (store/capture.h).
 * So what was queued and acknowledged in between leaves no trace.
 *
 * A message body is in the checkpoint once, however many sessions of the shard have it queued:
 * `bodies` knows under which id, of those in memory, so that sessions that read the same one back
 * have it once. How many refer to it the checkpoint counts.
 *
 * Owner: the shard. Memory: 16 to 40 bytes for each thing that has changed, and 64 for each body in
 * the checkpoint and in memory. The bound is the journal's: when it has grown by a segment, all of
 * this is written.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/session/kept.h"
#include "broker/store/changed_topics.h"
#include "cluster/table.h"
#include "proto/nodiscard.h"

struct delivery;
struct message;
struct shard;

/* A delivery that the checkpoint has, and that is otherwise now. */
struct changed_delivery {
    uint64_t serial, number;
    bool gone; /* else: released */
};

struct stored_body {
    struct table_link by_message; /* its address */
    struct table_link by_id;
    struct message *message; /* borrowed: whoever refers to the body has it */
    uint64_t id;
    uint32_t references; /* of this shard's deliveries in the checkpoint that have not gone since */
};

/* What grows. */
struct numbers {
    uint64_t *at;
    size_t count, capacity;
};

struct changed_deliveries {
    struct changed_delivery *at;
    size_t count, capacity;
};

/* Of one checkpoint. */
struct changes {
    struct kept_link sessions; /* struct kept, by `changed` */
    struct changed_topics topics;
    struct changed_topics graves; /* that were or are gone as of a version; shard 0's */
    struct numbers ended;         /* serial numbers of sessions */
    struct changed_deliveries deliveries;
    bool entries; /* there are some that change nothing in it but how far it is */
};

struct difference {
    struct changes now;      /* since the last checkpoint was begun */
    struct table bodies;     /* in the checkpoint; by_message */
    struct table bodies_ids; /* the same, by_id */
};

NODISCARD bool difference_init(struct difference *d); /* false: no memory */
void difference_fini(struct difference *d);

NODISCARD bool changes_init(struct changes *c);
void changes_fini(struct changes *c); /* no session is in it */
bool changes_are_none(const struct changes *c);

/* What is in the lists is done with; much memory for them is given back, and so is that for bodies
 * of which there are none left. */
void changes_are_taken(struct changes *c, struct difference *d);

/* All of `from`, which is empty then; `to` was. */
void changes_move(struct changes *to, struct changes *from);

void numbers_add(struct numbers *n, uint64_t number); /* without memory the process ends */

/* ---- something has changed; nothing of it fails but with the process */

/* A delivery that the checkpoint has of a session that it has not: it was taken in part when the
 * session ended, and the process before the next checkpoint. */
void difference_orphan(struct shard *s, uint64_t serial, uint64_t number);

void difference_session(struct shard *s, struct kept *kept);
void difference_ended(struct shard *s, struct kept *kept); /* its deliveries are still there */
void difference_topic(struct shard *s, struct bytes topic, uint64_t topic_hash);
void difference_grave(struct shard *s, struct bytes topic, uint64_t topic_hash);

/* An entry that says nothing about what a checkpoint has. */
void difference_entry(struct shard *s);

/* Before the delivery goes, or is released. */
void difference_delivery(struct shard *s, struct kept *kept, const struct delivery *d, bool gone);

/* Likewise, of one that is only in the checkpoint (session/backlog.h). */
void difference_delivery_on_disk(struct shard *s, struct kept *kept, uint64_t number);

/* ---- bodies */

/* One reference more to the message's body; *is_new: the checkpoint does not have it. Its id. */
uint64_t difference_body(struct shard *s, struct message *message, bool *is_new);

/* That body, if it is in memory: borrowed; or NULL. */
struct message *difference_message(struct shard *s, uint64_t id);

/* One reference more to the body, which the checkpoint has, under that id. */
void difference_has_body(struct shard *s, struct message *message, uint64_t id);

/* Of a delivery that the checkpoint has, and goes on having: it is not in memory any more. */
void difference_forget(struct shard *s, struct message *message);
