/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes: a borrowed run of bytes; strings of the protocol are such runs, never NUL-terminated.
 *
 * Owner: whoever owns what `at` points into; a struct bytes is passed and copied by value.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *at; /* may be NULL when len is 0 */
    size_t len;
};

static inline struct bytes bytes_of(const void *at, size_t len)
{
    return (struct bytes){.at = at, .len = len};
}

/* The characters of a C string, without its NUL. */
static inline struct bytes bytes_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}
