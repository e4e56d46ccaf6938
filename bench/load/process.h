/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: what another process of this machine has used: processor time and memory.
 *
 * The time of all its threads, ended ones too, comes from its processor-time clock, exact to the
 * nanosecond; the shares of user and system from /proc/PID/stat, in ticks of 10 ms.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    uint64_t processor_ns;
    uint64_t user_ns;   /* to a tick */
    uint64_t system_ns; /* to a tick */
    uint64_t rss_bytes;
    uint64_t pss_bytes; /* 0 where it may not be read */
};

/* false: there is no such process, or it may not be looked at. */
bool process_usage_read(pid_t pid, struct process_usage *usage);
