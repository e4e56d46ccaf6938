/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acl_line: an ACL file, line by line, and a line in words.
 *
 *   allow user="Alice B" publish qos=0,1 home/# "a topic with blanks"
 *   # comment    only as a line of its own, as # is a filter
 *
 * Words are separated by blanks. What stands in double quotes is taken as it is; there, \" and \\
 * stand for " and \. A mark of UTF-8 at the beginning of a file does not count.
 *
 * Owner: the caller, who also keeps the text. Any bytes are fair input.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct acl_lines {
    struct bytes left;
    unsigned line; /* the number of the last one, from 1 */
};

struct acl_lines acl_lines_of(struct bytes text);

/* The next line that has words in it, without its end; false: there is none. */
NODISCARD bool acl_lines_next(struct acl_lines *lines, struct bytes *line);

struct acl_word {
    struct bytes text; /* without quotes */
    size_t key_len;    /* KEY=…: the length of KEY; 0: it is none, or it is quoted */
};

enum acl_word_err {
    ACL_WORD_OK = 0,
    ACL_WORD_NONE,     /* the line is at its end */
    ACL_WORD_UNQUOTED, /* a quote is not closed */
    ACL_WORD_ESCAPE,   /* a \ in quotes, and neither " nor \ behind it */
};

/* Takes the next word off the line; its text is written to out[], which has room for the line. */
NODISCARD enum acl_word_err acl_word_next(struct bytes *line, struct acl_word *word, uint8_t *out);
