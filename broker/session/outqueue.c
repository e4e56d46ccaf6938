/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/outqueue.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/message.h"

#define CAPACITY_MIN  8u
#define PACKET_IDS    65535u
#define CAPACITY_MAX  (1u << 31)
#define CAPACITY_KEPT 32u /* an empty queue keeps a ring of this size while it is in use */

static struct delivery *at_sequence(struct outqueue_ring *r, uint64_t sequence)
{
    return &r->at[sequence & r->mask];
}

static uint16_t packet_id_of(uint64_t number)
{
    return (uint16_t)(number % PACKET_IDS + 1);
}

static size_t more_bytes(const struct delivery_more *more)
{
    return more == NULL ? 0 : sizeof *more + more->identifier_count * sizeof more->identifiers[0];
}

size_t outqueue_delivery_bytes(const struct delivery *d)
{
    return message_bytes(d->message) + more_bytes(delivery_more(d));
}

static void let_go(struct delivery *d)
{
    struct delivery_more *const more = delivery_more(d);
    message_put(d->message);
    if (more != NULL) {
        message_memory_add(-(int64_t)more_bytes(more));
        free(more);
    }
    d->message = NULL;
    d->more = NULL;
    d->of_group = false;
}

static void forget(struct delivery *d)
{
    let_go(d);
    d->state = DELIVERY_DONE;
}

static size_t ring_bytes(uint32_t capacity)
{
    return sizeof(struct outqueue_ring) + capacity * sizeof(struct delivery);
}

/* An empty one, whose first place is to be that one. NULL: no memory. */
static struct outqueue_ring *ring_create(uint32_t capacity, uint64_t place)
{
    struct outqueue_ring *const r = malloc(ring_bytes(capacity));
    if (r != NULL) {
        *r = (struct outqueue_ring){.mask = capacity - 1,
                                    .head = place,
                                    .cursor = place,
                                    .sent_end = place,
                                    .unsent = place,
                                    .tail = place};
        message_memory_add((int64_t)ring_bytes(capacity));
    }
    return r;
}

static void ring_put(struct outqueue *q)
{
    if (q->ring != NULL) {
        message_memory_add(-(int64_t)ring_bytes(q->ring->mask + 1));
        free(q->ring);
        q->ring = NULL;
    }
}

void outqueue_fini(struct outqueue *q)
{
    struct outqueue_ring *const r = q->ring;
    for (uint64_t s = r == NULL ? 0 : r->head; r != NULL && s < r->tail; s++) {
        forget(at_sequence(r, s));
    }
    ring_put(q);
    *q = (struct outqueue){0};
}

void outqueue_rest(struct outqueue *q)
{
    if (outqueue_is_empty(q)) {
        ring_put(q);
    }
}

/* NULL: no memory, and nothing has changed. */
static struct outqueue_ring *grow(struct outqueue *q)
{
    struct outqueue_ring *const r = q->ring;
    if (r == NULL) {
        q->ring = ring_create(CAPACITY_MIN, 0);
        return q->ring;
    }
    struct outqueue_ring *const larger =
        r->mask >= CAPACITY_MAX - 1 ? NULL : ring_create((r->mask + 1) * 2, r->head);
    if (larger == NULL) {
        return NULL;
    }
    for (uint64_t s = r->head; s < r->tail; s++) {
        *at_sequence(larger, s) = *at_sequence(r, s);
    }
    larger->in_flight = r->in_flight;
    larger->cursor = r->cursor;
    larger->sent_end = r->sent_end;
    larger->unsent = r->unsent;
    larger->tail = r->tail;
    larger->waiting_bytes = r->waiting_bytes;
    ring_put(q);
    q->ring = larger;
    return larger;
}

/* The ring, with a place that is free; NULL: no memory. */
static struct outqueue_ring *with_room(struct outqueue *q)
{
    struct outqueue_ring *const r = q->ring;
    return r != NULL && r->tail - r->head <= r->mask ? r : grow(q);
}

enum outqueue_err outqueue_push(struct outqueue *q, const struct delivery *delivery,
                                const struct outqueue_limits *limits)
{
    assert(delivery->message != NULL);
    assert(delivery->qos == 1 || delivery->qos == 2);

    const size_t bytes = outqueue_delivery_bytes(delivery);
    struct outqueue_ring *r = q->ring;
    if (r == NULL) {
        r = grow(q);
    }
    if (r == NULL) {
        return OUTQUEUE_NO_MEMORY;
    }
    const uint64_t waiting = r->tail - r->unsent;
    if (waiting >= limits->messages_max ||
        (waiting > 0 && r->waiting_bytes + bytes > limits->bytes_max)) {
        return OUTQUEUE_FULL;
    }
    if (r->tail - r->head > r->mask) {
        r = grow(q);
        if (r == NULL) {
            return OUTQUEUE_NO_MEMORY;
        }
    }
    struct delivery *d = at_sequence(r, r->tail);
    *d = *delivery;
    d->number = q->next_number++;
    d->state = DELIVERY_WAITING;
    r->tail++;
    r->waiting_bytes += bytes;
    if (delivery_more(d) != NULL) {
        message_memory_add((int64_t)more_bytes(delivery_more(d)));
    }
    return OUTQUEUE_OK;
}

/* Places at the head that are done are given back, and the large ring of an empty queue too. */
static void advance(struct outqueue *q, struct outqueue_ring *r)
{
    while (r->head < r->sent_end && at_sequence(r, r->head)->state == DELIVERY_DONE) {
        r->head++;
    }
    if (r->head == r->sent_end) { /* nothing is under way, and the gap lies before the head */
        r->head = r->sent_end = r->unsent;
    }
    if (r->cursor < r->head) {
        r->cursor = r->head;
    }
    if (r->head == r->tail && r->mask >= CAPACITY_KEPT) {
        ring_put(q);
    }
}

/*
 * What is sent and never acknowledged holds the head in its place, and what waits may be dropped
 * and followed by more for ever: so what waits moves up to what was sent whenever the gap between
 * them is the larger part, which is one move for each that was dropped.
 */
static void close_gap(struct outqueue_ring *r)
{
    const uint64_t gap = r->unsent - r->sent_end;
    if (gap < CAPACITY_MIN || gap <= r->tail - r->unsent) {
        return;
    }
    for (uint64_t s = r->unsent; s < r->tail; s++) {
        *at_sequence(r, s - gap) = *at_sequence(r, s);
    }
    r->unsent -= gap;
    r->tail -= gap;
}

/* Something is done, or does not wait any more. */
static void tidy(struct outqueue *q)
{
    advance(q, q->ring);
    if (q->ring != NULL) {
        close_gap(q->ring);
    }
}

/* The oldest waiting delivery is no longer waiting. */
static void leave_waiting(struct outqueue_ring *r)
{
    assert(r->unsent < r->tail);
    const size_t bytes = outqueue_delivery_bytes(at_sequence(r, r->unsent));
    assert(r->waiting_bytes >= bytes);
    r->waiting_bytes -= bytes;
    r->unsent++;
}

struct delivery *outqueue_oldest(struct outqueue *q)
{
    assert(outqueue_waiting(q) > 0);
    return at_sequence(q->ring, q->ring->unsent);
}

struct delivery *outqueue_waiting_at(struct outqueue *q, uint64_t place)
{
    assert(place < outqueue_waiting(q));
    return at_sequence(q->ring, q->ring->unsent + place);
}

struct delivery *outqueue_newest(struct outqueue *q)
{
    assert(outqueue_waiting(q) > 0);
    return at_sequence(q->ring, q->ring->tail - 1);
}

bool outqueue_drop_oldest(struct outqueue *q)
{
    if (outqueue_waiting(q) == 0) {
        return false;
    }
    struct delivery *d = outqueue_oldest(q);
    leave_waiting(q->ring);
    forget(d);
    tidy(q);
    return true;
}

/* ---- in two parts */

bool outqueue_split(struct outqueue *q, uint64_t keep, struct outqueue *after)
{
    struct outqueue_ring *const all = q->ring;
    struct outqueue_ring *ring = NULL;
    assert(keep < outqueue_waiting(q));
    assert(after->ring == NULL);

    const uint64_t end = all->unsent + keep; /* of what stays */
    uint32_t capacity = CAPACITY_MIN;
    while (capacity < end - all->head) {
        capacity *= 2;
    }
    if (end > all->head) {
        ring = ring_create(capacity, all->head);
        if (ring == NULL) {
            return false;
        }
        ring->in_flight = all->in_flight;
        ring->cursor = all->cursor;
        ring->sent_end = all->sent_end;
        ring->unsent = all->unsent;
        ring->tail = end;
    }
    for (uint64_t s = all->head; s < end; s++) {
        const struct delivery *const d = at_sequence(all, s);
        *at_sequence(ring, s) = *d;
        ring->waiting_bytes += s >= all->unsent ? outqueue_delivery_bytes(d) : 0;
    }
    all->waiting_bytes -= ring == NULL ? 0 : ring->waiting_bytes;
    all->head = all->cursor = all->sent_end = all->unsent = end;
    all->in_flight = 0;
    *after = *q;
    q->ring = ring;
    if (ring != NULL) {
        close_gap(ring);
    }
    return true;
}

bool outqueue_append(struct outqueue *q, const struct delivery *delivery)
{
    assert(delivery->message != NULL);
    assert(outqueue_waiting(q) == 0 || outqueue_newest(q)->number < delivery->number);

    struct outqueue_ring *const r = with_room(q);
    if (r == NULL) {
        return false;
    }
    struct delivery *const d = at_sequence(r, r->tail);
    *d = *delivery;
    d->state = DELIVERY_WAITING;
    r->tail++;
    r->waiting_bytes += outqueue_delivery_bytes(d);
    if (q->next_number <= d->number) {
        q->next_number = d->number + 1;
    }
    message_memory_add((int64_t)more_bytes(delivery_more(d)));
    return true;
}

void outqueue_pop(struct outqueue *q, struct delivery *d)
{
    struct delivery *const oldest = outqueue_oldest(q);
    *d = *oldest;
    leave_waiting(q->ring);
    message_memory_add(-(int64_t)more_bytes(delivery_more(d)));
    *oldest = (struct delivery){.state = DELIVERY_DONE};
    tidy(q);
}

void outqueue_rewind(struct outqueue *q)
{
    if (q->ring != NULL) {
        q->ring->cursor = q->ring->head;
        q->ring->in_flight = 0;
    }
}

struct delivery *outqueue_next(struct outqueue *q, uint32_t receive_maximum, uint16_t *packet_id)
{
    struct outqueue_ring *const r = q->ring;
    if (r == NULL) {
        return NULL;
    }
    while (r->cursor < r->sent_end && at_sequence(r, r->cursor)->state == DELIVERY_DONE) {
        r->cursor++;
    }
    const uint64_t next = r->cursor < r->sent_end ? r->cursor : r->unsent;
    if (next == r->tail || r->in_flight >= receive_maximum) {
        return NULL;
    }
    struct delivery *d = at_sequence(r, next);
    if (r->head < r->sent_end && d->number - at_sequence(r, r->head)->number >= PACKET_IDS) {
        return NULL;
    }
    *packet_id = packet_id_of(d->number);
    return d;
}

void outqueue_sent(struct outqueue *q)
{
    struct outqueue_ring *const r = q->ring;
    if (r->cursor == r->sent_end) {
        struct delivery *from = at_sequence(r, r->unsent);
        struct delivery *to = at_sequence(r, r->sent_end);
        assert(from->state == DELIVERY_WAITING);
        leave_waiting(r);
        if (to != from) { /* over the gap */
            *to = *from;
            *from = (struct delivery){.state = DELIVERY_DONE};
        }
        to->state = DELIVERY_SENT;
        r->sent_end++;
        close_gap(r);
    }
    r->cursor++;
    r->in_flight++;
}

void outqueue_skip(struct outqueue *q)
{
    struct outqueue_ring *const r = q->ring;
    struct delivery *d;
    if (r->cursor == r->sent_end) {
        d = at_sequence(r, r->unsent);
        leave_waiting(r);
    } else {
        d = at_sequence(r, r->cursor);
        r->cursor++;
    }
    forget(d);
    tidy(q);
}

/* Of the places begin .. end - 1, that of the delivery with this number; NULL: none, or it is done.
 * Numbers grow by one at least, so that it is not further from the first than its number is. */
static struct delivery *search(struct outqueue_ring *r, uint64_t begin, uint64_t end,
                               uint64_t number)
{
    if (begin == end || number < at_sequence(r, begin)->number) {
        return NULL;
    }
    const uint64_t offset = number - at_sequence(r, begin)->number;
    uint64_t last = offset < end - begin ? begin + offset : end - 1;
    uint64_t first = begin;
    while (first < last) {
        const uint64_t middle = first + (last - first) / 2;
        if (at_sequence(r, middle)->number < number) {
            first = middle + 1;
        } else {
            last = middle;
        }
    }
    struct delivery *d = at_sequence(r, first);
    return d->number != number || d->state == DELIVERY_DONE ? NULL : d;
}

struct delivery *outqueue_find(struct outqueue *q, uint16_t packet_id)
{
    struct outqueue_ring *const r = q->ring;
    if (packet_id == 0 || r == NULL || r->head == r->sent_end) {
        return NULL;
    }
    const uint64_t first = at_sequence(r, r->head)->number;
    const uint64_t place = first % PACKET_IDS; /* of the first identifier, among all */
    const uint64_t offset = packet_id - 1u + (packet_id > place ? 0 : PACKET_IDS) - place;
    if (offset < r->sent_end - r->head) {
        struct delivery *const d = at_sequence(r, r->head + offset);
        if (d->number == first + offset) { /* as a rule: nothing was left out */
            return d->state == DELIVERY_DONE ? NULL : d;
        }
    }
    return search(r, r->head, r->sent_end, first + offset);
}

struct delivery *outqueue_by_number(struct outqueue *q, uint64_t number)
{
    struct outqueue_ring *const r = q->ring;
    if (r == NULL) {
        return NULL;
    }
    struct delivery *d = search(r, r->head, r->sent_end, number);
    return d != NULL ? d : search(r, r->unsent, r->tail, number);
}

void outqueue_release(struct outqueue *q, struct delivery *d)
{
    (void)q;
    assert(d->qos == 2);
    assert(d->state == DELIVERY_SENT || d->state == DELIVERY_RELEASED);
    let_go(d);
    d->state = DELIVERY_RELEASED;
}

/* The sequence number of a delivery in the ring. */
static uint64_t sequence_of(const struct outqueue_ring *r, const struct delivery *d)
{
    const uint64_t index = (uint64_t)(d - r->at);
    return r->head + ((index - r->head) & r->mask);
}

void outqueue_done(struct outqueue *q, struct delivery *d)
{
    struct outqueue_ring *const r = q->ring;
    assert(d->state == DELIVERY_SENT || d->state == DELIVERY_RELEASED);
    if (sequence_of(r, d) < r->cursor) { /* else it was sent on an earlier connection only */
        assert(r->in_flight > 0);
        r->in_flight--;
    }
    forget(d);
    advance(q, r);
}

/* ---- put together anew: until outqueue_restored(), all of it is as if it had been sent */

bool outqueue_restore(struct outqueue *q, const struct delivery *delivery)
{
    assert(delivery->number >= q->next_number);
    assert(delivery->state == DELIVERY_WAITING || delivery->state == DELIVERY_RELEASED);
    assert((delivery->message == NULL) == (delivery->state == DELIVERY_RELEASED));
    assert(outqueue_waiting(q) == 0);
    assert(q->ring == NULL || q->ring->cursor == q->ring->head);

    struct outqueue_ring *const r = with_room(q);
    if (r == NULL) {
        return false;
    }
    struct delivery *d = at_sequence(r, r->tail);
    *d = *delivery;
    if (d->state == DELIVERY_WAITING) {
        d->state = DELIVERY_SENT;
    }
    q->next_number = d->number + 1;
    r->tail++;
    r->sent_end = r->unsent = r->tail;
    if (delivery_more(d) != NULL) {
        message_memory_add((int64_t)more_bytes(delivery_more(d)));
    }
    return true;
}

/* What was released was sent, and so was what came before it. */
static uint64_t really_sent(struct outqueue *q, uint64_t sent_end)
{
    uint64_t at = 0;
    for (struct delivery *d; (d = outqueue_walk(q, &at)) != NULL;) {
        if (d->state == DELIVERY_RELEASED && d->number >= sent_end) {
            sent_end = d->number + 1;
        }
    }
    return sent_end;
}

void outqueue_restored(struct outqueue *q, uint64_t sent_end)
{
    struct outqueue_ring *const r = q->ring;
    if (r == NULL) {
        return;
    }
    const uint64_t tail = r->tail;
    uint64_t s = r->head;
    sent_end = really_sent(q, sent_end);
    while (s < tail && at_sequence(r, s)->number < sent_end) {
        s++;
    }
    r->sent_end = r->unsent = r->tail = s;
    for (; s < tail; s++) { /* what is done leaves no place among what waits */
        struct delivery *const d = at_sequence(r, s);
        if (d->state != DELIVERY_DONE) {
            d->state = DELIVERY_WAITING;
            r->waiting_bytes += outqueue_delivery_bytes(d);
            *at_sequence(r, r->tail++) = *d;
        }
    }
    advance(q, r);
}

uint64_t outqueue_sent_end(const struct outqueue *q)
{
    struct outqueue_ring *const r = q->ring;
    return outqueue_waiting(q) > 0 ? at_sequence(r, r->unsent)->number : q->next_number;
}

struct delivery *outqueue_walk(struct outqueue *q, uint64_t *at)
{
    struct outqueue_ring *const r = q->ring;
    if (r == NULL) {
        return NULL;
    }
    if (*at < r->head) {
        *at = r->head;
    }
    while (*at < r->tail) {
        struct delivery *d = at_sequence(r, (*at)++);
        if (d->state != DELIVERY_DONE) {
            return d;
        }
    }
    return NULL;
}

uint64_t outqueue_place(struct outqueue *q, uint64_t number)
{
    struct outqueue_ring *const r = q->ring;
    if (r == NULL) {
        return 0;
    }
    const bool waits = r->unsent < r->tail && at_sequence(r, r->unsent)->number <= number;
    uint64_t first = waits ? r->unsent : r->head;
    uint64_t last = waits ? r->tail : r->sent_end;
    while (first < last) {
        const uint64_t middle = first + (last - first) / 2;
        if (at_sequence(r, middle)->number < number) {
            first = middle + 1;
        } else {
            last = middle;
        }
    }
    return first == r->sent_end && !waits ? r->unsent : first;
}

void outqueue_check(const struct outqueue *q)
{
    struct outqueue_ring *const r = q->ring;
    if (r == NULL) {
        return;
    }
    assert(r->head <= r->cursor);
    assert(r->cursor <= r->sent_end);
    assert(r->sent_end <= r->unsent);
    assert(r->unsent <= r->tail);
    assert(r->tail - r->head <= (uint64_t)r->mask + 1);
    if (r->head < r->sent_end) {
        const uint64_t first = at_sequence(r, r->head)->number;
        assert(at_sequence(r, r->sent_end - 1)->number - first < PACKET_IDS);
    }
    assert(r->unsent - r->sent_end <= outqueue_waiting(q) + CAPACITY_MIN);

    uint64_t waiting_bytes = 0;
    uint32_t in_flight = 0;
    uint64_t next = 0; /* the least number that may come */
    for (uint64_t s = r->head; s < r->tail; s++) {
        const struct delivery *d = at_sequence(r, s);
        assert((d->state == DELIVERY_WAITING) == (s >= r->unsent));
        assert(d->state == DELIVERY_DONE || s < r->sent_end || s >= r->unsent);
        assert((d->message != NULL) == (d->state == DELIVERY_WAITING || d->state == DELIVERY_SENT));
        waiting_bytes += d->state == DELIVERY_WAITING ? outqueue_delivery_bytes(d) : 0;
        in_flight += s < r->cursor && d->state != DELIVERY_DONE;
        if (s < r->sent_end || s >= r->unsent) {
            assert(s == r->head || d->number >= next);
            assert(d->number < q->next_number);
            next = d->number + 1;
        }
    }
    assert(waiting_bytes == r->waiting_bytes);
    assert(in_flight == r->in_flight);
}
