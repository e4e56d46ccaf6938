/* SPDX-License-Identifier: Apache-2.0 */
/* process: what the kernel and the allocator say of this process. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What could not be found out is 0. */
struct process_figures {
    double cpu_s;
    double start_s; /* Unix time */
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t open_descriptors;
    uint64_t descriptors_max;
    bool has_allocator; /* it is jemalloc, which knows these: */
    struct {
        uint64_t allocated_bytes;
        uint64_t active_bytes;
        uint64_t metadata_bytes;
        uint64_t resident_bytes;
        uint64_t mapped_bytes;
        uint64_t retained_bytes;
    } allocator;
};

void process_read(struct process_figures *out);

uint64_t process_allocated(void); /* of the allocator; 0: it is not jemalloc */
