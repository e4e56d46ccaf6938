/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ban_edit: the text of a ban list with one ban added, replaced, or taken out. All other lines stay
 * as they are, byte for byte and in their order, whatever is in them.
 *
 * Owner: the caller, who frees the text. Bound: the old text, one line, and one end of a line.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "broker/guard/ban_line.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct ban_edit {
    char *text; /* to be freed; len bytes, no NUL */
    size_t len;
    unsigned found; /* lines of the same value that there were */
};

/* keep: the ban takes the place of the first of those lines, or comes last; otherwise all of them
 * go. False: out of memory. */
NODISCARD bool ban_edit(struct ban_edit *out, struct bytes text, const struct ban *ban, bool keep);
