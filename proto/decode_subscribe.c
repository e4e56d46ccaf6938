/* SPDX-License-Identifier: Apache-2.0 */
/* SUBSCRIBE, UNSUBSCRIBE, and their answers (3.8 to 3.11). */
#include "proto/decode.h"

#include <assert.h>

#define QOS_MAX         2u
#define SUBACK_FAILURE  0x80u /* 3.1.1: 3.9.3 */
#define HANDLING_MAX    2u
#define OPTIONS_BITS_V4 0x03u /* the requested QoS alone */
#define OPTIONS_BITS_V5 0x3fu

/* The subscription options (3.8.3.1); before 5.0 all but the QoS are zero. */
static struct mqtt_filter options_split(struct bytes filter, uint8_t options)
{
    return (struct mqtt_filter){
        .filter = filter,
        .qos = options & 3u,
        .no_local = (options & 0x04u) != 0,
        .retain_as_published = (options & 0x08u) != 0,
        .retain_handling = options >> 4 & 3u,
    };
}

static bool begins_share(struct bytes filter)
{
    const struct bytes prefix = bytes_text("$share/");
    return filter.len >= prefix.len && bytes_equal(bytes_of(filter.at, prefix.len), prefix);
}

static enum mqtt_err options_check(struct bytes filter, uint8_t options, enum mqtt_version version)
{
    const uint8_t bits = version == MQTT_V5 ? OPTIONS_BITS_V5 : OPTIONS_BITS_V4;
    if ((options & ~bits) != 0) {
        return MQTT_ERR_MALFORMED; /* [MQTT-3.8.3-5] */
    }
    const struct mqtt_filter split = options_split(filter, options);
    if (split.qos > QOS_MAX) {
        return version == MQTT_V5 ? MQTT_ERR_PROTOCOL : MQTT_ERR_MALFORMED;
    }
    if (split.retain_handling > HANDLING_MAX) {
        return MQTT_ERR_PROTOCOL;
    }
    if (split.no_local && begins_share(filter)) {
        return MQTT_ERR_PROTOCOL; /* [MQTT-3.8.3-4] */
    }
    return MQTT_OK;
}

/* One topic filter, with its options if it has any. */
static enum mqtt_err filter_check(struct cursor *c, const struct frame *frame)
{
    struct bytes filter;
    if (!cursor_string(c, &filter)) {
        return MQTT_ERR_MALFORMED;
    }
    if (filter.len == 0) {
        return MQTT_ERR_PROTOCOL; /* [MQTT-4.7.3-1] */
    }
    if (frame->type == MQTT_UNSUBSCRIBE) {
        return MQTT_OK;
    }
    uint8_t options;
    if (!cursor_u8(c, &options)) {
        return MQTT_ERR_MALFORMED;
    }
    return options_check(filter, options, frame->version);
}

static enum mqtt_err filters_take(struct mqtt_subscribe *subscribe, struct frame *frame)
{
    struct cursor c = frame->body;
    subscribe->filters = cursor_rest(&frame->body);
    subscribe->count = 0;
    while (cursor_left(&c) > 0) {
        const enum mqtt_err err = filter_check(&c, frame);
        if (err != MQTT_OK) {
            return err;
        }
        subscribe->count++;
    }
    return subscribe->count == 0 ? MQTT_ERR_PROTOCOL : MQTT_OK; /* [MQTT-3.8.3-2, 3.10.3-2] */
}

enum mqtt_err decode_subscribe(struct mqtt_packet *packet, struct frame *frame)
{
    struct mqtt_subscribe *subscribe = &packet->subscribe;
    enum mqtt_err err = decode_packet_id(&frame->body, &subscribe->packet_id);
    if (err == MQTT_OK) {
        err = decode_properties(&subscribe->properties, frame);
    }
    return err == MQTT_OK ? filters_take(subscribe, frame) : err;
}

bool mqtt_filter_next(struct bytes *rest, enum mqtt_type type, struct mqtt_filter *filter)
{
    assert(type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE);

    if (rest->len == 0) {
        return false;
    }
    /* The decoder has checked all of it, the UTF-8 too: not again, for each of many filters. */
    struct cursor c = {rest->at, rest->at + rest->len};
    struct bytes topic_filter;
    uint8_t options = 0;
    const bool whole =
        cursor_binary(&c, &topic_filter) && (type == MQTT_UNSUBSCRIBE || cursor_u8(&c, &options));
    assert(whole);

    *filter = options_split(topic_filter, options);
    *rest = cursor_rest(&c);
    return true;
}

static bool suback_reason_allowed(uint8_t reason, const struct frame *frame)
{
    switch (frame->version) {
    case MQTT_V5:
        return mqtt_reason_allowed(reason, frame->type, frame->from_server);
    case MQTT_V311:
        return reason <= QOS_MAX || reason == SUBACK_FAILURE;
    default:
        return reason <= QOS_MAX; /* 3.1 has no word for a refusal */
    }
}

/* One code for each filter, hence at least one. */
static enum mqtt_err reasons_take(struct mqtt_suback *suback, struct frame *frame)
{
    suback->reasons = cursor_rest(&frame->body);
    if (suback->reasons.len == 0) {
        return MQTT_ERR_MALFORMED;
    }
    for (size_t i = 0; i < suback->reasons.len; i++) {
        if (!suback_reason_allowed(suback->reasons.at[i], frame)) {
            return MQTT_ERR_PROTOCOL; /* [MQTT-3.9.3-2, 3.11.3-2] */
        }
    }
    return MQTT_OK;
}

enum mqtt_err decode_suback(struct mqtt_packet *packet, struct frame *frame)
{
    struct mqtt_suback *suback = &packet->suback;
    enum mqtt_err err = decode_packet_id(&frame->body, &suback->packet_id);
    if (err == MQTT_OK) {
        err = decode_properties(&suback->properties, frame);
    }
    return err == MQTT_OK ? reasons_take(suback, frame) : err;
}

enum mqtt_err decode_unsuback(struct mqtt_packet *packet, struct frame *frame)
{
    if (frame->version == MQTT_V5) {
        return decode_suback(packet, frame);
    }
    struct mqtt_suback *unsuback = &packet->suback;
    unsuback->reasons = bytes_of(NULL, 0);
    property_decode_none(&unsuback->properties);
    const enum mqtt_err err = decode_packet_id(&frame->body, &unsuback->packet_id);
    return err == MQTT_OK ? decode_end(frame) : err;
}
