/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* jemalloc's, where it is what we are linked with: under the sanitizers it is not. */
extern int mallctl(const char *name, void *old, size_t *old_len, void *fresh, size_t fresh_len)
    __attribute__((weak));

static void read_memory(struct process_figures *out)
{
    FILE *const f = fopen("/proc/self/statm", "re");
    if (f == NULL) {
        return;
    }
    uint64_t pages, resident;
    if (fscanf(f, "%" SCNu64 " %" SCNu64, &pages, &resident) == 2) {
        const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
        out->virtual_bytes = pages * page_bytes;
        out->resident_bytes = resident * page_bytes;
    }
    fclose(f);
}

/* The 22nd field of /proc/self/stat, in ticks since the boot; the 2nd, a name in brackets, may have
 * blanks in it (proc(5)). */
static void read_start(struct process_figures *out)
{
    char line[1024];
    struct timespec wall, boot;
    FILE *const f = fopen("/proc/self/stat", "re");
    if (f == NULL) {
        return;
    }
    const char *at = fgets(line, sizeof line, f) == NULL ? NULL : strrchr(line, ')');
    fclose(f);
    for (unsigned field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    uint64_t ticks;
    if (at == NULL || sscanf(at, "%" SCNu64, &ticks) != 1 ||
        clock_gettime(CLOCK_REALTIME, &wall) != 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0) {
        return;
    }
    const double up_s = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9;
    const double now_s = (double)wall.tv_sec + (double)wall.tv_nsec / 1e9;
    out->start_s = now_s - up_s + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static void read_descriptors(struct process_figures *out)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        out->descriptors_max = limit.rlim_cur;
    }
    struct stat
        st; /* kernels from 6.2 on tell at once; to count a hundred thousand takes a while */
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
        out->open_descriptors = (uint64_t)st.st_size;
        return;
    }
    DIR *const dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return;
    }
    while (readdir(dir) != NULL) {
        out->open_descriptors++;
    }
    closedir(dir);
    out->open_descriptors -= out->open_descriptors < 3 ? out->open_descriptors : 3; /* . .. dir */
}

static uint64_t allocator(const char *name)
{
    size_t value = 0, len = sizeof value;
    return mallctl(name, &value, &len, NULL, 0) == 0 ? value : 0;
}

/* It is jemalloc, whose figures are of now from here on. */
static bool refresh_allocator(void)
{
    uint64_t epoch = 1; /* what it says is as of the last one */
    size_t len = sizeof epoch;
    return mallctl != NULL && mallctl("epoch", &epoch, &len, &epoch, sizeof epoch) == 0;
}

uint64_t process_allocated(void)
{
    return refresh_allocator() ? allocator("stats.allocated") : 0;
}

static void read_allocator(struct process_figures *out)
{
    out->has_allocator = refresh_allocator();
    if (!out->has_allocator) {
        return;
    }
    out->allocator.allocated_bytes = allocator("stats.allocated");
    out->allocator.active_bytes = allocator("stats.active");
    out->allocator.metadata_bytes = allocator("stats.metadata");
    out->allocator.resident_bytes = allocator("stats.resident");
    out->allocator.mapped_bytes = allocator("stats.mapped");
    out->allocator.retained_bytes = allocator("stats.retained");
}

void process_read(struct process_figures *out)
{
    *out = (struct process_figures){.cpu_s = 0};
    struct timespec cpu;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
        out->cpu_s = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
    }
    read_memory(out);
    read_start(out);
    read_descriptors(out);
    read_allocator(out);
}
