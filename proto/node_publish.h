/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_publish: a message on its way to another node, and what became of it there. Pure.
 *
 * The destination finds its subscribers by itself, so none are named; but for groups of shared
 * subscriptions, where the sender has chosen one node of several. A message that names groups is
 * for a member of each of these, and for nobody else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_frame.h"
#include "proto/nodiscard.h"

#define NODE_NO_EXPIRY UINT64_MAX

struct node_publish {
    uint64_t op;             /* the sender's own count, for RESULT; 0: it wants none */
    uint64_t publisher;      /* what the sender calls him, for No Local; 0: the broker itself */
    uint64_t published_ms;   /* by the clock of the node where he is, since 1970 */
    uint64_t expiry_ms;      /* what is left of its interval; NODE_NO_EXPIRY */
    uint64_t stamp;          /* retained: of the write, whose origin is the sender; 0: of none */
    uint64_t generation;     /* of the sender's start, with a stamp */
    uint8_t qos;             /* 0..2, as published */
    bool retain;             /* as published */
    bool stored_only;        /* it goes to no subscribers by this: they get it by another way */
    struct bytes topic;      /* a valid name */
    struct bytes properties; /* as received, checked; without what is the hop's own */
    struct bytes payload;
    struct bytes groups; /* as on the wire, checked; walk them with node_group_next() */
};

/* Its length; out is NULL: that only, else there is room for it. `groups` is made with
 * node_group_encode(). topic.len <= 65,535; the others' lengths <= VARINT_MAX. */
size_t node_publish_encode(uint8_t *out, const struct node_publish *publish);

/*
 * Any bytes are fair input; *publish points into `body`. Checks all that mqtt_decode() checks of a
 * PUBLISH: a client may be sent what is in it.
 */
NODISCARD enum node_err node_publish_decode(struct node_publish *publish, struct bytes body);

/* One more group, "$share/NAME/FILTER", behind those that are there; its length, as above. */
size_t node_group_encode(uint8_t *out, struct bytes group);

/* Takes the next group off *rest (at first: publish->groups); false when there is none left. */
bool node_group_next(struct bytes *rest, struct bytes *group);

/* ---- RESULT: of one or more messages */

#define NODE_RESULT_BYTES 9u /* of each */

struct node_result {
    uint64_t op;
    uint8_t reason; /* enum mqtt_reason: as a PUBACK would have it */
};

/* A whole body for results[0..count); its length, as above. */
size_t node_results_encode(uint8_t *out, const struct node_result *results, size_t count);

/* Any bytes are fair input. *list is to be walked with node_result_next(). */
NODISCARD enum node_err node_results_decode(struct bytes *list, struct bytes body);
bool node_result_next(struct bytes *list, struct node_result *result);
