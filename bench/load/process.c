/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/process.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

static bool read_clock(pid_t pid, uint64_t *ns)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
        return false;
    }
    *ns = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
    return true;
}

/* utime and stime are fields 14 and 15; the second, a name, may hold spaces and parentheses. */
static bool read_stat(pid_t pid, struct process_usage *usage)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *const file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    const bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    const char *const name_end = read ? strrchr(line, ')') : NULL;
    unsigned long long user, system;
    if (name_end == NULL ||
        sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
               &system) != 2) {
        return false;
    }
    const uint64_t tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
    usage->user_ns = user * tick_ns;
    usage->system_ns = system * tick_ns;
    return true;
}

/* A line "Name:   123 kB" of /proc/PID/file; 0 when it is not there. */
static uint64_t read_kib(pid_t pid, const char *file_name, const char *name)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file_name);
    FILE *const file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    const size_t name_len = strlen(name);
    unsigned long long kib = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, name_len) == 0 && line[name_len] == ':') {
            if (sscanf(line + name_len + 1, "%llu", &kib) != 1) {
                kib = 0;
            }
            break;
        }
    }
    fclose(file);
    return kib * 1024;
}

bool process_usage_read(pid_t pid, struct process_usage *usage)
{
    struct process_usage u = {0};
    if (!read_clock(pid, &u.processor_ns) || !read_stat(pid, &u)) {
        return false;
    }
    u.rss_bytes = read_kib(pid, "status", "VmRSS");
    u.pss_bytes = read_kib(pid, "smaps_rollup", "Pss");
    *usage = u;
    return true;
}
