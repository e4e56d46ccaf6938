/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/varint.h"

#include <assert.h>

enum mqtt_err varint_decode(const uint8_t **at, const uint8_t *end, uint32_t *value)
{
    assert(*at <= end);

    uint32_t sum = 0;
    const uint8_t *p = *at;
    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        if (p == end) {
            return MQTT_ERR_NEED_MORE;
        }
        const uint8_t byte = *p++;
        sum |= (uint32_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            *at = p;
            *value = sum;
            return MQTT_OK;
        }
    }
    return MQTT_ERR_MALFORMED;
}

size_t varint_size(uint32_t value)
{
    assert(value <= VARINT_MAX);

    return value < 1u << 7 ? 1 : value < 1u << 14 ? 2 : value < 1u << 21 ? 3 : 4;
}

size_t varint_encode(uint8_t *out, uint32_t value)
{
    assert(value <= VARINT_MAX);

    size_t len = 0;
    while (value > 0x7f) {
        out[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (uint8_t)value;
    return len;
}
