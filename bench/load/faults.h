/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults: what was lost, repeated, or out of order, when all workers have ended.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/load/run.h"

struct faults {
    uint64_t expected; /* deliveries */
    uint64_t lost;
    uint64_t duplicates;
    uint64_t disordered;
    bool broken_promise; /* of the QoS; of anything at all with --strict */
};

struct faults faults_count(const struct run *r);
