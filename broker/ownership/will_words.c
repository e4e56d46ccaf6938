/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/ownership/will_words.h"

#include "broker/config/topics.h"
#include "broker/conn/publishable.h"
#include "broker/message.h"
#include "broker/session/session.h"
#include "broker/shard/latency.h"
#include "broker/shard/shard.h"
#include "proto/node_publish.h"

size_t will_words_write(uint8_t *out, const struct will *will)
{
    const struct message *const m = will->message;
    const struct node_publish words = {
        .expiry_ms = will->has_expiry ? (uint64_t)will->expiry_s * 1000 : NODE_NO_EXPIRY,
        .qos = m->qos,
        .retain = m->retain,
        .topic = message_topic(m),
        .properties = message_properties(m),
        .payload = message_payload(m),
    };
    return node_publish_encode(out, &words);
}

struct message *will_words_read(struct shard *s, struct bytes words)
{
    struct node_publish p;
    if (node_publish_decode(&p, words) != NODE_OK || publishable_is_own(p.topic)) {
        return NULL;
    }
    struct message *const m = message_create(p.topic, p.properties, p.payload);
    if (m == NULL) {
        shard_drop(s, METRIC_drop_no_memory, bytes_of(NULL, 0), p.topic);
        return NULL;
    }
    m->qos = p.qos;
    m->retain = p.retain;
    m->hurried = p.qos < 2 && topics_hurry(s->config, p.topic);
    m->has_expiry = p.expiry_ms != NODE_NO_EXPIRY;
    m->expires_ms = m->has_expiry ? s->now_ms + p.expiry_ms : 0;
    latency_stamp(s, m);
    return m;
}
