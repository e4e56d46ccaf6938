/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed header, seen through mqtt_decode(). */
#include "proto/frame.h"

#include <criterion/criterion.h>

#include "tests/unit/proto/samples.h"
#include "tests/unit/proto/wire.h"

/* Which first bytes each side may send, in each version; after "CONNECT only" of UNKNOWN. */
static enum mqtt_err oracle_first(unsigned byte, enum mqtt_version version, bool from_server)
{
    static const char client[16] = {0, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 1, 5};
    static const char server[16] = {0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 1, 5, 5};
    static const char nibble[16] = {0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0};
    const unsigned type = byte >> 4;
    if (version == MQTT_VERSION_UNKNOWN && type != MQTT_CONNECT) {
        return MQTT_ERR_PROTOCOL;
    }
    if (type == 0 || (type == MQTT_AUTH && version != MQTT_V5)) {
        return MQTT_ERR_MALFORMED;
    }
    const char since = from_server ? server[type] : client[type];
    if (since == 0 || (since == 5 && version != MQTT_V5)) {
        return MQTT_ERR_NOT_A_SERVERS;
    }
    if (type == MQTT_PUBLISH) {
        static const char fair[16] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0};
        return fair[byte & 15] ? MQTT_ERR_NEED_MORE : MQTT_ERR_MALFORMED;
    }
    const bool again = version == MQTT_V31 && nibble[type] == 2 && (byte & 15) == 10;
    return again || (byte & 15) == (unsigned)nibble[type] ? MQTT_ERR_NEED_MORE : MQTT_ERR_MALFORMED;
}

/* v5_mqtt_2_1_3_1, v311_mqtt_2_2_2_2: each first byte is judged before the second has come. */
Test(frame, first_byte)
{
    static const enum mqtt_version versions[] = {MQTT_VERSION_UNKNOWN, MQTT_V31, MQTT_V311,
                                                 MQTT_V5};
    for (size_t v = 0; v < 4; v++) {
        for (unsigned i = 0; i < 512; i++) {
            const uint8_t byte = (uint8_t)i;
            const bool from_server = i > 255;
            cr_expect_eq(wire_judge(&byte, 1, versions[v], from_server),
                         oracle_first(byte, versions[v], from_server), "%02x, version %u, side %d",
                         byte, versions[v], from_server);
        }
    }
}

/* How much to ask for when only len bytes of the packet are there. */
static size_t hint(const uint8_t *in, size_t len, size_t size)
{
    size_t head = 2;
    while ((in[head - 1] & 0x80) != 0) {
        head++;
    }
    return len == 0 ? 2 : len < head ? len + 1 : size;
}

Test(frame, every_beginning_asks_for_more)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct mqtt_params params = {.version = samples[i].version,
                                           .from_server = samples[i].from_server};
        uint8_t in[WIRE_BYTES_MAX];
        const size_t size = wire_parse(in, samples[i].wire);
        for (size_t len = 0; len < size; len++) {
            uint8_t *copy = wire_exact(in, len);
            struct mqtt_packet packet;
            size_t used = 0;
            cr_expect_eq(mqtt_decode(&packet, copy, len, &params, &used), MQTT_ERR_NEED_MORE,
                         "%s, %zu", samples[i].name, len);
            cr_expect_eq(used, hint(in, len, size), "%s, %zu: %zu", samples[i].name, len, used);
            free(copy);
        }
    }
}

/* What follows a packet is the next one's, and does not matter. */
Test(frame, one_packet_of_many)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct mqtt_params params = {.version = samples[i].version,
                                           .from_server = samples[i].from_server};
        uint8_t in[WIRE_BYTES_MAX];
        const size_t size = wire_parse(in, samples[i].wire);
        memset(in + size, 0xff, 8);
        struct mqtt_packet packet;
        size_t used = 0;
        cr_expect_eq(mqtt_decode(&packet, in, size + 8, &params, &used), MQTT_OK, "%s",
                     samples[i].name);
        cr_expect_eq(used, size, "%s", samples[i].name);
    }
}

/* clang-format off */
static const struct { const char *name, *wire; enum mqtt_version version; enum mqtt_err err; } lengths[] = {
    {"five bytes of length",          "30 80808080 01",      MQTT_V5,   MQTT_ERR_MALFORMED},
    {"told by the fourth",            "30 ffffffff",         MQTT_V5,   MQTT_ERR_MALFORMED},
    {"also before 5.0",               "30 ffffffff",         MQTT_V311, MQTT_ERR_MALFORMED},
    {"and in the first packet",       "10 ffffffff",         MQTT_VERSION_UNKNOWN, MQTT_ERR_MALFORMED},
    {"the largest",                   "30 ffffff7f",         MQTT_V5,   MQTT_ERR_NEED_MORE},
    {"not the shortest",              "c0 8000",             MQTT_V5,   MQTT_ERR_MALFORMED},
    {"not the shortest, in four",     "c0 80808000",         MQTT_V5,   MQTT_ERR_MALFORMED},
    {"told ahead of the body",        "30 8500",             MQTT_V5,   MQTT_ERR_MALFORMED},
    {"fair in 3.1.1",                 "c0 8000",             MQTT_V311, MQTT_OK},
    {"fair in 3.1, with a body",      "40 82808000 0001",    MQTT_V31,  MQTT_OK},
    {"CONNECT 5.0, not the shortest", "10 8f00 ['MQTT'] 05 02 003c {} ['me']", MQTT_VERSION_UNKNOWN, MQTT_ERR_MALFORMED},
    {"CONNECT 3.1.1, the same",       "10 8e00 ['MQTT'] 04 02 003c ['me']",    MQTT_VERSION_UNKNOWN, MQTT_OK},
};
/* clang-format on */

/* v5_mqtt_1_5_5_1, U5-1.5.5-a, U311-2.2.3-a */
Test(frame, remaining_length)
{
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        cr_expect_eq(wire_judge_text(lengths[i].wire, lengths[i].version, CLIENT), lengths[i].err,
                     "%s", lengths[i].name);
    }
}

static enum mqtt_err judge_limit(uint8_t *in, size_t len, uint32_t packet_bytes_max)
{
    const struct mqtt_params params = {.version = MQTT_V5, .packet_bytes_max = packet_bytes_max};
    struct mqtt_packet packet;
    size_t used;
    return mqtt_decode(&packet, in, len, &params, &used);
}

/* v5_mqtt_3_2_2_15: the limit counts the whole packet, and is told by the fixed header. */
Test(frame, packet_too_large)
{
    uint8_t in[8] = {0x30, 0xff, 0x01}; /* 3 + 255 bytes */
    cr_expect_eq(judge_limit(in, 3, 257), MQTT_ERR_PACKET_TOO_LARGE);
    cr_expect_eq(judge_limit(in, 3, 258), MQTT_ERR_NEED_MORE);
    cr_expect_eq(judge_limit(in, 2, 1), MQTT_ERR_NEED_MORE, "the length is not there yet");
    cr_expect_eq(judge_limit(in, 3, 0), MQTT_ERR_NEED_MORE, "the standard's limit");
    cr_expect_eq(judge_limit(in, 3, UINT32_MAX), MQTT_ERR_NEED_MORE);
    memcpy(in, (uint8_t[]){0x30, 0xff, 0xff, 0xff, 0x7f}, 5);
    cr_expect_eq(judge_limit(in, 5, 0), MQTT_ERR_NEED_MORE);
    cr_expect_eq(judge_limit(in, 5, MQTT_PACKET_BYTES_MAX - 1), MQTT_ERR_PACKET_TOO_LARGE);
    cr_expect_eq(judge_limit(in, 5, MQTT_PACKET_BYTES_MAX), MQTT_ERR_NEED_MORE);
}

/* Of a refused packet the type can be told, and of a CONNECT the level if it was reached. */
Test(frame, what_remains_of_a_refused_packet)
{
    static const struct {
        const char *wire;
        unsigned type;
        unsigned level;
    } rows[] = {
        {"c1", MQTT_PINGREQ, 0},
        {"11", MQTT_CONNECT, 0},
        {"10 {['MQTT']}", MQTT_CONNECT, 0},
        {"10 {['MQTT'] 84}", MQTT_CONNECT, 0x84},
        {"10 {['MQTT'] 05 01}", MQTT_CONNECT, 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t in[64];
        const size_t len = wire_parse(in, rows[i].wire);
        const struct mqtt_params params = {.version = MQTT_VERSION_UNKNOWN};
        struct mqtt_packet packet;
        memset(&packet, 0xaa, sizeof packet);
        size_t used = 99;
        cr_expect_neq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK);
        cr_expect_eq(used, 99, "written on success only");
        cr_expect_eq(packet.type, rows[i].type, "%s", rows[i].wire);
        cr_expect(rows[i].type != MQTT_CONNECT || packet.connect.version == rows[i].level, "%s",
                  rows[i].wire);
    }
}
