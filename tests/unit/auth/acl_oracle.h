/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acl_oracle: rules read and asked in the most naive way: filters as text with the names put in,
 * and what a filter is about found out by trying every topic of a small world.
 *
 * Topics have up to ORACLE_LEVELS levels, each of oracle_levels[]. Owner: the test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "broker/auth/acl_rule.h"
#include "proto/bytes.h"

#define ORACLE_LEVELS 3u

extern const char *const oracle_levels[];
extern const size_t oracle_level_count;

/* Topic n of the world, into text; false: there are no more. */
bool oracle_topic(size_t n, char *text);

/* Is a rule with that filter, as written, about the topic? */
bool oracle_matches(const char *filter, bool allow, const struct acl_names *names,
                    const char *topic);
