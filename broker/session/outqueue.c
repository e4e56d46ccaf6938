/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/outqueue.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/message.h"

#define CAPACITY_MIN  8u
#define PACKET_IDS    65535u
#define CAPACITY_MAX  (1u << 31)
#define CAPACITY_KEPT 32u /* an empty queue keeps a ring of this size while it is in use */

static struct delivery *at_sequence(const struct outqueue *q, uint64_t sequence)
{
    return &q->ring[sequence & (q->capacity - 1)];
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

static void ring_put(struct outqueue *q)
{
    message_memory_add(-(int64_t)(q->capacity * sizeof *q->ring));
    free(q->ring);
    q->ring = NULL;
    q->capacity = 0;
}

void outqueue_fini(struct outqueue *q)
{
    for (uint64_t s = q->head; s < q->tail; s++) {
        forget(at_sequence(q, s));
    }
    ring_put(q);
    *q = (struct outqueue){0};
}

static bool grow(struct outqueue *q)
{
    if (q->capacity == CAPACITY_MAX) {
        return false;
    }
    const uint32_t capacity = q->capacity == 0 ? CAPACITY_MIN : q->capacity * 2;
    struct delivery *ring = malloc(capacity * sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (uint64_t s = q->head; s < q->tail; s++) {
        ring[s & (capacity - 1)] = *at_sequence(q, s);
    }
    ring_put(q);
    q->ring = ring;
    q->capacity = capacity;
    message_memory_add((int64_t)(capacity * sizeof *ring));
    return true;
}

enum outqueue_err outqueue_push(struct outqueue *q, const struct delivery *delivery,
                                const struct outqueue_limits *limits)
{
    assert(delivery->message != NULL);
    assert(delivery->qos == 1 || delivery->qos == 2);

    const size_t bytes = outqueue_delivery_bytes(delivery);
    if (outqueue_waiting(q) >= limits->messages_max ||
        (outqueue_waiting(q) > 0 && q->waiting_bytes + bytes > limits->bytes_max)) {
        return OUTQUEUE_FULL;
    }
    if (q->tail - q->head == q->capacity && !grow(q)) {
        return OUTQUEUE_NO_MEMORY;
    }
    struct delivery *d = at_sequence(q, q->tail);
    *d = *delivery;
    d->number = q->next_number++;
    d->state = DELIVERY_WAITING;
    q->tail++;
    q->waiting_bytes += bytes;
    if (delivery_more(d) != NULL) {
        message_memory_add((int64_t)more_bytes(delivery_more(d)));
    }
    return OUTQUEUE_OK;
}

/* Places at the head that are done are given back, and the ring of an empty queue too. */
static void advance(struct outqueue *q)
{
    while (q->head < q->sent_end && at_sequence(q, q->head)->state == DELIVERY_DONE) {
        q->head++;
    }
    if (q->head == q->sent_end) { /* nothing is under way, and the gap lies before the head */
        q->head = q->sent_end = q->unsent;
    }
    if (q->cursor < q->head) {
        q->cursor = q->head;
    }
    if (q->head == q->tail && q->capacity > CAPACITY_KEPT) {
        ring_put(q);
    }
}

/*
 * What is sent and never acknowledged holds the head in its place, and what waits may be dropped
 * and followed by more for ever: so what waits moves up to what was sent whenever the gap between
 * them is the larger part, which is one move for each that was dropped.
 */
static void close_gap(struct outqueue *q)
{
    const uint64_t gap = q->unsent - q->sent_end;
    if (gap < CAPACITY_MIN || gap <= outqueue_waiting(q)) {
        return;
    }
    for (uint64_t s = q->unsent; s < q->tail; s++) {
        *at_sequence(q, s - gap) = *at_sequence(q, s);
    }
    q->unsent -= gap;
    q->tail -= gap;
}

/* The oldest waiting delivery is no longer waiting. */
static void leave_waiting(struct outqueue *q)
{
    assert(q->unsent < q->tail);
    const size_t bytes = outqueue_delivery_bytes(at_sequence(q, q->unsent));
    assert(q->waiting_bytes >= bytes);
    q->waiting_bytes -= bytes;
    q->unsent++;
}

struct delivery *outqueue_oldest(struct outqueue *q)
{
    assert(q->unsent < q->tail);
    return at_sequence(q, q->unsent);
}

struct delivery *outqueue_waiting_at(struct outqueue *q, uint64_t place)
{
    assert(q->unsent + place < q->tail);
    return at_sequence(q, q->unsent + place);
}

struct delivery *outqueue_newest(struct outqueue *q)
{
    assert(q->unsent < q->tail);
    return at_sequence(q, q->tail - 1);
}

bool outqueue_drop_oldest(struct outqueue *q)
{
    if (q->unsent == q->tail) {
        return false;
    }
    struct delivery *d = at_sequence(q, q->unsent);
    leave_waiting(q);
    forget(d);
    advance(q);
    close_gap(q);
    return true;
}

/* ---- in two parts */

bool outqueue_split(struct outqueue *q, uint64_t keep, struct outqueue *after)
{
    const uint64_t end = q->unsent + keep; /* of what stays */
    uint32_t capacity = 0;
    uint64_t kept_bytes = 0;
    assert(end < q->tail);
    assert(after->capacity == 0);

    while (capacity < end - q->head) {
        capacity = capacity == 0 ? CAPACITY_MIN : capacity * 2;
    }
    struct delivery *const ring = capacity == 0 ? NULL : malloc(capacity * sizeof *ring);
    if (ring == NULL && capacity > 0) {
        return false;
    }
    for (uint64_t s = q->head; ring != NULL && s < end; s++) {
        const struct delivery *const d = at_sequence(q, s);
        ring[s & (capacity - 1)] = *d;
        kept_bytes += s >= q->unsent ? outqueue_delivery_bytes(d) : 0;
    }
    *after = (struct outqueue){.ring = q->ring,
                               .capacity = q->capacity,
                               .head = end,
                               .cursor = end,
                               .sent_end = end,
                               .unsent = end,
                               .tail = q->tail,
                               .next_number = q->next_number,
                               .waiting_bytes = q->waiting_bytes - kept_bytes};
    q->ring = ring;
    q->capacity = capacity;
    q->tail = end;
    q->waiting_bytes = kept_bytes;
    message_memory_add((int64_t)(capacity * sizeof *ring));
    close_gap(q);
    return true;
}

bool outqueue_append(struct outqueue *q, const struct delivery *delivery)
{
    assert(delivery->message != NULL);
    assert(q->unsent == q->tail || at_sequence(q, q->tail - 1)->number < delivery->number);

    if (q->tail - q->head == q->capacity && !grow(q)) {
        return false;
    }
    struct delivery *const d = at_sequence(q, q->tail);
    *d = *delivery;
    d->state = DELIVERY_WAITING;
    q->tail++;
    q->waiting_bytes += outqueue_delivery_bytes(d);
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
    leave_waiting(q);
    message_memory_add(-(int64_t)more_bytes(delivery_more(d)));
    *oldest = (struct delivery){.state = DELIVERY_DONE};
    advance(q);
    close_gap(q);
}

void outqueue_rewind(struct outqueue *q)
{
    q->cursor = q->head;
    q->in_flight = 0;
}

struct delivery *outqueue_next(struct outqueue *q, uint32_t receive_maximum, uint16_t *packet_id)
{
    while (q->cursor < q->sent_end && at_sequence(q, q->cursor)->state == DELIVERY_DONE) {
        q->cursor++;
    }
    const uint64_t next = q->cursor < q->sent_end ? q->cursor : q->unsent;
    if (next == q->tail || q->in_flight >= receive_maximum) {
        return NULL;
    }
    struct delivery *d = at_sequence(q, next);
    if (q->head < q->sent_end && d->number - at_sequence(q, q->head)->number >= PACKET_IDS) {
        return NULL;
    }
    *packet_id = packet_id_of(d->number);
    return d;
}

void outqueue_sent(struct outqueue *q)
{
    if (q->cursor == q->sent_end) {
        struct delivery *from = at_sequence(q, q->unsent);
        struct delivery *to = at_sequence(q, q->sent_end);
        assert(from->state == DELIVERY_WAITING);
        leave_waiting(q);
        if (to != from) { /* over the gap */
            *to = *from;
            *from = (struct delivery){.state = DELIVERY_DONE};
        }
        to->state = DELIVERY_SENT;
        q->sent_end++;
        close_gap(q);
    }
    q->cursor++;
    q->in_flight++;
}

void outqueue_skip(struct outqueue *q)
{
    struct delivery *d;
    if (q->cursor == q->sent_end) {
        d = at_sequence(q, q->unsent);
        leave_waiting(q);
    } else {
        d = at_sequence(q, q->cursor);
        q->cursor++;
    }
    forget(d);
    advance(q);
    close_gap(q);
}

/* Of the places begin .. end - 1, that of the delivery with this number; NULL: none, or it is done.
 * Numbers grow by one at least, so that it is not further from the first than its number is. */
static struct delivery *search(struct outqueue *q, uint64_t begin, uint64_t end, uint64_t number)
{
    if (begin == end || number < at_sequence(q, begin)->number) {
        return NULL;
    }
    const uint64_t offset = number - at_sequence(q, begin)->number;
    uint64_t last = offset < end - begin ? begin + offset : end - 1;
    uint64_t first = begin;
    if (at_sequence(q, last)->number == number) { /* as a rule: nothing was left out */
        first = last;
    }
    while (first < last) {
        const uint64_t middle = first + (last - first) / 2;
        if (at_sequence(q, middle)->number < number) {
            first = middle + 1;
        } else {
            last = middle;
        }
    }
    struct delivery *d = at_sequence(q, first);
    return d->number != number || d->state == DELIVERY_DONE ? NULL : d;
}

struct delivery *outqueue_find(struct outqueue *q, uint16_t packet_id)
{
    if (packet_id == 0 || q->head == q->sent_end) {
        return NULL;
    }
    const uint64_t first = at_sequence(q, q->head)->number;
    const uint64_t offset = (packet_id - 1u + PACKET_IDS - first % PACKET_IDS) % PACKET_IDS;
    return search(q, q->head, q->sent_end, first + offset);
}

struct delivery *outqueue_by_number(struct outqueue *q, uint64_t number)
{
    struct delivery *d = search(q, q->head, q->sent_end, number);
    return d != NULL ? d : search(q, q->unsent, q->tail, number);
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
static uint64_t sequence_of(const struct outqueue *q, const struct delivery *d)
{
    const uint64_t index = (uint64_t)(d - q->ring);
    return q->head + ((index - q->head) & (q->capacity - 1));
}

void outqueue_done(struct outqueue *q, struct delivery *d)
{
    assert(d->state == DELIVERY_SENT || d->state == DELIVERY_RELEASED);
    if (sequence_of(q, d) < q->cursor) { /* else it was sent on an earlier connection only */
        assert(q->in_flight > 0);
        q->in_flight--;
    }
    forget(d);
    advance(q);
}

/* ---- put together anew: until outqueue_restored(), all of it is as if it had been sent */

bool outqueue_restore(struct outqueue *q, const struct delivery *delivery)
{
    assert(delivery->number >= q->next_number);
    assert(delivery->state == DELIVERY_WAITING || delivery->state == DELIVERY_RELEASED);
    assert((delivery->message == NULL) == (delivery->state == DELIVERY_RELEASED));
    assert(q->unsent == q->tail && q->cursor == q->head);

    if (q->tail - q->head == q->capacity && !grow(q)) {
        return false;
    }
    struct delivery *d = at_sequence(q, q->tail);
    *d = *delivery;
    if (d->state == DELIVERY_WAITING) {
        d->state = DELIVERY_SENT;
    }
    q->next_number = d->number + 1;
    q->tail++;
    q->sent_end = q->unsent = q->tail;
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
    const uint64_t tail = q->tail;
    uint64_t s = q->head;
    sent_end = really_sent(q, sent_end);
    while (s < tail && at_sequence(q, s)->number < sent_end) {
        s++;
    }
    q->sent_end = q->unsent = q->tail = s;
    for (; s < tail; s++) { /* what is done leaves no place among what waits */
        struct delivery *const d = at_sequence(q, s);
        if (d->state != DELIVERY_DONE) {
            d->state = DELIVERY_WAITING;
            q->waiting_bytes += outqueue_delivery_bytes(d);
            *at_sequence(q, q->tail++) = *d;
        }
    }
    advance(q);
}

uint64_t outqueue_sent_end(const struct outqueue *q)
{
    return q->unsent < q->tail ? at_sequence(q, q->unsent)->number : q->next_number;
}

struct delivery *outqueue_walk(struct outqueue *q, uint64_t *at)
{
    if (*at < q->head) {
        *at = q->head;
    }
    while (*at < q->tail) {
        struct delivery *d = at_sequence(q, (*at)++);
        if (d->state != DELIVERY_DONE) {
            return d;
        }
    }
    return NULL;
}

uint64_t outqueue_place(struct outqueue *q, uint64_t number)
{
    const bool waits = q->unsent < q->tail && at_sequence(q, q->unsent)->number <= number;
    uint64_t first = waits ? q->unsent : q->head;
    uint64_t last = waits ? q->tail : q->sent_end;
    while (first < last) {
        const uint64_t middle = first + (last - first) / 2;
        if (at_sequence(q, middle)->number < number) {
            first = middle + 1;
        } else {
            last = middle;
        }
    }
    return first == q->sent_end && !waits ? q->unsent : first;
}

void outqueue_check(const struct outqueue *q)
{
    assert(q->head <= q->cursor);
    assert(q->cursor <= q->sent_end);
    assert(q->sent_end <= q->unsent);
    assert(q->unsent <= q->tail);
    assert(q->tail - q->head <= q->capacity);
    if (q->head < q->sent_end) {
        const uint64_t first = at_sequence(q, q->head)->number;
        assert(at_sequence(q, q->sent_end - 1)->number - first < PACKET_IDS);
    }
    assert(q->unsent - q->sent_end <= outqueue_waiting(q) + CAPACITY_MIN);

    uint64_t waiting_bytes = 0;
    uint32_t in_flight = 0;
    uint64_t next = 0; /* the least number that may come */
    for (uint64_t s = q->head; s < q->tail; s++) {
        const struct delivery *d = at_sequence(q, s);
        assert((d->state == DELIVERY_WAITING) == (s >= q->unsent));
        assert(d->state == DELIVERY_DONE || s < q->sent_end || s >= q->unsent);
        assert((d->message != NULL) == (d->state == DELIVERY_WAITING || d->state == DELIVERY_SENT));
        waiting_bytes += d->state == DELIVERY_WAITING ? outqueue_delivery_bytes(d) : 0;
        in_flight += s < q->cursor && d->state != DELIVERY_DONE;
        if (s < q->sent_end || s >= q->unsent) {
            assert(s == q->head || d->number >= next);
            assert(d->number < q->next_number);
            next = d->number + 1;
        }
    }
    assert(waiting_bytes == q->waiting_bytes);
    assert(in_flight == q->in_flight);
}
