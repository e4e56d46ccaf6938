/* SPDX-License-Identifier: Apache-2.0 */
/*
 * password_edit: the text of a password file with one user changed, added or taken out. All other
 * lines stay as they are, byte for byte and in their order, whatever is in them.
 *
 * Owner: the caller, who frees the text. Bound: the old text, one line, and one end of a line.
 */
#pragma once

#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct password_edit {
    char *text; /* to be freed; len bytes, no NUL */
    size_t len;
    unsigned found; /* lines that the user had; more than one is a mistake, which this mends */
};

/* hash: of the user's new line, which takes the place of the first, or comes last. hash.at NULL:
 * the user goes. False: out of memory. */
NODISCARD bool password_edit(struct password_edit *out, struct bytes text, struct bytes user,
                             struct bytes hash);
