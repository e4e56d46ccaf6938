/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode_fuzz: any bytes are fair input to mqtt_decode(), and what it accepts it can say again.
 *
 * Input: one byte of choice, then what arrives.
 *   bits 0-1  the version: unknown, 3.1, 3.1.1, 5.0
 *   bit  2    from a server
 *   bit  3    packets of at most 64 bytes
 */
#include <string.h>

#include "proto/mqtt.h"
#include "proto/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/packet.h"

#define PREFIXES_MAX 40u /* of a long input only so many are tried */

/* The values are those that walking finds, and `present` tells which. */
static void properties_walk(const struct mqtt_properties *properties)
{
    struct bytes rest = properties->raw;
    struct property property;
    uint64_t present = 0;
    size_t len = 0;
    while (property_next(&rest, &property)) {
        present |= UINT64_C(1) << property.id;
        len += property.whole.len;
        FUZZ_EXPECT(strcmp(property_name(property.id), "?") != 0);
        FUZZ_EXPECT(property.id != PROPERTY_TOPIC_ALIAS ||
                    property.number == properties->topic_alias);
        FUZZ_EXPECT(property.id != PROPERTY_REASON_STRING ||
                    bytes_equal(property.string, properties->reason_string));
    }
    FUZZ_EXPECT(present == properties->present);
    FUZZ_EXPECT(len == properties->raw.len);
}

static void filters_walk(const struct mqtt_packet *packet)
{
    struct bytes rest = packet->subscribe.filters;
    struct mqtt_filter filter;
    uint32_t count = 0;
    while (mqtt_filter_next(&rest, packet->type, &filter)) {
        FUZZ_EXPECT(filter.qos <= 2 && filter.retain_handling <= 2);
        FUZZ_EXPECT(filter.filter.len > 0 && utf8_valid(filter.filter));
        count++;
    }
    FUZZ_EXPECT(count == packet->subscribe.count && count > 0);
}

static void packet_walk(const struct mqtt_packet *packet)
{
    switch (packet->type) {
    case MQTT_CONNECT:
        properties_walk(&packet->connect.properties);
        properties_walk(&packet->connect.will.properties);
        break;
    case MQTT_CONNACK:
        properties_walk(&packet->connack.properties);
        break;
    case MQTT_PUBLISH:
        properties_walk(&packet->publish.properties);
        FUZZ_EXPECT((packet->publish.packet_id != 0) == (packet->publish.qos > 0));
        break;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        properties_walk(&packet->subscribe.properties);
        filters_walk(packet);
        break;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        properties_walk(&packet->suback.properties);
        break;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        properties_walk(&packet->disconnect.properties);
        break;
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
        break;
    default:
        properties_walk(&packet->ack.properties);
    }
}

/* Has 5.0 but one way to write it? Acknowledgements and the like may be short, or spelled out. */
static bool one_form(const struct mqtt_packet *packet, enum mqtt_version version)
{
    return version == MQTT_V5 && (packet->type <= MQTT_PUBLISH || (packet->type >= MQTT_SUBSCRIBE &&
                                                                   packet->type <= MQTT_PINGRESP));
}

/* Encodes, decodes that, and finds the same packet. */
static void say_again(const struct mqtt_packet *packet, const struct mqtt_params *params,
                      const uint8_t *in, size_t in_len)
{
    const enum mqtt_version version =
        packet->type == MQTT_CONNECT ? packet->connect.version : params->version;
    uint8_t *out = malloc(in_len);
    size_t size, used;
    FUZZ_EXPECT(out != NULL);
    /* No form is longer than the one that came. */
    FUZZ_EXPECT(mqtt_encode(packet, version, out, in_len, &size) == MQTT_OK);
    FUZZ_EXPECT(!one_form(packet, version) || (size == in_len && memcmp(in, out, size) == 0));
    FUZZ_EXPECT(packet->type != MQTT_PUBLISH ||
                mqtt_publish_size(&packet->publish, version) == size);
    struct mqtt_packet again;
    FUZZ_EXPECT(mqtt_decode(&again, out, size, params, &used) == MQTT_OK);
    FUZZ_EXPECT(used == size);
    FUZZ_EXPECT(packet_equal(packet, &again));
    free(out);
}

/* A beginning is judged as the whole is, or asks for more. */
static void beginning(const uint8_t *in, size_t len, const struct mqtt_params *params,
                      enum mqtt_err err)
{
    struct mqtt_packet packet;
    size_t used = 0;
    const enum mqtt_err early = mqtt_decode(&packet, in, len, params, &used);
    FUZZ_EXPECT(early == err || early == MQTT_ERR_NEED_MORE);
    FUZZ_EXPECT(early != MQTT_ERR_NEED_MORE || used > len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    static const enum mqtt_version versions[] = {MQTT_VERSION_UNKNOWN, MQTT_V31, MQTT_V311,
                                                 MQTT_V5};
    const struct mqtt_params params = {.version = versions[data[0] & 3],
                                       .from_server = (data[0] & 4) != 0,
                                       .packet_bytes_max = (data[0] & 8) != 0 ? 64 : 0};
    const uint8_t *in = data + 1;
    const size_t in_len = size - 1;
    struct mqtt_packet packet;
    memset(&packet, 0xaa, sizeof packet); /* so that what is not written shows */
    size_t used = 0;
    const enum mqtt_err err = mqtt_decode(&packet, in, in_len, &params, &used);
    for (size_t len = 0; len < in_len; len += 1 + in_len / PREFIXES_MAX) {
        beginning(in, len, &params, err);
    }
    if (err == MQTT_OK) {
        FUZZ_EXPECT(used >= 2 && used <= in_len);
        FUZZ_EXPECT(params.packet_bytes_max == 0 || used <= params.packet_bytes_max);
        packet_walk(&packet);
        say_again(&packet, &params, in, used);
    } else if (err == MQTT_ERR_NEED_MORE) {
        FUZZ_EXPECT(used > in_len && used <= MQTT_PACKET_BYTES_MAX);
    } else {
        FUZZ_EXPECT(mqtt_err_reason(err) >= 0x80);
        FUZZ_EXPECT(packet.type == in[0] >> 4);
    }
    return 0;
}
