/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/image.h"

#include <criterion/criterion.h>
#include <string.h>

#include "broker/message.h"

/* It is, byte for byte, what would have been encoded for each: any QoS, flag, version, and size. */
Test(image, is_the_packet)
{
    static const enum mqtt_version versions[] = {MQTT_V311, MQTT_V5};
    static const size_t sizes[] = {0, 1, 100, 115, 116, 117, 118, 119, 120, 500, 980};
    static uint8_t payload[1000], encoded[2000], written[IMAGE_BYTES_MAX];
    static struct image image;
    memset(payload, 'p', sizeof payload);
    static const uint8_t properties[] = {0x01, 0x01}; /* payload format indicator 1 */
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct message *m = message_create(bytes_text("some/topic"), bytes_of(properties, 2),
                                           bytes_of(payload, sizes[i]));
        image_begin(&image, m);
        for (unsigned n = 0; n < 12; n++) {
            const enum mqtt_version version = versions[n % 2];
            const uint8_t qos = (uint8_t)(n / 2 % 3);
            const uint16_t packet_id = qos > 0 ? (uint16_t)(0xfe00 + n) : 0;
            const struct mqtt_packet packet = {
                .type = MQTT_PUBLISH,
                .publish = {.qos = qos,
                            .retain = n >= 6,
                            .packet_id = packet_id,
                            .topic = message_topic(m),
                            .payload = message_payload(m),
                            .properties.raw =
                                version == MQTT_V5 ? message_properties(m) : bytes_of(NULL, 0)}};
            size_t used;
            cr_assert_eq(mqtt_encode(&packet, version, encoded, sizeof encoded, &used), MQTT_OK);
            for (unsigned again = 0; again < 2; again++) {
                cr_assert(image_is_of(&image, m, version, qos, n >= 6));
                cr_assert_eq(image.len, used);
                image_write(&image, packet_id, written);
                cr_assert_arr_eq(written, encoded, used, "%zu bytes, %u", sizes[i], n);
            }
        }
        image_end(&image);
        cr_assert_not(image_is_of(&image, m, MQTT_V311, 0, false));
        message_put(m);
    }
}

Test(image, none_of_what_is_large_or_of_another_message)
{
    static uint8_t payload[IMAGE_BYTES_MAX];
    static struct image image;
    struct message *large =
        message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_of(payload, sizeof payload));
    struct message *small =
        message_create(bytes_text("t"), bytes_of(NULL, 0), bytes_of(payload, 1));
    image_begin(&image, large);
    cr_expect_not(image_is_of(&image, large, MQTT_V311, 0, false));
    image_begin(&image, small);
    cr_expect_not(image_is_of(&image, large, MQTT_V311, 0, false));
    cr_expect(image_is_of(&image, small, MQTT_V311, 0, false));
    message_put(large);
    message_put(small);
}
