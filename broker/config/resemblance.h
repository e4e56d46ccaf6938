/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resemblance: how far a mistyped name is from a right one, for "did you mean …?".
 *
 * Owner: the caller; no memory. Names longer than RESEMBLANCE_BYTES_MAX resemble nothing.
 */
#pragma once

#include <stddef.h>

#define RESEMBLANCE_BYTES_MAX 96u
#define RESEMBLANCE_NONE      1000u

/* How many letters to change, leave out, put in, or swap with the next; at most 1 when both are the
 * same words (split at . and _) in another order. RESEMBLANCE_NONE when that is over a third of
 * the right name: then it is no slip of the pen. */
unsigned resemblance(const char *wrong, size_t wrong_len, const char *right, size_t right_len);
