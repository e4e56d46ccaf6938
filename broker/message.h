/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message: one application message: topic, properties, payload; immutable once created.
 *
 * Owner: shared by reference count, across shards; the last message_put() frees it, on any thread.
 * Memory: one allocation, counted into the bound `limits.message_memory_max` (message_memory()).
 * So is what queues hold to keep track of their messages: an entry for each of many sessions
 * outweighs the message.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_retained.h"
#include "proto/nodiscard.h"

struct message {
    _Atomic uint32_t references; /* taken relaxed, put with release, the last put acquires */
    uint32_t payload_len;
    uint32_t properties_len;
    uint16_t topic_len;
    uint16_t packet_id; /* with `exchange` */
    uint8_t qos;        /* as published */
    bool retain : 1;    /* as published */
    bool has_expiry : 1;
    bool versioned : 1;  /* its version is behind the payload: message_version() */
    bool hurried : 1;    /* acknowledged before it is on disk (broker/config/topics.h) */
    uint16_t came_turns; /* of came_us, which is modulo 2^32: how often it had been 0 */
    uint32_t came_us;    /* when (shard/latency.h); 0: its way is not measured */
    uint64_t expires_ms; /* on the broker's clock, when has_expiry */
    uint64_t publisher;  /* the session's serial number, for No Local; 0: the broker itself */
    /* Of a QoS 2 message from a client whose session is kept: the how-manyth it is. Of the will of
     * such a session: its number, and packet_id is 0. Else 0. */
    uint64_t exchange;
    uint64_t topic_hash; /* XXH3 of the topic */
    uint8_t body[];      /* topic, properties as received less what is the hop's own, payload */
};

static inline struct bytes message_topic(const struct message *m)
{
    return bytes_of(m->body, m->topic_len);
}

/* Payload format, content type, response topic, correlation data, user properties: as received, in
 * order. Not: message expiry interval, topic alias, subscription identifiers. */
static inline struct bytes message_properties(const struct message *m)
{
    return bytes_of(m->body + m->topic_len, m->properties_len);
}

static inline struct bytes message_payload(const struct message *m)
{
    return bytes_of(m->body + m->topic_len + m->properties_len, m->payload_len);
}

/* Of a session that is kept? */
static inline bool message_is_will(const struct message *m)
{
    return m->exchange != 0 && m->packet_id == 0;
}

/* References 1; the body is copied in. `properties` may be NULL-empty. NULL when out of memory. */
struct message *message_create(struct bytes topic, struct bytes properties, struct bytes payload);

static inline struct message *message_take(struct message *m, uint32_t references)
{
    atomic_fetch_add_explicit(&m->references, references, memory_order_relaxed);
    return m;
}

/* ---- which write of a cluster it is (cluster/replica), where there is one */

/* The same message, with room for its version; takes the reference, and is a copy if there are
 * others. NULL: no memory, and the reference is still the caller's. */
NODISCARD struct message *message_with_version(struct message *m);

/* It has room. By who gives the version, before anybody else looks at it. */
void message_set_version(struct message *m, const struct retained_version *version);

/* Of a versioned one. */
struct retained_version message_version(const struct message *m);

/* Its interval has passed: delivery must not begin any more [MQTT-3.3.2-5]. */
static inline bool message_expired(const struct message *m, uint64_t now_ms)
{
    return m->has_expiry && m->expires_ms < now_ms;
}

void message_put(struct message *m); /* NULL is fine */

size_t message_bytes(const struct message *m); /* what it costs */

/* So many bytes more (below 0: less) for keeping track of messages; any thread. */
void message_memory_add(int64_t bytes);

uint64_t message_count(void); /* of the process; any thread; eventually exact */

/* Bytes in all messages of the process, and what keeps track of them, now; any thread; eventually
 * exact. */
uint64_t message_memory(void);
