/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publication: a message of the operator's, to all who want it; or the end of a retained one. For a
 * thread that is no shard's.
 *
 * The answer comes when what has to be kept of it is on disk, as for a client's PUBACK. No rules
 * are asked: whoever sends it may. Where publishers would have to wait for room, it is refused.
 *
 * Owner: as an errand (shard/errand.h), of the shard that keeps the topic's retained messages: so
 * what is sent to one topic one after the other arrives in that order. Memory: a reference to the
 * message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/route/publish.h"
#include "broker/shard/errand.h"
#include "proto/nodiscard.h"

struct message;
struct node;

enum publication_result {
    PUBLICATION_DONE,
    PUBLICATION_CONGESTED,  /* mail, memory, or the disk is full, or refuses */
    PUBLICATION_NOT_STORED, /* it was not retained, for want of room; and given to nobody */
    PUBLICATION_REFUSED,    /* by another node that has subscribers; others have it */
};

struct publication {
    struct errand errand;
    struct retain_job job;
    struct message *message;
    bool route; /* to those who are subscribed; otherwise it is retained, or deleted, alone */
    enum publication_phase {
        PUBLICATION_BEGINS,
        PUBLICATION_STORING, /* the job is under way */
        PUBLICATION_STORED,
        PUBLICATION_ROUTED, /* and not on disk everywhere */
    } phase;
    uint64_t waits, ticket;   /* for those targets, 1 << id, to have kept that ticket */
    struct publication *next; /* ROUTED: in s->publications */

    enum publication_result result;
    size_t matched; /* filters and groups */
};

/* Takes the reference, also when it gives NULL: no memory. The errand is for
 * publication_shard(). */
NODISCARD struct publication *publication_create(struct message *message, bool route);
/* Another node refuses what was routed under the ticket; false: it was none of these. */
bool publication_refused(struct shard *s, uint64_t ticket);
void publications_fini(struct shard *s); /* the shard runs no more */

struct shard *publication_shard(const struct node *node, const struct message *message);
