/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_errand: a shard is given a trace, or is to let go of it.
 *
 * Owner: as an errand (shard/errand.h); it holds the trace.
 */
#pragma once

#include <stdbool.h>

#include "broker/shard/errand.h"
#include "proto/nodiscard.h"

struct trace;

struct trace_errand {
    struct errand errand;
    struct trace *trace;
    bool begins; /* otherwise it ends */
    bool done;   /* false: the shard has no memory, or no place, for it */
};

/* NULL: no memory. */
NODISCARD struct trace_errand *trace_errand_create(struct trace *t, bool begins);
