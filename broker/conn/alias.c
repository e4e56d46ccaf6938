/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/alias.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/message.h"
#include "broker/shard/shard.h"

#define ALIAS_PROPERTY_BYTES 3u

struct topic_copy {
    uint16_t len;
    uint8_t text[];
};

struct alias_in {
    uint16_t size;
    struct topic_copy *topics[]; /* by alias less one; NULL: not set */
};

struct alias_slot {
    uint64_t topic_hash;      /* of the topic last seen here */
    struct topic_copy *topic; /* the client knows this one by the slot's alias; NULL: none */
};

struct alias_out {
    uint16_t size;
    struct alias_slot slots[]; /* by alias less one */
};

static struct topic_copy *topic_copy(struct bytes topic)
{
    struct topic_copy *copy = malloc(sizeof *copy + topic.len);
    if (copy != NULL) {
        copy->len = (uint16_t)topic.len;
        memcpy(copy->text, topic.at, topic.len);
    }
    return copy;
}

enum mqtt_reason alias_in_resolve(struct conn *c, uint16_t alias, struct bytes *topic)
{
    const uint16_t size = c->server_topic_alias_maximum;
    if (alias == 0 || alias > size) {
        return MQTT_REASON_TOPIC_ALIAS_INVALID;
    }
    if (c->aliases_in == NULL) {
        c->aliases_in = calloc(1, sizeof *c->aliases_in + size * sizeof c->aliases_in->topics[0]);
        if (c->aliases_in == NULL) {
            return MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR;
        }
        c->aliases_in->size = size;
    }
    struct topic_copy **known = &c->aliases_in->topics[alias - 1];
    if (topic->len > 0) {
        struct topic_copy *copy = topic_copy(*topic);
        if (copy == NULL) {
            return MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR;
        }
        free(*known);
        *known = copy;
    } else if (*known == NULL) {
        return MQTT_REASON_PROTOCOL_ERROR; /* (3.3.2.3.4) an alias that was never set */
    } else {
        *topic = bytes_of((*known)->text, (*known)->len);
    }
    return MQTT_REASON_SUCCESS;
}

static bool knows(const struct alias_slot *slot, struct bytes topic)
{
    return slot->topic != NULL && bytes_equal(bytes_of(slot->topic->text, slot->topic->len), topic);
}

uint16_t alias_out_use(struct conn *c, const struct message *m, struct bytes *topic)
{
    const uint16_t size = c->topic_alias_maximum;
    if (size == 0 || topic->len <= ALIAS_PROPERTY_BYTES) {
        return 0;
    }
    if (c->aliases_out == NULL) {
        c->aliases_out = calloc(1, sizeof *c->aliases_out + size * sizeof c->aliases_out->slots[0]);
        if (c->aliases_out == NULL) {
            return 0;
        }
        c->aliases_out->size = size;
    }
    const uint16_t place = (uint16_t)(m->topic_hash % c->aliases_out->size);
    struct alias_slot *slot = &c->aliases_out->slots[place];
    if (knows(slot, *topic)) {
        *topic = bytes_of(NULL, 0);
        return (uint16_t)(place + 1);
    }
    if (slot->topic_hash != m->topic_hash) {
        slot->topic_hash = m->topic_hash; /* the first time: perhaps the last */
        return 0;
    }
    struct topic_copy *copy = topic_copy(*topic);
    if (copy == NULL) {
        return 0;
    }
    free(slot->topic);
    slot->topic = copy;
    return (uint16_t)(place + 1);
}

void alias_out_forget(struct conn *c, const struct message *m)
{
    if (c->aliases_out == NULL) {
        return;
    }
    struct alias_slot *slot = &c->aliases_out->slots[m->topic_hash % c->aliases_out->size];
    if (slot->topic_hash == m->topic_hash) {
        free(slot->topic);
        *slot = (struct alias_slot){0};
    }
}

void alias_fini(struct conn *c)
{
    for (unsigned i = 0; c->aliases_in != NULL && i < c->aliases_in->size; i++) {
        free(c->aliases_in->topics[i]);
    }
    for (unsigned i = 0; c->aliases_out != NULL && i < c->aliases_out->size; i++) {
        free(c->aliases_out->slots[i].topic);
    }
    free(c->aliases_in);
    free(c->aliases_out);
    c->aliases_in = NULL;
    c->aliases_out = NULL;
}
