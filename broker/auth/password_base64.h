/* SPDX-License-Identifier: Apache-2.0 */
/*
 * password_base64: bytes as they stand in a password's hash: base64 (RFC 4648, section 4), in the
 * one way in which each run of bytes is written.
 *
 * Memory: none. Not in constant time: what is written this way is the file's, not the client's.
 */
#pragma once

#include <stddef.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

enum password_base64 {
    PASSWORD_BASE64_PADDED, /* with = at the end, as Mosquitto and SCRAM write it */
    PASSWORD_BASE64_BARE,   /* without, as PHC strings have it */
};

/* Of any run of n bytes, with the NUL that follows it. */
#define PASSWORD_BASE64_TEXT(n) (((n) + 2) / 3 * 4 + 1)

/* Writes PASSWORD_BASE64_TEXT(in.len) bytes at most, and returns how many without the NUL. */
size_t password_base64_encode(char *text, struct bytes in, enum password_base64 form);

/* False: not that form, or more than out_max bytes. Nothing but out[0..out_max) is written. */
NODISCARD bool password_base64_decode(uint8_t *out, size_t out_max, size_t *out_len,
                                      struct bytes text, enum password_base64 form);
