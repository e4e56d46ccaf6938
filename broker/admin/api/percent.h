/* SPDX-License-Identifier: Apache-2.0 */
/*
 * percent: what is percent-encoded in a path or a query (RFC 3986, section 2.1). The library's own
 * decoder loses where a slash was one of the text, and what comes after %00.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* In place, with a NUL behind it. false: a % is followed by something else than two digits. */
NODISCARD bool percent_decode(char *text, struct bytes *out);
