/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/usable.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A tree of control groups in a directory of its own; files are "path=content". */
static void build(const char *const *files)
{
    for (; *files != NULL; files++) {
        char path[256];
        const char *const equals = strchr(*files, '=');
        snprintf(path, sizeof path, "%.*s", (int)(equals - *files), *files);
        for (char *at = path; (at = strchr(at + 1, '/')) != NULL;) {
            *at = '\0';
            mkdir(path, 0700);
            *at = '/';
        }
        FILE *const f = fopen(path, "we");
        cr_assert_not_null(f, "%s", path);
        fputs(equals + 1, f);
        fclose(f);
    }
}

static const struct usable_paths paths = {"self", "root"};
static const struct usable_paths nowhere = {"no-such-file", "root"};

static void enter(void)
{
    char dir[] = "/tmp/dunlin-usable-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static void leave(void)
{
    char dir[128], command[192];
    cr_assert_not_null(getcwd(dir, sizeof dir));
    cr_assert_eq(strncmp(dir, "/tmp/dunlin-usable-", 19), 0);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    cr_expect_eq(system(command), 0);
}

TestSuite(usable, .init = enter, .fini = leave);

#define FILES(...) ((const char *const[]){__VA_ARGS__, NULL})

static unsigned affinity(void)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    return (unsigned)CPU_COUNT(&set);
}

static uint64_t physical(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

Test(usable, without_limits)
{
    cr_expect_eq(usable_processors(&nowhere), affinity());
    cr_expect_eq(usable_memory(&nowhere), physical());
    build(FILES("self=0::/a\nnonsense\n1:broken\n", "root/a/cpu.max=max 100000\n",
                "root/a/memory.max=max\n", "root/a/memory.high=max\n"));
    cr_expect_eq(usable_processors(&paths), affinity());
    cr_expect_eq(usable_memory(&paths), physical());
}

Test(usable, this_machine)
{
    cr_expect_geq(usable_processors(NULL), 1);
    cr_expect_leq(usable_processors(NULL), affinity());
    cr_expect_gt(usable_memory(NULL), 0);
    cr_expect_leq(usable_memory(NULL), physical());
}

Test(usable, quota_is_rounded_up)
{
    static const struct {
        const char *quota;
        unsigned processors;
    } rows[] = {
        {"1000 100000", 1}, {"100000 100000", 1}, {"100001 100000", 2}, {"150000 100000", 2},
        {"0 100000", 0},    {"100000 0", 0},      {"100000", 0},        {"junk", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char file[64];
        snprintf(file, sizeof file, "root/a/cpu.max=%s\n", rows[i].quota);
        build(FILES("self=0::/a\n", file));
        const unsigned want = rows[i].processors == 0 || rows[i].processors > affinity()
                                  ? affinity()
                                  : rows[i].processors;
        cr_expect_eq(usable_processors(&paths), want, "%s", rows[i].quota);
    }
}

Test(usable, lowest_of_all_ancestors)
{
    build(FILES("self=0::/a/b/c\n", "root/a/b/c/memory.max=3000000\n", "root/a/b/memory.max=max\n",
                "root/a/memory.high=2000000\n", "root/memory.max=4000000\n",
                "root/a/cpu.max=50000 100000\n"));
    cr_expect_eq(usable_memory(&paths), 2000000);
    cr_expect_eq(usable_processors(&paths), 1);
}

/* In a container the group's path may be the host's, and its files stand at the root. */
Test(usable, path_that_is_not_there)
{
    build(FILES("self=0::/kubepods/pod1/x\n", "root/memory.max=1000000\n"));
    cr_expect_eq(usable_memory(&paths), 1000000);
}

Test(usable, version_1)
{
    build(FILES("self=5:memory:/m\n4:cpu,cpuacct:/c\n1:name=systemd:/s\n",
                "root/memory/m/memory.limit_in_bytes=5000000\n",
                "root/memory/memory.limit_in_bytes=9223372036854771712\n",
                "root/cpu,cpuacct/c/cpu.cfs_quota_us=50000\n",
                "root/cpu,cpuacct/c/cpu.cfs_period_us=100000\n", "root/cpu/cpu.cfs_quota_us=-1\n",
                "root/cpu/cpu.cfs_period_us=100000\n"));
    cr_expect_eq(usable_memory(&paths), 5000000);
    cr_expect_eq(usable_processors(&paths), 1);
}

Test(usable, both_versions)
{
    build(FILES("self=1:cpu:/\n0::/u\n", "root/unified/u/memory.max=7000000\n"));
    cr_expect_eq(usable_memory(&paths), 7000000);
}
