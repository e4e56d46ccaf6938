/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exposition: every figure of the process as a text that Prometheus reads (its text format 0.0.4),
 * or OpenMetrics 1.0, which differs in the names of families and in its last line.
 *
 * Any thread; shards are not held up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/nodiscard.h"

struct node;

#define EXPOSITION_PLAIN       "text/plain; version=0.0.4; charset=utf-8"
#define EXPOSITION_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* The text, to be freed by the caller; NULL: no memory. */
NODISCARD char *exposition_write(const struct node *node, bool openmetrics, size_t *len);

/* Does the Accept header of a request ask for OpenMetrics? NULL: there is none. */
bool exposition_wants_openmetrics(const char *accept);
