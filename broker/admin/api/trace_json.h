/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_json: what of a trace is written to who watches: a line of JSON for each event, or a block
 * of a capture (recorder/story.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "proto/nodiscard.h"

struct node;
struct trace_record;

/* What there is to say of it. NULL: no memory. */
NODISCARD json_t *trace_json(const struct node *node, const struct trace_record *r);

/* The time, and what has happened; to be filled. NULL: no memory. */
NODISCARD json_t *trace_json_event(const struct node *node, uint64_t at_us, const char *event);

/* Takes it. false: it was NULL, or could not be written. */
NODISCARD bool trace_json_line(FILE *to, json_t *line);
