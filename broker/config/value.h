/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value: what an operator may write for a key, and what it means.
 *
 * Every source (default, file, environment, flag) brings text; value_plain() is where all of it is
 * judged. What it returns libcyaml takes for the field: sizes in bytes, words as the table has
 * them.
 *
 * Owner: the caller.
 */
#pragma once

#include <stddef.h>

#include "broker/config/schema.h"
#include "proto/nodiscard.h"

#define VALUE_PROBLEM_BYTES 512u

/* The plain form, to be freed. NULL: *problem says what is wrong and what would be right, without
 * the key's name; it is "" when memory ran out. */
NODISCARD char *value_plain(const struct schema_key *key, const char *text,
                            char problem[VALUE_PROBLEM_BYTES]);

/* For people: "a whole number from 1 to 65535 (messages)", "true or false" … */
void value_expected(const struct schema_key *key, char *out, size_t out_bytes);

/* A plain size as short as it can be said exactly: "64 MiB". */
void value_size_text(uint64_t bytes, char out[24]);
