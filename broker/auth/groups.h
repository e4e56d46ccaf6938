/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups: the groups that a client is in, as a claim of its token names them: an array of strings,
 * or one string of names with blanks or commas between them. An array's names may have anything in
 * them; they are compared byte by byte. A name that stands twice counts once.
 *
 * Owner: whoever it was made for; it never changes. Memory: one block, `bytes`.
 * At the bounds below, and where the value is anything else: a mistake, and nothing is taken: a
 * rule may deny something to a group that would not be known of.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define GROUPS_MAX            256u
#define GROUPS_NAME_BYTES_MAX 255u

struct groups {
    size_t bytes; /* all of it */
    uint32_t count;
    uint8_t text[]; /* each name's length in one byte, and the name */
};

enum groups_err {
    GROUPS_OK = 0,
    GROUPS_WRONG,
    GROUPS_NO_MEMORY,
};

/* *out is written on GROUPS_OK: NULL if there are none, as in an empty array. */
NODISCARD enum groups_err groups_read(struct groups **out, const json_t *value);
void groups_destroy(struct groups *g); /* NULL is fine */

static inline size_t groups_bytes(const struct groups *g) /* NULL: 0 */
{
    return g == NULL ? 0 : g->bytes;
}

static inline uint32_t groups_count(const struct groups *g) /* NULL: 0 */
{
    return g == NULL ? 0 : g->count;
}

/* The name at *at, which then is the next one's place; the first is at 0, and there are `count`. */
struct bytes groups_next(const struct groups *g, size_t *at);
