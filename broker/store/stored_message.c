/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/stored_message.h"

#include <assert.h>
#include <string.h>

/* Of the flags. */
#define QOS         0x03u
#define RETAIN      0x04u
#define HAS_EXPIRY  0x08u
#define HAS_VERSION 0x10u
#define ALL_FLAGS   (QOS | RETAIN | HAS_EXPIRY | HAS_VERSION)

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

void stored_message_head(const struct stored_message *m, uint8_t out[STORED_MESSAGE_HEAD])
{
    assert(m->qos <= 2);
    assert(m->topic.len > 0 && m->topic.len <= UINT16_MAX);
    assert(m->properties.len <= UINT32_MAX);

    out[0] = (uint8_t)(m->qos | (m->retain ? RETAIN : 0u) | (m->has_expiry ? HAS_EXPIRY : 0u) |
                       (m->version.stamp > 0 ? HAS_VERSION : 0u));
    out[1] = STORED_MESSAGE_VERSION;
    put(out + 2, m->topic.len, 2);
    put(out + 4, m->properties.len, 4);
    put(out + 8, m->has_expiry ? m->expires_ms : 0, 8);
}

void stored_version_write(struct field_writer *w, const struct retained_version *version)
{
    uint8_t out[STORED_VERSION_BYTES];
    put(out, version->stamp, 8);
    memcpy(out + 8, version->origin.bytes, UUID_BYTES);
    put(out + 24, version->generation, 8);
    put_raw(w, bytes_of(out, sizeof out));
}

struct retained_version stored_version_read(const uint8_t in[STORED_VERSION_BYTES])
{
    struct retained_version version = {.stamp = get(in, 8), .generation = get(in + 24, 8)};
    memcpy(version.origin.bytes, in + 8, UUID_BYTES);
    return version;
}

bool stored_message_read(struct bytes in, struct stored_message *m)
{
    if (in.len < STORED_MESSAGE_HEAD || in.at[1] != STORED_MESSAGE_VERSION) {
        return false;
    }
    const uint8_t flags = in.at[0];
    const size_t topic_len = (size_t)get(in.at + 2, 2);
    const size_t properties_len = (size_t)get(in.at + 4, 4);
    const size_t version_len = (flags & HAS_VERSION) != 0 ? STORED_VERSION_BYTES : 0;
    if (in.len - STORED_MESSAGE_HEAD < version_len) {
        return false;
    }
    const size_t body_len = in.len - STORED_MESSAGE_HEAD - version_len;
    if ((flags & ~ALL_FLAGS) != 0 || (flags & QOS) == QOS || topic_len == 0 ||
        topic_len > body_len || properties_len > body_len - topic_len) {
        return false;
    }
    const uint8_t *const body = in.at + STORED_MESSAGE_HEAD + version_len;
    *m = (struct stored_message){
        .topic = bytes_of(body, topic_len),
        .properties = bytes_of(body + topic_len, properties_len),
        .payload =
            bytes_of(body + topic_len + properties_len, body_len - topic_len - properties_len),
        .qos = flags & QOS,
        .retain = (flags & RETAIN) != 0,
        .has_expiry = (flags & HAS_EXPIRY) != 0,
        .expires_ms = get(in.at + 8, 8),
    };
    if (version_len > 0) {
        m->version = stored_version_read(in.at + STORED_MESSAGE_HEAD);
    }
    return version_len == 0 || m->version.stamp > 0;
}
