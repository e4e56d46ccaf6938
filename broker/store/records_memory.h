/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records_memory: records.h in memory, with bodies and how many refer to them: for tests and the
 * simulator. What was changed is there at once, and there is no batch.
 *
 * Owner: one thread. Memory: all of it; nothing bounds it.
 */
#pragma once

#include "broker/store/key_map.h"
#include "broker/store/records.h"

struct records_memory {
    struct records records;
    struct key_map all;
    uint64_t miscounted; /* as in checkpoint_stats: references to what is not there */
};

void records_memory_init(struct records_memory *m); /* it stays where it is until … */
void records_memory_fini(struct records_memory *m);

/* How many refer to the body; 0: it is not there. */
uint64_t records_memory_references(const struct records_memory *m, uint64_t body);
