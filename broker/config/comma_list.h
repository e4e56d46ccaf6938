/* SPDX-License-Identifier: Apache-2.0 */
/*
 * comma_list: several words in one value of the configuration, as in "a.pem, b.pem".
 *
 * Owner: the caller; nothing is kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/bytes.h"

/* Moves *at (the text, at first) past one word, and gives it without the blanks around it; false:
 * there is none left. Between two commas it may be empty; an empty text, and one behind the
 * last comma, has no word. */
bool comma_list_next(const char **at, struct bytes *word);

size_t comma_list_count(const char *text);

/* The n-th word copied to out[size]; false: there is none, or it is too long. */
bool comma_list_at(const char *text, size_t n, char *out, size_t size);
