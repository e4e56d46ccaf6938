/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/utf8.h"

#include <assert.h>

#define ONES  0x0101010101010101u
#define HIGHS 0x8080808080808080u

/* Eight bytes, all of 0x01..0x7f: then none has its high bit set, neither before nor after taking
 * one off each; 0x00 would borrow. */
static bool ascii_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return ((word | (word - ONES)) & HIGHS) == 0;
}

static bool continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The well-formed sequences by their first byte (Unicode, table 3-7): how many bytes, and which
 * second byte keeps out the overlong forms, the surrogates, and what is above U+10FFFF. */
struct lead {
    uint8_t size; /* 0: begins nothing */
    uint8_t second_min;
    uint8_t second_max;
};

static struct lead lead_of(uint8_t first)
{
    if (first < 0xc2) {
        return (struct lead){0, 0, 0};
    }
    if (first < 0xe0) {
        return (struct lead){2, 0x80, 0xbf};
    }
    if (first < 0xf0) {
        return (struct lead){3, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf};
    }
    if (first < 0xf5) {
        return (struct lead){4, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf};
    }
    return (struct lead){0, 0, 0};
}

/* The size of the multi-byte sequence at[0..left) begins with; 0 if it is none. */
static size_t sequence_size(const uint8_t *at, size_t left)
{
    assert(left > 0);

    const struct lead lead = lead_of(at[0]);
    if (lead.size == 0 || lead.size > left) {
        return 0;
    }
    if (at[1] < lead.second_min || at[1] > lead.second_max) {
        return 0;
    }
    for (size_t i = 2; i < lead.size; i++) {
        if (!continuation(at[i])) {
            return 0;
        }
    }
    return lead.size;
}

bool utf8_valid(struct bytes text)
{
    const uint8_t *at = text.at;
    size_t left = text.len;
    while (left > 0) {
        size_t size = 1;
        if (at[0] >= 0x80) {
            size = sequence_size(at, left);
        } else if (left >= sizeof(uint64_t) && ascii_word(at)) {
            size = sizeof(uint64_t);
        } else if (at[0] == 0) {
            size = 0;
        }
        if (size == 0) {
            return false;
        }
        at += size;
        left -= size;
    }
    return true;
}
