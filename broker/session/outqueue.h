/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outqueue: the QoS 1 and 2 deliveries of one session, from their arrival to the client's last
 * acknowledgement, in order (4.3, 4.4, 4.6, 4.9).
 *
 *   done │ sent, awaiting PUBACK, PUBREC or PUBCOMP │ gap │ waiting to be sent │
 *        head                 cursor              sent_end unsent              tail
 *
 * A delivery is numbered when it arrives, and its packet identifier is that number mod 65535, plus
 * 1: a resumed session, also of a process that was started anew, sends the same message under the
 * same identifier without the assignment having been stored, and the window stalls before one could
 * be reused. After a reconnect the cursor goes back to the head, and what was sent before is sent
 * again from there (4.4). The gap is what drop_oldest and expiry leave behind: never more than what
 * waits, and some.
 *
 * Owner: the session, hence its shard. Each entry holds a reference to its message.
 * Memory: 16 bytes, and one ring of entries, which grows with what is in it; that of an empty queue
 * goes when it is large, or when outqueue_rest() says that nothing will come for a while. It and
 * `more` count as memory of messages (message.h).
 * At the bound (outqueue_limits): outqueue_push() says OUTQUEUE_FULL, and the caller's policy
 * decides; only what waits to be sent counts, what was sent is bounded by the receive maximum.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

struct message;

enum delivery_state {
    DELIVERY_WAITING,  /* never sent */
    DELIVERY_SENT,     /* PUBLISH sent, on this connection or an earlier one */
    DELIVERY_RELEASED, /* QoS 2: PUBREC came, PUBREL is owed or sent; the message is given back */
    DELIVERY_DONE,     /* acknowledged, or dropped: only its place is left */
};

/* Subscription identifiers, where one is not enough. */
struct delivery_more {
    uint32_t identifier_count;
    uint32_t identifiers[];
};

struct delivery {
    struct message *message; /* a reference; NULL once released or done */
    uint64_t number;         /* the queue's: grows from one to the next, not always by one */
    union {
        struct delivery_more *more; /* owned; usually NULL */
        uint64_t group_id;          /* of_group: the shared subscription it came by */
    };
    uint32_t identifier; /* the subscription identifier, 0: none (or in `more`) */
    uint8_t qos;         /* 1 or 2 */
    bool retain : 1;     /* the flag to send */
    bool replayed : 1;   /* it was retained before it was asked for */
    uint8_t state;       /* enum delivery_state */
    bool of_group;       /* by a shared subscription: has one identifier at most */
};

/* NULL: no identifier, or `identifier`. */
static inline struct delivery_more *delivery_more(const struct delivery *d)
{
    return d->more == NULL || d->of_group ? NULL : d->more;
}

/* Apart from the queue, as most queues are empty. */
struct outqueue_ring {
    uint32_t mask;                                 /* of places: their number, less one */
    uint32_t in_flight;                            /* sent on this connection, not acknowledged */
    uint64_t head, cursor, sent_end, unsent, tail; /* places that were ever used, in this order */
    uint64_t waiting_bytes;                        /* of the messages and `more` from `unsent` on */
    struct delivery at[];                          /* a place's, at [place & mask] */
};

struct outqueue {
    struct outqueue_ring *ring; /* NULL: it is empty */
    uint64_t next_number;       /* of the delivery that arrives next */
};

enum outqueue_err {
    OUTQUEUE_OK = 0,
    OUTQUEUE_FULL,
    OUTQUEUE_NO_MEMORY,
};

struct outqueue_limits {
    uint32_t messages_max; /* waiting */
    uint64_t bytes_max;    /* waiting */
};

void outqueue_fini(struct outqueue *q); /* gives everything back; empty again */
void outqueue_rest(struct outqueue *q); /* an empty one takes no memory until something comes */

/* Takes over the delivery's reference and `more`, when OUTQUEUE_OK; numbers it. */
NODISCARD enum outqueue_err outqueue_push(struct outqueue *q, const struct delivery *delivery,
                                          const struct outqueue_limits *limits);

/* The oldest that was never sent, and what was pushed last: neither is done, so that it is there.
 */
struct delivery *outqueue_oldest(struct outqueue *q);
struct delivery *outqueue_newest(struct outqueue *q);

/* The how-manyth of those that were never sent, from 0 on; there are more than that. */
struct delivery *outqueue_waiting_at(struct outqueue *q, uint64_t place);

/* Drops the oldest that was never sent (drop_oldest); false: there is none. */
bool outqueue_drop_oldest(struct outqueue *q);

/*
 * A queue in two, for session/backlog.h: all that was never sent, but for the first `keep`, goes to
 * *after, which is empty; there is more than that. It costs what stays. false: no memory.
 */
NODISCARD bool outqueue_split(struct outqueue *q, uint64_t keep, struct outqueue *after);

/* Adds what has a number already, above all that are here, and takes it over; no limit is asked.
 * false: no memory. */
NODISCARD bool outqueue_append(struct outqueue *q, const struct delivery *delivery);

/* Takes away the oldest that was never sent, which is there, with its reference and `more`. */
void outqueue_pop(struct outqueue *q, struct delivery *d);

size_t outqueue_delivery_bytes(const struct delivery *d); /* as limits count it */

/* A connection begins: everything unacknowledged is to be sent (again) from the head. */
void outqueue_rewind(struct outqueue *q);

/*
 * The next delivery to be sent on this connection, or NULL: nothing is left, or the window is
 * closed: `receive_maximum` in flight, or the identifier still in use. *packet_id is its
 * identifier. state tells what is to be sent: PUBLISH (DUP when DELIVERY_SENT) or PUBREL
 * (DELIVERY_RELEASED).
 */
struct delivery *outqueue_next(struct outqueue *q, uint32_t receive_maximum, uint16_t *packet_id);
void outqueue_sent(struct outqueue *q); /* what outqueue_next() gave has been sent */
void outqueue_skip(struct outqueue *q); /* … or is given up: expired, too large */

/* The delivery under that identifier, sent and unacknowledged; NULL: not found. */
struct delivery *outqueue_find(struct outqueue *q, uint16_t packet_id);
void outqueue_release(struct outqueue *q,
                      struct delivery *d);                  /* PUBREC: the message is given back */
void outqueue_done(struct outqueue *q, struct delivery *d); /* PUBACK, PUBCOMP, a failure */

static inline uint64_t outqueue_waiting(const struct outqueue *q)
{
    return q->ring == NULL ? 0 : q->ring->tail - q->ring->unsent;
}

static inline uint64_t outqueue_waiting_bytes(const struct outqueue *q)
{
    return q->ring == NULL ? 0 : q->ring->waiting_bytes;
}

static inline uint32_t outqueue_in_flight(const struct outqueue *q)
{
    return q->ring == NULL ? 0 : q->ring->in_flight;
}

static inline bool outqueue_is_empty(const struct outqueue *q)
{
    return q->ring == NULL || q->ring->tail == q->ring->head;
}

/* The delivery of that number that is not done; NULL: there is none. */
struct delivery *outqueue_by_number(struct outqueue *q, uint64_t number);

/*
 * A queue that is put together anew, from what was stored of it: outqueue_restore() for each
 * delivery, with its number and state, in the order of their numbers; between them, and after,
 * outqueue_done() and outqueue_release() of what was acknowledged since; and at the end
 * outqueue_restored(). Until then it is for nothing else. Limits are not asked for.
 * sent_end: what has a lower number was sent, on some connection.
 */
NODISCARD bool outqueue_restore(struct outqueue *q, const struct delivery *delivery); /* false: no
                                                                                         memory */
void outqueue_restored(struct outqueue *q, uint64_t sent_end);

/* What has a lower number was sent, on some connection. */
uint64_t outqueue_sent_end(const struct outqueue *q);

/* Walks every delivery not done, in order: *at is 0 at first. NULL at the end. */
struct delivery *outqueue_walk(struct outqueue *q, uint64_t *at);

/* Where outqueue_walk() finds the first delivery of that number or a higher one. */
uint64_t outqueue_place(struct outqueue *q, uint64_t number);

void outqueue_check(const struct outqueue *q); /* asserts all that must hold; slow, for tests */
