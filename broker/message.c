/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/message.h"

#include <assert.h>
#include <stdlib.h>

#include <xxhash.h>

/*
 * What is in use is counted in stripes, a cache line each. A thread has one of its own, which it
 * adds to with plain stores; those that come when all are given away share the last one. A stripe
 * may go below zero (created on one thread, freed on another): only the sum means something.
 */
#define CACHE_LINE 64u
#define STRIPES    128u /* more than shards and the threads beside them */

static struct stripe {
    _Alignas(CACHE_LINE) _Atomic uint64_t bytes; /* modulo 2^64; relaxed, no order promised */
    _Atomic uint64_t count;                      /* likewise: messages */
} stripes[STRIPES];

static _Atomic uint32_t threads_counted;    /* gives each thread its stripe */
static _Thread_local struct stripe *stripe; /* NULL: none yet */

static struct stripe *own_stripe(void)
{
    if (stripe == NULL) {
        const uint32_t n = atomic_fetch_add_explicit(&threads_counted, 1, memory_order_relaxed);
        stripe = &stripes[n < STRIPES - 1 ? n : STRIPES - 1];
    }
    return stripe;
}

static void add(const struct stripe *to, _Atomic uint64_t *sum, uint64_t delta)
{
    if (to == &stripes[STRIPES - 1]) {
        atomic_fetch_add_explicit(sum, delta, memory_order_relaxed);
        return;
    }
    const uint64_t now = atomic_load_explicit(sum, memory_order_relaxed);
    atomic_store_explicit(sum, now + delta, memory_order_relaxed);
}

static void count_bytes(uint64_t delta)
{
    struct stripe *const to = own_stripe();
    add(to, &to->bytes, delta);
}

/* One more, or less. */
static void count_message(uint64_t bytes, uint64_t one)
{
    struct stripe *const to = own_stripe();
    add(to, &to->bytes, bytes);
    add(to, &to->count, one);
}

uint64_t message_count(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < STRIPES; i++) {
        sum += atomic_load_explicit(&stripes[i].count, memory_order_relaxed);
    }
    return (int64_t)sum < 0 ? 0 : sum;
}

uint64_t message_memory(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < STRIPES; i++) {
        sum += atomic_load_explicit(&stripes[i].bytes, memory_order_relaxed);
    }
    return (int64_t)sum < 0 ? 0 : sum; /* a free was seen before its create */
}

void message_memory_add(int64_t bytes)
{
    count_bytes((uint64_t)bytes);
}

static uint8_t *append(uint8_t *to, struct bytes from)
{
    if (from.len > 0) {
        memcpy(to, from.at, from.len);
    }
    return to + from.len;
}

struct message *message_create(struct bytes topic, struct bytes properties, struct bytes payload)
{
    assert(topic.len <= UINT16_MAX);
    assert(properties.len <= UINT32_MAX);
    assert(payload.len <= UINT32_MAX);

    struct message *m = malloc(sizeof *m + topic.len + properties.len + payload.len);
    if (m == NULL) {
        return NULL;
    }
    *m = (struct message){
        .payload_len = (uint32_t)payload.len,
        .properties_len = (uint32_t)properties.len,
        .topic_len = (uint16_t)topic.len,
        .topic_hash = topic.len > 0 ? XXH3_64bits(topic.at, topic.len) : XXH3_64bits("", 0),
    };
    atomic_init(&m->references, 1);
    append(append(append(m->body, topic), properties), payload);
    count_message(message_bytes(m), 1);
    return m;
}

/* Release: what this thread did with the message is done before it goes. The last one's acquire
 * reads from the chain of those releases, so it frees after all of them. */
void message_put(struct message *m)
{
    if (m == NULL) {
        return;
    }
    /* Alone already: nobody else can take a reference, so no need to count. */
    if (atomic_load_explicit(&m->references, memory_order_acquire) != 1) {
        if (atomic_fetch_sub_explicit(&m->references, 1, memory_order_release) != 1) {
            return;
        }
        (void)atomic_load_explicit(&m->references, memory_order_acquire);
    }
    count_message(-(uint64_t)message_bytes(m), -(uint64_t)1);
    free(m);
}

static size_t body_bytes(const struct message *m)
{
    return (size_t)m->topic_len + m->properties_len + m->payload_len;
}

size_t message_bytes(const struct message *m)
{
    return sizeof *m + body_bytes(m) + (m->versioned ? sizeof(struct retained_version) : 0);
}

/* ---- versions */

/* Nobody else has it. */
static struct message *enlarge(struct message *m)
{
    struct message *const larger = realloc(m, message_bytes(m) + sizeof(struct retained_version));
    if (larger != NULL) {
        count_bytes(sizeof(struct retained_version));
        larger->versioned = true;
    }
    return larger;
}

static struct message *copy_enlarged(struct message *m)
{
    const size_t more = m->versioned ? 0 : sizeof(struct retained_version);
    struct message *const copy = malloc(message_bytes(m) + more);
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, m, message_bytes(m));
    atomic_init(&copy->references, 1);
    copy->versioned = true;
    count_message(message_bytes(copy), 1);
    message_put(m);
    return copy;
}

struct message *message_with_version(struct message *m)
{
    static const struct retained_version none;
    struct message *v = m;
    if (atomic_load_explicit(&m->references, memory_order_acquire) != 1) {
        v = copy_enlarged(m);
    } else if (!m->versioned) {
        v = enlarge(m);
    }
    if (v != NULL) {
        message_set_version(v, &none);
    }
    return v;
}

void message_set_version(struct message *m, const struct retained_version *version)
{
    assert(m->versioned);
    memcpy(m->body + body_bytes(m), version, sizeof *version);
}

struct retained_version message_version(const struct message *m)
{
    struct retained_version version;
    assert(m->versioned);
    memcpy(&version, m->body + body_bytes(m), sizeof version);
    return version;
}
