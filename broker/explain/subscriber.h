/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscriber: the facts about the client that a message is for, as its shard has them.
 *
 * Owner: as an errand (shard/errand.h), of the client's shard. It changes nothing and counts
 * nothing. Memory: itself and three texts. In a turn EXPLAIN_STEPS subscriptions are looked at, or
 * EXPLAIN_NOTES notes of the recorder, and in the last one EXPLAIN_DELIVERIES of the queue: of what
 * is on disk only nothing is read.
 */
#pragma once

#include <netinet/in.h>

#include "broker/explain/facts.h"
#include "broker/shard/errand.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define EXPLAIN_STEPS      512u
#define EXPLAIN_NOTES      2048u
#define EXPLAIN_DELIVERIES 2048u

/* What explain is asked; borrowed by those who copy it. */
struct explain_question {
    struct explain_message message;
    struct bytes topic;      /* a topic name */
    struct bytes client_id;  /* at NULL: only of the publisher */
    struct bytes publisher;  /* its client identifier; at NULL: it is not known */
    struct in6_addr address; /* where who is away would come from; unspecified: not known */
};

struct explain_subscriber {
    struct errand errand;
    struct explain_client found; /* the answer */

    /* ---- its own */
    struct explain_question question;
    bool begun;
    bool notes_read;
    const void *notes; /* the ring that `cursor` is of: the shard may get another meanwhile */
    uint64_t cursor;
    uint32_t left; /* subscriptions to be looked at */
    uint8_t text[];
};

NODISCARD struct explain_subscriber *explain_subscriber_create(const struct explain_question *q);

/* Copies what *q points to into text[], which has room for it, and has *q point there. */
void explain_question_copy(struct explain_question *q, uint8_t *text);
size_t explain_question_bytes(const struct explain_question *q);

/* Into EXPLAIN_TEXT bytes, cut. */
void explain_text_set(char *out, struct bytes text);
