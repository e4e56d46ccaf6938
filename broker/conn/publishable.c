/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/publishable.h"

#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/message.h"
#include "broker/shard/shard.h"
#include "proto/topic.h"

bool publishable_is_own(struct bytes topic)
{
    static const char own[] = "$SYS/";
    return topic.len >= sizeof own - 1 && memcmp(topic.at, own, sizeof own - 1) == 0;
}

enum mqtt_reason publishable_topic(const struct shard *s, struct bytes topic)
{
    if (publishable_is_own(topic)) {
        return MQTT_REASON_NOT_AUTHORIZED;
    }
    const uint32_t levels_max = s->config->limits.topic_levels_max;
    if (topic.len < levels_max) { /* a level more than it has slashes: not worth counting */
        return MQTT_REASON_SUCCESS;
    }
    return topic_levels(topic) > levels_max ? MQTT_REASON_TOPIC_NAME_INVALID : MQTT_REASON_SUCCESS;
}

/* Between publisher and broker only, or counted down on the way, or the will's own. */
#define NOT_PASSED_ON                                                                              \
    (1ull << PROPERTY_MESSAGE_EXPIRY_INTERVAL | 1ull << PROPERTY_TOPIC_ALIAS |                     \
     1ull << PROPERTY_SUBSCRIPTION_IDENTIFIER | 1ull << PROPERTY_WILL_DELAY_INTERVAL)

static size_t passed_on(const struct mqtt_properties *properties, uint8_t *out)
{
    struct bytes rest = properties->raw;
    struct property p;
    size_t len = 0;
    while (property_next(&rest, &p)) {
        if ((NOT_PASSED_ON >> p.id & 1) == 0) {
            memcpy(out + len, p.whole.at, p.whole.len);
            len += p.whole.len;
        }
    }
    return len;
}

struct message *publishable_message(struct bytes topic, const struct mqtt_properties *properties,
                                    struct bytes payload)
{
    if ((properties->present & NOT_PASSED_ON) == 0) {
        return message_create(topic, properties->raw, payload);
    }
    uint8_t small[512];
    uint8_t *buffer = properties->raw.len <= sizeof small ? small : malloc(properties->raw.len);
    if (buffer == NULL) {
        return NULL;
    }
    const size_t len = passed_on(properties, buffer);
    struct message *m = message_create(topic, bytes_of(buffer, len), payload);
    if (buffer != small) {
        free(buffer);
    }
    return m;
}
