/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unfinished: what the journals have the beginning of and not the end, when they are read at a
 * start: exchanges of QoS 2 from kept sessions, and wills of kept sessions.
 *
 *   exchange   QUEUED names it; RECEIVED ends it: who asks knows of which sessions that is there
 *   will       WILL_DUE begins it; QUEUED and WILL_RETAINED name it; WILL_GONE ends it
 *
 * The journals of the shards are read one after the other, so that these come in any order. QUEUED
 * is the evidence of who has the message already.
 *
 * Owner: main, before the shards run. Memory: an item and a message for each that the journals
 * tell of, and 8 bytes for each recipient, until unfinished_fini(). Without memory the process ends
 * with a message.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/difference.h"
#include "cluster/table.h"
#include "proto/nodiscard.h"

struct entry;
struct message;

struct unfinished {
    struct table_link by_origin;
    struct message *message; /* a reference; NULL: of a will that is not due by what is known */
    uint64_t origin;         /* the session's serial number */
    uint64_t exchange;       /* or the will's number */
    struct numbers sessions; /* serial numbers: that have it; ascending in unfinished_each() */
    struct numbers groups;   /* share_name_hash() of those that have */
    uint16_t packet_id;      /* 0: it is a will */
    bool is_due, is_gone, is_retained; /* of a will: which entries there are */
};

NODISCARD bool unfinished_init(struct table *all); /* false: no memory */
void unfinished_fini(struct table *all);

/* A QUEUED that has an origin, of that message; who is in it has it. Takes a reference. */
void unfinished_queued(struct table *all, const struct entry *e, struct message *m);

/* WILL_DUE, of that message, takes a reference; WILL_RETAINED, WILL_GONE: m is NULL. */
void unfinished_will(struct table *all, const struct entry *e, struct message *m);

static inline bool unfinished_is_will(const struct unfinished *x)
{
    return x->packet_id == 0;
}

/* Each exchange, and each will that is due and not gone: those of one session in the order in which
 * they were begun, which is that of their messages, and exchanges before wills. It is empty then.
 */
typedef void unfinished_fn(void *context, struct unfinished *x);
void unfinished_each(struct table *all, unfinished_fn *fn, void *context);
