/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64url: bytes as they stand in tokens and their keys (RFC 7515, section 2; RFC 4648, section
 * 5): without padding, and in the one way in which each run of bytes is written.
 *
 * Memory: none. Any bytes are fair input.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* How many bytes a text of n characters stands for. */
#define BASE64URL_BYTES(n) ((n) / 4 * 3 + ((n) % 4 == 0 ? 0 : (n) % 4 - 1))

/* Is it nothing but characters of this form? How many there are is not looked at. */
bool base64url_is(struct bytes text);

/* False: not that form, or more than out_max bytes. Nothing but out[0..out_max) is written. */
NODISCARD bool base64url_decode(uint8_t *out, size_t out_max, size_t *out_len, struct bytes text);
