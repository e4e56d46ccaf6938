/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/stored_message.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#include "tests/unit/store/stored_same.h"

static const struct stored_message rows[] = {
    {.topic = {(const uint8_t *)"t", 1}},
    {.topic = {(const uint8_t *)"a/b", 3}, .payload = {(const uint8_t *)"payload", 7}, .qos = 1},
    {.topic = {(const uint8_t *)"a/b", 3},
     .properties = {(const uint8_t *)"\x01\x01", 2},
     .payload = {(const uint8_t *)"p", 1},
     .qos = 2,
     .retain = true},
    {.topic = {(const uint8_t *)"x", 1}, .has_expiry = true, .expires_ms = 0},
    {.topic = {(const uint8_t *)"x", 1}, .has_expiry = true, .expires_ms = UINT64_MAX},
};

static size_t write(const struct stored_message *m, uint8_t out[64])
{
    stored_message_head(m, out);
    uint8_t *to = out + STORED_MESSAGE_HEAD;
    const struct bytes parts[] = {m->topic, m->properties, m->payload};
    for (unsigned i = 0; i < 3; i++) {
        if (parts[i].len > 0) {
            memcpy(to, parts[i].at, parts[i].len);
            to += parts[i].len;
        }
    }
    return (size_t)(to - out);
}

Test(stored_message, comes_back_as_it_was)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t out[64];
        struct stored_message got;
        const size_t len = write(&rows[i], out);
        cr_assert(stored_message_read(bytes_of(out, len), &got), "%zu", i);
        cr_expect(stored_same_message(&rows[i], &got), "%zu", i);
    }
}

/* The payload ends where the bytes do; all that comes before has a length, and has to be there. */
Test(stored_message, a_part_without_topic_or_properties_is_none)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t out[64];
        const size_t len = write(&rows[i], out);
        const size_t needed = len - rows[i].payload.len;
        for (size_t part = 0; part <= len; part++) {
            uint8_t *const copy = malloc(part > 0 ? part : 1); /* with an end that is watched */
            struct stored_message got;
            memcpy(copy, out, part);
            cr_expect_eq(stored_message_read(bytes_of(copy, part), &got), part >= needed, "%zu %zu",
                         i, part);
            free(copy);
        }
    }
}

/* The byte at that place, changed to that, makes it one of a later version, or of none. */
static const struct {
    const char *what;
    size_t at;
    uint8_t byte;
} refused[] = {
    {"qos 3", 0, 0x03},     {"an unknown flag", 0, 0x10}, {"another", 0, 0x80},
    {"version 0", 1, 0},    {"a later version", 1, 2},    {"no topic", 2, 0},
    {"a long topic", 3, 1}, {"long properties", 7, 0xff},
};

Test(stored_message, what_is_unknown_is_refused)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        uint8_t out[64];
        struct stored_message got;
        const size_t len = write(&rows[1], out);
        out[refused[i].at] = refused[i].byte;
        cr_expect_not(stored_message_read(bytes_of(out, len), &got), "%s", refused[i].what);
    }
}
