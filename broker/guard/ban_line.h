/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ban_line: a ban list, line by line; the one place that says what a line is.
 *
 *   KIND VALUE [until TIME] [because TEXT]      KIND: client, user, address
 *   # comment                                   also behind blanks; and an empty line
 *
 * VALUE goes up to a blank, or is in quotes, where \" \\ and \xHH stand for a byte each. TIME is
 * UTC, as in 2026-12-31T23:59:59Z. docs/protection.md tells it to operators.
 *
 * Owner: the caller, who also keeps the text. Any bytes are fair input.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/config/address_ranges.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define BAN_VALUE_BYTES_MAX 1024u
#define BAN_TEXT_BYTES_MAX  1024u /* behind because */
#define BAN_LINE_BYTES_MAX  8192u /* without its end; what ban_print() writes is shorter */
#define BAN_FOREVER         INT64_MAX

enum ban_kind { BAN_CLIENT, BAN_USER, BAN_ADDRESS };

struct ban {
    enum ban_kind kind;
    uint16_t value_len; /* of a client or user; else 0 */
    uint8_t value[BAN_VALUE_BYTES_MAX];
    struct address_range range; /* of an address */
    int64_t until_s;            /* since 1970, UTC; or BAN_FOREVER */
    struct bytes because;       /* borrowed; empty: nothing is said */
};

struct ban_lines {
    struct bytes left;
    unsigned number; /* of the last one, from 1; 0 before the first */
};

struct ban_line {
    struct bytes whole; /* with its end, which the last may lack */
    struct bytes end;   /* "\n", "\r\n", "\r", or nothing; a part of whole */
    struct bytes text;  /* without blanks around it; empty: nothing, or a comment */
};

struct ban_lines ban_lines_of(struct bytes text);
NODISCARD bool ban_lines_next(struct ban_lines *lines, struct ban_line *line); /* false: none */

/* NULL: *out is written. Otherwise what is wrong, to be put behind "FILE:LINE: ". */
NODISCARD const char *ban_parse(struct ban *out, struct bytes text);

/* The same of words: kind, and the value as it is. Forever, and without a reason. */
NODISCARD const char *ban_make(struct ban *out, struct bytes kind, struct bytes value);

const char *ban_kind_name(enum ban_kind kind);
bool ban_is_same(const struct ban *a, const struct ban *b); /* kind and value */

/* As a line without its end, and a NUL; the length without that. */
size_t ban_print(const struct ban *ban, char text[BAN_LINE_BYTES_MAX]);

/* false: it is no time. */
NODISCARD bool ban_time_parse(int64_t *out_s, struct bytes text);
