/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/usable.h"

#include <assert.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

static const struct usable_paths real_paths = {"/proc/self/cgroup", "/sys/fs/cgroup"};

/* Called for each directory of ours and of its ancestors that the limit may be in. */
typedef void visit_fn(const char *dir, uint64_t *limit);

/* The first line of dir/name; false: it cannot be read. */
static bool read_line(const char *dir, const char *name, char *line, int line_bytes)
{
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *const f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    const bool good = fgets(line, line_bytes, f) != NULL;
    fclose(f);
    return good;
}

/* false also for "max" and "-1", which are no limit. */
static bool read_number(const char *dir, const char *name, uint64_t *number)
{
    char line[64], *end;
    if (!read_line(dir, name, line, sizeof line) || line[0] < '0' || line[0] > '9') {
        return false;
    }
    *number = strtoull(line, &end, 10);
    return end != line;
}

static void lower_to(uint64_t *limit, uint64_t value)
{
    if (value < *limit) {
        *limit = value;
    }
}

static void lower_to_quota(uint64_t *limit, uint64_t quota, uint64_t period)
{
    if (quota > 0 && period > 0) {
        lower_to(limit, quota / period + (quota % period != 0));
    }
}

static void visit_processors(const char *dir, uint64_t *limit)
{
    char line[64];
    unsigned long long quota, period;
    uint64_t v1_quota, v1_period;
    if (read_line(dir, "cpu.max", line, sizeof line) &&
        sscanf(line, "%llu %llu", &quota, &period) == 2) {
        lower_to_quota(limit, quota, period);
    }
    if (read_number(dir, "cpu.cfs_quota_us", &v1_quota) &&
        read_number(dir, "cpu.cfs_period_us", &v1_period)) {
        lower_to_quota(limit, v1_quota, v1_period);
    }
}

static void visit_memory(const char *dir, uint64_t *limit)
{
    static const char *const names[] = {"memory.max", "memory.high", "memory.limit_in_bytes"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (read_number(dir, names[i], &bytes) && bytes > 0) {
            lower_to(limit, bytes);
        }
    }
}

/* root/mount/group, root/mount/gro…, root/mount. The first are not there in a container that sees
 * only its own group, which is then the last. */
static void visit_ancestors(const char *root, const char *mount, const char *group, visit_fn *visit,
                            uint64_t *limit)
{
    char dir[PATH_BYTES];
    const int top = snprintf(dir, sizeof dir, "%s%s%s", root, mount[0] == '\0' ? "" : "/", mount);
    if (top >= PATH_BYTES ||
        snprintf(dir + top, sizeof dir - (size_t)top, "%s", group) >= PATH_BYTES - top) {
        return;
    }
    for (;;) {
        visit(dir, limit);
        char *const slash = strrchr(dir + top, '/');
        if (slash == NULL) {
            return;
        }
        *slash = '\0';
    }
}

/* "0::/a/b" (v2) or "4:cpu,cpuacct:/a/b" (v1, where each set of controllers has its own mount). */
static void visit_line(const char *root, char *line, visit_fn *visit, uint64_t *limit)
{
    char *const controllers = strchr(line, ':');
    char *const group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (group == NULL) {
        return;
    }
    *group = '\0';
    char *const path = group + 1;
    path[strcspn(path, "\n")] = '\0';
    if (controllers[1] == '\0') {
        visit_ancestors(root, "", path, visit, limit);
        visit_ancestors(root, "unified", path, visit, limit);
        return;
    }
    visit_ancestors(root, controllers + 1, path, visit, limit);
    char *rest = controllers + 1;
    for (char *one; (one = strsep(&rest, ",")) != NULL;) {
        visit_ancestors(root, one, path, visit, limit);
    }
}

static void visit_groups(const struct usable_paths *paths, visit_fn *visit, uint64_t *limit)
{
    char line[PATH_BYTES];
    const struct usable_paths *const p = paths == NULL ? &real_paths : paths;
    FILE *const f = fopen(p->cgroup_self, "re");
    if (f == NULL) {
        return;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        visit_line(p->cgroup_root, line, visit, limit);
    }
    fclose(f);
}

/* Of a machine with more than 1,024 processors the set does not fit: then what is online counts. */
static uint64_t processors_of_affinity(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        return (uint64_t)CPU_COUNT(&set);
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint64_t)online : 1;
}

unsigned usable_processors(const struct usable_paths *paths)
{
    uint64_t limit = processors_of_affinity();
    visit_groups(paths, visit_processors, &limit);
    assert(limit >= 1);
    return (unsigned)limit;
}

uint64_t usable_memory(const struct usable_paths *paths)
{
    uint64_t limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    visit_groups(paths, visit_memory, &limit);
    assert(limit > 0);
    return limit;
}
