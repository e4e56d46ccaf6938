/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/wire.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/varint.h"

static size_t items_parse(uint8_t *out, const char **text, char until);

/* What stands before `until`, behind its length. */
static size_t block_parse(uint8_t *out, const char **text, char until)
{
    const size_t len = items_parse(out, text, until);
    uint8_t head[VARINT_BYTES_MAX] = {(uint8_t)(len >> 8), (uint8_t)len};
    const size_t head_len = until == ']' ? 2 : varint_encode(head, (uint32_t)len);
    assert(head_len + len <= WIRE_BYTES_MAX);
    memmove(out + head_len, out, len);
    memcpy(out, head, head_len);
    return head_len + len;
}

static size_t characters_parse(uint8_t *out, const char **text)
{
    size_t len = 0;
    for (; **text != '\''; (*text)++) {
        assert(**text != '\0');
        out[len++] = (uint8_t) * *text;
    }
    (*text)++;
    return len;
}

static size_t items_parse(uint8_t *out, const char **text, char until)
{
    size_t len = 0;
    while (**text != until) {
        assert(len + 1 < WIRE_BYTES_MAX);
        const char c = *(*text)++;
        if (c == '{') {
            len += block_parse(out + len, text, '}');
        } else if (c == '[') {
            len += block_parse(out + len, text, ']');
        } else if (c == '\'') {
            len += characters_parse(out + len, text);
        } else if (c != ' ') {
            unsigned byte;
            assert(isxdigit((unsigned char)c) && isxdigit((unsigned char)**text));
            sscanf((char[]){c, **text, '\0'}, "%x", &byte);
            out[len++] = (uint8_t)byte;
            (*text)++;
        }
    }
    if (until != '\0') {
        (*text)++;
    }
    return len;
}

size_t wire_parse(uint8_t *out, const char *text)
{
    return items_parse(out, &text, '\0');
}

uint8_t *wire_exact(const uint8_t *in, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert(copy != NULL);
    if (len > 0) {
        memcpy(copy, in, len);
    }
    return copy;
}

enum mqtt_err wire_judge(const uint8_t *in, size_t len, enum mqtt_version version, bool from_server)
{
    const struct mqtt_params params = {.version = version, .from_server = from_server};
    uint8_t *copy = wire_exact(in, len);
    struct mqtt_packet packet;
    size_t used = SIZE_MAX;
    const enum mqtt_err err = mqtt_decode(&packet, copy, len, &params, &used);
    assert(err != MQTT_OK || used == len);
    free(copy);
    return err;
}

enum mqtt_err wire_judge_text(const char *text, enum mqtt_version version, bool from_server)
{
    uint8_t in[WIRE_BYTES_MAX];
    return wire_judge(in, wire_parse(in, text), version, from_server);
}
