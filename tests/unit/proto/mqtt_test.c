/* SPDX-License-Identifier: Apache-2.0 */
/* What holds of all packets. The single ones: connect, publish, subscribe, disconnect_test.c. */
#include "proto/mqtt.h"

#include <criterion/criterion.h>

#include "proto/varint.h"
#include "tests/unit/proto/packet.h"
#include "tests/unit/proto/samples.h"
#include "tests/unit/proto/wire.h"

#define ROUNDS 20000

Test(mqtt, samples_decode)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct sample *s = &samples[i];
        cr_expect_eq(wire_judge_text(s->wire, s->version, s->from_server), MQTT_OK, "%s", s->name);
    }
}

/* No fair packet of the one side is in order from the other where that never sends it. */
Test(mqtt, samples_of_the_wrong_side)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct sample *s = &samples[i];
        uint8_t in[WIRE_BYTES_MAX];
        const size_t len = wire_parse(in, s->wire);
        const unsigned type = in[0] >> 4;
        const bool both = (type >= MQTT_PUBLISH && type <= MQTT_PUBCOMP) || type == MQTT_AUTH ||
                          (type == MQTT_DISCONNECT && s->version == MQTT_V5);
        if (!both) {
            cr_expect_eq(wire_judge(in, len, s->version, !s->from_server), MQTT_ERR_NOT_A_SERVERS,
                         "%s", s->name);
        }
    }
}

/* v5 U5-2.1.4-a: a packet with bytes missing inside is never fair, but where it has an end there.
 */
Test(mqtt, samples_cut)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct sample *s = &samples[i];
        uint8_t in[WIRE_BYTES_MAX];
        wire_parse(in, s->wire);
        const size_t body = in[1]; /* all are shorter than 128 bytes */
        cr_assert(body < 0x80, "%s", s->name);
        for (size_t len = 0; len < body; len++) {
            in[1] = (uint8_t)len;
            const bool fair = len < 64 && (s->fair_cuts >> len & 1) != 0;
            const enum mqtt_err err = wire_judge(in, 2 + len, s->version, s->from_server);
            cr_expect(err != MQTT_ERR_NEED_MORE, "%s, %zu", s->name, len);
            cr_expect_eq(err == MQTT_OK, fair, "%s, %zu: %d", s->name, len, err);
        }
    }
}

/* …nor with a byte too many, but where any byte is fair: in a payload, in a list of codes. */
Test(mqtt, samples_with_a_byte_too_many)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct sample *s = &samples[i];
        uint8_t in[WIRE_BYTES_MAX];
        const size_t len = wire_parse(in, s->wire);
        const unsigned type = in[0] >> 4;
        in[1]++;
        in[len] = 0xff;
        if (type != MQTT_PUBLISH) {
            cr_expect_neq(wire_judge(in, len + 1, s->version, s->from_server), MQTT_OK, "%s",
                          s->name);
        }
    }
}

/* Any one byte changed: whatever it means, it has an answer, and none is read too far (ASan). */
Test(mqtt, samples_with_a_byte_changed)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct sample *s = &samples[i];
        uint8_t in[WIRE_BYTES_MAX];
        const size_t len = wire_parse(in, s->wire);
        for (size_t place = 2; place < len; place++) {
            const uint8_t was = in[place];
            for (unsigned byte = 0; byte < 256; byte++) {
                in[place] = (uint8_t)byte;
                cr_assert_neq(wire_judge(in, len, s->version, s->from_server), MQTT_ERR_NEED_MORE,
                              "%s, %02x at %zu", s->name, byte, place);
            }
            in[place] = was;
        }
    }
}

/* What was decoded encodes to the very bytes, but for the forms that the encoder shortens. */
Test(mqtt, samples_encode_to_themselves)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct sample *s = &samples[i];
        const struct mqtt_params params = {.version = s->version, .from_server = s->from_server};
        uint8_t in[WIRE_BYTES_MAX], out[WIRE_BYTES_MAX];
        const size_t len = wire_parse(in, s->wire);
        struct mqtt_packet packet;
        size_t used;
        cr_assert_eq(mqtt_decode(&packet, in, len, &params, &used), MQTT_OK, "%s", s->name);
        cr_assert_eq(mqtt_encode(&packet, s->version, out, sizeof out, &used), MQTT_OK, "%s",
                     s->name);
        cr_expect_eq(used == len && memcmp(in, out, len) == 0, !s->rewritten, "%s", s->name);
        struct mqtt_packet back;
        cr_assert_eq(mqtt_decode(&back, out, used, &params, &used), MQTT_OK, "%s", s->name);
        cr_expect(packet_equal(&packet, &back), "%s", s->name);
    }
}

/* One byte of room less, and nothing is promised; just enough is enough. */
Test(mqtt, samples_need_their_room)
{
    for (size_t i = 0; i < samples_count; i++) {
        const struct sample *s = &samples[i];
        const struct mqtt_params params = {.version = s->version, .from_server = s->from_server};
        uint8_t in[WIRE_BYTES_MAX], out[WIRE_BYTES_MAX];
        const size_t len = wire_parse(in, s->wire);
        struct mqtt_packet packet;
        size_t size, used = 0;
        cr_assert_eq(mqtt_decode(&packet, in, len, &params, &size), MQTT_OK, "%s", s->name);
        cr_assert_eq(mqtt_encode(&packet, s->version, out, sizeof out, &size), MQTT_OK);
        for (size_t room = 0; room < size; room++) {
            uint8_t *exact = wire_exact(out, room);
            cr_expect_eq(mqtt_encode(&packet, s->version, exact, room, &used), MQTT_ERR_NO_SPACE,
                         "%s, %zu", s->name, room);
            free(exact);
        }
        cr_expect_eq(used, 0, "%s", s->name);
        uint8_t *exact = wire_exact(out, size);
        cr_expect_eq(mqtt_encode(&packet, s->version, exact, size, &used), MQTT_OK, "%s", s->name);
        cr_expect_arr_eq(exact, out, size, "%s", s->name);
        free(exact);
    }
}

/* Over the standard's limit: counted, not written. */
Test(mqtt, nothing_over_the_standards_limit)
{
    uint8_t out[1] = {0};
    size_t used;
    struct mqtt_packet packet = {.type = MQTT_SUBACK, .suback = {.packet_id = 1}};
    packet.suback.reasons = bytes_of(out, VARINT_MAX - 2 + 1);
    cr_expect_eq(mqtt_encode(&packet, MQTT_V311, out, SIZE_MAX, &used), MQTT_ERR_NO_SPACE);
}

static void round_trip(const struct mqtt_packet *packet, enum mqtt_version version,
                       bool from_server)
{
    static uint8_t out[PACKET_ARENA_BYTES];
    size_t size, used;
    cr_assert_eq(mqtt_encode(packet, version, out, sizeof out, &size), MQTT_OK);
    uint8_t *exact = wire_exact(out, size);
    const struct mqtt_params params = {.version = version, .from_server = from_server};
    struct mqtt_packet back;
    const enum mqtt_err err = mqtt_decode(&back, exact, size, &params, &used);
    cr_assert_eq(err, MQTT_OK, "%s: %d", mqtt_type_name(packet->type), err);
    cr_assert_eq(used, size, "%s", mqtt_type_name(packet->type));
    cr_assert(packet_equal(packet, &back), "%s", mqtt_type_name(packet->type));
    free(exact);
}

/* 3.1 and 3.1.1 have no AUTH, and no DISCONNECT of the server's. */
static unsigned types_of(enum mqtt_version version, bool from_server)
{
    return (from_server ? 9 : 10) + (version == MQTT_V5 ? (from_server ? 2 : 1) : 0);
}

Test(mqtt, round_trip_at_random)
{
    static struct packet_source source;
    unsigned seen[MQTT_V5 + 1][2] = {{0}}; /* bit per type */
    packet_source_init(&source, "mqtt round_trip_at_random");
    for (size_t i = 0; i < ROUNDS; i++) {
        const enum mqtt_version version = MQTT_V31 + packet_random(&source, 3);
        const bool from_server = packet_random(&source, 2) == 0;
        struct mqtt_packet packet;
        packet_next(&source, version, from_server, &packet);
        round_trip(&packet, version, from_server);
        seen[version][from_server] |= 1u << packet.type;
    }
    for (enum mqtt_version version = MQTT_V31; version <= MQTT_V5; version++) {
        for (unsigned side = 0; side < 2; side++) {
            cr_expect_eq((unsigned)__builtin_popcount(seen[version][side]),
                         types_of(version, side == 1), "version %d, side %u: %x", version, side,
                         seen[version][side]);
        }
    }
}

#define STREAM_PACKETS 12u
#define STREAM_BYTES   (2 * PACKET_ARENA_BYTES)

/* Some packets one after the other, perhaps with a byte changed; *len is its size. */
static void random_stream(struct packet_source *source, const struct mqtt_params *params,
                          uint8_t *stream, size_t *len)
{
    *len = 0;
    for (unsigned i = 0; i < STREAM_PACKETS && *len < STREAM_BYTES / 2; i++) {
        struct mqtt_packet packet;
        size_t size;
        packet_next(source, params->version, params->from_server, &packet);
        cr_assert_eq(
            mqtt_encode(&packet, params->version, stream + *len, STREAM_BYTES - *len, &size),
            MQTT_OK);
        *len += size;
    }
    if (packet_random(source, 2) == 0) {
        stream[packet_random(source, (uint32_t)*len)] ^= (uint8_t)(1u << packet_random(source, 8));
    }
}

/* Decodes what can be decoded; where that ends, and why. */
static enum mqtt_err decode_all(const uint8_t *at, size_t len, const struct mqtt_params *params,
                                size_t *end)
{
    for (*end = 0;;) {
        struct mqtt_packet packet;
        size_t used;
        const enum mqtt_err err = mqtt_decode(&packet, at + *end, len - *end, params, &used);
        if (err != MQTT_OK) {
            return err;
        }
        *end += used;
    }
}

/*
 * The stream in pieces, each in a block of just its size: every packet has to be the same as in the
 * whole, and the end at the same place for the same reason. As a connection does, the decoder is
 * not asked again before the bytes that it asked for are there.
 */
static enum mqtt_err decode_split(struct packet_source *source, const uint8_t *stream, size_t len,
                                  const struct mqtt_params *params, size_t *end)
{
    size_t arrived = 0, wanted = 1;
    for (*end = 0;;) {
        if (arrived - *end < wanted) {
            if (arrived == len) {
                return MQTT_ERR_NEED_MORE;
            }
            const uint32_t most = packet_random(source, 3) == 0 ? 2 : 300;
            const size_t piece = 1 + packet_random(source, most);
            arrived = len - arrived < piece ? len : arrived + piece;
            continue;
        }
        uint8_t *piece = wire_exact(stream + *end, arrived - *end);
        struct mqtt_packet packet, same;
        size_t used, used_whole;
        const enum mqtt_err err = mqtt_decode(&packet, piece, arrived - *end, params, &used);
        if (err == MQTT_OK) {
            cr_assert_eq(mqtt_decode(&same, stream + *end, len - *end, params, &used_whole),
                         MQTT_OK);
            cr_assert(used == used_whole && packet_equal(&packet, &same), "%s at %zu",
                      mqtt_type_name(same.type), *end);
            *end += used;
        }
        wanted = err == MQTT_ERR_NEED_MORE ? used : 1;
        cr_assert(err != MQTT_ERR_NEED_MORE || used > arrived - *end);
        free(piece);
        if (err != MQTT_OK && err != MQTT_ERR_NEED_MORE) {
            return err;
        }
    }
}

Test(mqtt, any_split_of_a_stream_decodes_the_same)
{
    static struct packet_source source;
    static uint8_t stream[STREAM_BYTES];
    size_t bad = 0;
    packet_source_init(&source, "mqtt any_split_of_a_stream_decodes_the_same");
    for (size_t i = 0; i < 1500; i++) {
        const struct mqtt_params params = {.version = MQTT_V31 + packet_random(&source, 3),
                                           .from_server = packet_random(&source, 2) == 0};
        size_t len, end_whole, end_split;
        random_stream(&source, &params, stream, &len);
        const enum mqtt_err whole = decode_all(stream, len, &params, &end_whole);
        const enum mqtt_err split = decode_split(&source, stream, len, &params, &end_split);
        cr_assert_eq(split, whole, "%d, not %d", split, whole);
        cr_assert_eq(end_split, end_whole, "%zu, not %zu", end_split, end_whole);
        bad += whole != MQTT_ERR_NEED_MORE;
    }
    cr_expect(bad > 100 && bad < 1000, "%zu of 1500", bad); /* both kinds are there */
}

Test(mqtt, errors_have_reasons)
{
    cr_expect_eq(mqtt_err_reason(MQTT_ERR_MALFORMED), 0x81);
    cr_expect_eq(mqtt_err_reason(MQTT_ERR_PROTOCOL), 0x82);
    cr_expect_eq(mqtt_err_reason(MQTT_ERR_PACKET_TOO_LARGE), 0x95);
    cr_expect_eq(mqtt_err_reason(MQTT_ERR_VERSION), 0x84);
    cr_expect_eq(mqtt_err_reason(MQTT_ERR_CLIENT_ID), 0x85);
    cr_expect_eq(mqtt_err_reason(MQTT_ERR_TOPIC_NAME), 0x90);
    cr_expect_eq(mqtt_err_reason(MQTT_ERR_TOPIC_ALIAS), 0x94);
    cr_expect_eq(mqtt_err_reason(MQTT_ERR_NOT_A_SERVERS), 0x82);
}

Test(mqtt, types_have_names)
{
    cr_expect_str_eq(mqtt_type_name(MQTT_CONNECT), "CONNECT");
    cr_expect_str_eq(mqtt_type_name(MQTT_UNSUBACK), "UNSUBACK");
    cr_expect_str_eq(mqtt_type_name(MQTT_AUTH), "AUTH");
    cr_expect_str_eq(mqtt_type_name(0), "?");
    cr_expect_str_eq(mqtt_type_name(MQTT_TYPES), "?");
}
