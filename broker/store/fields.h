/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields: numbers and runs of bytes, one after the other, as entries and records are put together.
 * A number takes 7 bits a byte, low ones first, so that small ones are short; a run has its length
 * before it.
 *
 * Pure. A reader that meets what it cannot read says `failed` from then on, and gives zeros.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"

#define FIELD_NUMBER_MAX 10u /* bytes of a number */

/* Owner: whoever has it; its memory stays for the next use. */
struct field_writer {
    uint8_t *at;
    size_t len, capacity;
    bool failed; /* no memory: what is in it is not whole */
};

static inline void field_writer_fini(struct field_writer *w)
{
    free(w->at);
    *w = (struct field_writer){.at = NULL};
}

static inline void field_writer_begin(struct field_writer *w)
{
    w->len = 0;
    w->failed = false;
}

static inline uint8_t *field_room(struct field_writer *w, size_t len)
{
    if (w->capacity - w->len < len) {
        const size_t capacity = (w->capacity + len) * 2;
        uint8_t *const more = realloc(w->at, capacity);
        if (more == NULL) {
            w->failed = true;
            return NULL;
        }
        w->at = more;
        w->capacity = capacity;
    }
    return w->at + w->len;
}

static inline void put_number(struct field_writer *w, uint64_t number)
{
    uint8_t *to = field_room(w, FIELD_NUMBER_MAX);
    if (to == NULL) {
        return;
    }
    while (number > 0x7f) {
        *to++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *to++ = (uint8_t)number;
    w->len = (size_t)(to - w->at);
}

/* Without a length before it. */
static inline void put_raw(struct field_writer *w, struct bytes bytes)
{
    uint8_t *const to = bytes.len > 0 ? field_room(w, bytes.len) : NULL;
    if (to != NULL) {
        memcpy(to, bytes.at, bytes.len);
        w->len += bytes.len;
    }
}

static inline void put_run(struct field_writer *w, struct bytes bytes)
{
    put_number(w, bytes.len);
    put_raw(w, bytes);
}

static inline struct bytes field_written(const struct field_writer *w)
{
    return bytes_of(w->at, w->len);
}

struct field_reader {
    struct bytes rest;
    bool failed;
};

static inline uint64_t get_number(struct field_reader *r)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < FIELD_NUMBER_MAX && i < r->rest.len; i++) {
        const uint8_t byte = r->rest.at[i];
        if (i == FIELD_NUMBER_MAX - 1 && byte > 1) {
            break; /* above 64 bits */
        }
        number |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            r->rest = bytes_of(r->rest.at + i + 1, r->rest.len - i - 1);
            return number;
        }
    }
    r->failed = true;
    r->rest = bytes_of(NULL, 0);
    return 0;
}

/* A number that is at most `max`. */
static inline uint64_t get_number_to(struct field_reader *r, uint64_t max)
{
    const uint64_t number = get_number(r);
    if (number > max) {
        r->failed = true;
        return 0;
    }
    return number;
}

/* A packet identifier: 1..65535. */
static inline uint16_t get_packet_id(struct field_reader *r)
{
    const uint16_t packet_id = (uint16_t)get_number_to(r, UINT16_MAX);
    r->failed = r->failed || packet_id == 0;
    return packet_id;
}

static inline struct bytes get_run(struct field_reader *r)
{
    const uint64_t len = get_number(r);
    if (r->failed || len > r->rest.len) {
        r->failed = true;
        return bytes_of(NULL, 0);
    }
    const struct bytes run = bytes_of(r->rest.at, (size_t)len);
    r->rest = bytes_of(r->rest.at + len, r->rest.len - (size_t)len);
    return run;
}

static inline bool fields_are_over(const struct field_reader *r)
{
    return !r->failed && r->rest.len == 0;
}
