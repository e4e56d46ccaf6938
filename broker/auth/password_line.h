/* SPDX-License-Identifier: Apache-2.0 */
/*
 * password_line: a password file, line by line; the one place that says what a line is.
 *
 *   USER:HASH    blanks around either do not count, as with Mosquitto
 *   # comment    also behind blanks; and an empty line
 *
 * Owner: the caller, who also keeps the text. Any bytes are fair input. A mark of UTF-8 counts as a
 * blank, as some editors begin a file with one.
 */
#pragma once

#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct password_lines {
    struct bytes left;
    unsigned line; /* the number of the last one, from 1; 0 before the first */
};

enum password_line_kind {
    PASSWORD_LINE_EMPTY, /* or a comment */
    PASSWORD_LINE_USER,
    PASSWORD_LINE_NO_COLON,
};

struct password_line {
    enum password_line_kind kind;
    struct bytes whole; /* with its end, which the last may lack */
    struct bytes end;   /* "\n", "\r\n", or nothing; a part of whole */
    struct bytes user;  /* PASSWORD_LINE_USER: both may be empty */
    struct bytes hash;
};

struct password_lines password_lines_of(struct bytes text);

/* False: there is none left. */
NODISCARD bool password_lines_next(struct password_lines *lines, struct password_line *line);
