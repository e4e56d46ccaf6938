/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "bench/load/reader.h"

#define STREAM_BYTES_MAX 65536u

static uint8_t stream[STREAM_BYTES_MAX];
static size_t stream_len;

static void put(const struct mqtt_packet *packet, enum mqtt_version version)
{
    size_t len;
    cr_assert_eq(
        mqtt_encode(packet, version, stream + stream_len, sizeof stream - stream_len, &len),
        MQTT_OK);
    stream_len += len;
}

static void put_publish(uint64_t sequence, uint8_t qos, size_t payload, enum mqtt_version version)
{
    static uint8_t bytes[20000];
    const struct stamp stamp = {.intended_ns = sequence * 7, .sequence = sequence, .publisher = 9};
    stamp_write(bytes, &stamp);
    put(&(struct mqtt_packet){.type = MQTT_PUBLISH,
                              .publish = {.qos = qos,
                                          .packet_id = qos > 0 ? (uint16_t)(sequence + 1) : 0,
                                          .topic = bytes_text("a/topic"),
                                          .payload = bytes_of(bytes, payload)}},
        version);
}

static void fill(enum mqtt_version version)
{
    stream_len = 0;
    put(&(struct mqtt_packet){.type = MQTT_CONNACK}, version);
    put_publish(0, 0, 16, version);
    put_publish(1, 1, 64, version);
    put(&(struct mqtt_packet){.type = MQTT_PUBACK, .ack.packet_id = 77}, version);
    put_publish(2, 2, 20000, version);
    put_publish(3, 0, 300, version);
    const uint8_t granted = 1;
    put(&(struct mqtt_packet){.type = MQTT_SUBACK,
                              .suback = {.packet_id = 5, .reasons = bytes_of(&granted, 1)}},
        version);
}

/* The n-th packet of the stream. */
static void expect(const struct arrival *a, unsigned n)
{
    static const enum mqtt_type types[] = {MQTT_CONNACK, MQTT_PUBLISH, MQTT_PUBLISH, MQTT_PUBACK,
                                           MQTT_PUBLISH, MQTT_PUBLISH, MQTT_SUBACK};
    static const int sequences[] = {-1, 0, 1, -1, 2, 3, -1};
    static const uint16_t ids[] = {0, 0, 2, 77, 3, 0, 5};
    cr_assert_lt(n, 7);
    cr_assert_eq(a->type, types[n], "packet %u", n);
    cr_expect_eq(a->packet_id, ids[n], "packet %u", n);
    if (sequences[n] >= 0) {
        cr_expect(a->is_stamped);
        cr_expect_eq(a->stamp.sequence, (uint64_t)sequences[n]);
        cr_expect_eq(a->stamp.intended_ns, (uint64_t)sequences[n] * 7);
        cr_expect_eq(a->stamp.publisher, 9);
    }
    if (types[n] == MQTT_SUBACK) {
        cr_expect_eq(a->rest.at[a->rest.len - 1], 1);
    }
}

/* In pieces of any size the same seven packets come out, each when its last byte is there. */
Test(reader, pieces_do_not_matter)
{
    const enum mqtt_version versions[] = {MQTT_V311, MQTT_V5};
    srand(5);
    for (unsigned v = 0; v < 2; v++) {
        fill(versions[v]);
        for (size_t piece = 1; piece < 400; piece += piece < 40 ? 1 : 17) {
            struct reader r = {0};
            struct arrival a;
            unsigned n = 0;
            for (size_t at = 0; at < stream_len; at += piece) {
                const size_t left = stream_len - at;
                struct bytes in = bytes_of(stream + at, piece < left ? piece : left);
                enum reader_err err;
                while ((err = reader_next(&r, &in, versions[v], &a)) == READER_PACKET) {
                    expect(&a, n++);
                }
                cr_assert_eq(err, READER_MORE, "pieces of %zu, at %zu", piece, at);
            }
            cr_expect_eq(n, 7, "pieces of %zu: %u", piece, n);
        }
    }
}

Test(reader, a_payload_without_room_has_no_stamp)
{
    static const uint8_t publish[] = {0x30, 5, 0, 1, 'a', 'x', 'y'};
    struct reader r = {0};
    struct arrival a;
    struct bytes in = bytes_of(publish, sizeof publish);
    cr_assert_eq(reader_next(&r, &in, MQTT_V311, &a), READER_PACKET);
    cr_expect_not(a.is_stamped);
    cr_expect_eq(in.len, 0);
}

Test(reader, refuses_what_it_cannot_hold)
{
    static uint8_t suback[2000] = {0x90, 0xff, 0x0f}; /* 2047 bytes */
    struct reader r = {0};
    struct arrival a;
    struct bytes in = bytes_of(suback, sizeof suback);
    cr_expect_eq(reader_next(&r, &in, MQTT_V311, &a), READER_BAD);
    static const uint8_t endless[] = {0x30, 0xff, 0xff, 0xff, 0xff, 0xff};
    in = bytes_of(endless, sizeof endless);
    cr_expect_eq(reader_next(&(struct reader){0}, &in, MQTT_V311, &a), READER_BAD);
}
