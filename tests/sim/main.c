/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim SUITE [--seeds N] [--seed S] [--trace]
 * sim --list
 *
 * Runs N seeds from S on (1, and 1 where --seed is given), each twice where it is only one: the
 * same seed must give the same run. A seed that fails is printed with the command that runs it
 * again, and ends it: exit status 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/suites.h"

#define SEEDS     1000u
#define SAY_EVERY 1000u

struct options {
    const struct sim_suite *suite;
    uint64_t seed, seeds;
    bool trace;
};

static int usage(void)
{
    fprintf(stderr, "usage: sim SUITE [--seeds N] [--seed S] [--trace]\nsuites:");
    for (unsigned i = 0; suite_at(i) != NULL; i++) {
        fprintf(stderr, " %s", suite_at(i)->name);
    }
    fprintf(stderr, "\n");
    return 2;
}

static int list(void)
{
    for (unsigned i = 0; suite_at(i) != NULL; i++) {
        printf("%s\n", suite_at(i)->name);
    }
    return 0;
}

static bool read_number(const char *text, uint64_t *value)
{
    char *end;
    *value = strtoull(text, &end, 0);
    return *text != '\0' && *end == '\0';
}

static bool read_options(struct options *o, int argc, char **argv)
{
    bool has_seed = false, has_seeds = false;
    if (argc < 2) {
        return false;
    }
    o->suite = suite_find(argv[1]);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            o->trace = true;
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            has_seed = read_number(argv[++i], &o->seed);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            has_seeds = read_number(argv[++i], &o->seeds);
        } else {
            return false;
        }
    }
    o->seed = has_seed ? o->seed : 1;
    o->seeds = has_seeds ? o->seeds : has_seed ? 1 : SEEDS;
    return o->suite != NULL;
}

/* Of all seeds so far. */
struct sums {
    uint64_t events, converged_ms, slowest_ms, slowest;
};

static void say(const struct options *o, const struct sums *sums, uint64_t done)
{
    printf("%s: %" PRIu64 " seeds, %" PRIu64 " events; converged after %.1f s, %.1f s at most "
           "(seed %" PRIu64 ")\n",
           o->suite->name, done, sums->events, (double)sums->converged_ms / 1000.0 / (double)done,
           (double)sums->slowest_ms / 1000.0, sums->slowest);
    fflush(stdout);
}

static int fail(const struct options *o, uint64_t seed, const struct sim_result *r)
{
    printf("%s: seed %" PRIu64 ", %u nodes, faults 0x%x, at %.3f s: %s\n"
           "again: ./dev sim %s --seed %" PRIu64 " --trace\n",
           o->suite->name, seed, r->nodes, r->faults, (double)r->at_ms / 1000.0, r->what,
           o->suite->name, seed);
    return 1;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct sums sums = {0};
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        return list();
    }
    if (!read_options(&o, argc, argv)) {
        return usage();
    }
    for (uint64_t i = 0; i < o.seeds; i++) {
        const uint64_t seed = o.seed + i;
        const struct sim_result r = sim_run(o.suite, seed, o.trace);
        if (r.failed) {
            return fail(&o, seed, &r);
        }
        if (o.seeds == 1) {
            const bool same = sim_run(o.suite, seed, false).hash == r.hash;
            printf("hash %016" PRIx64 ", the second time %s\n", r.hash,
                   same ? "the same" : "ANOTHER");
            if (!same) {
                return 1;
            }
        }
        sums.events += r.events;
        sums.converged_ms += r.converged_ms;
        if (r.converged_ms >= sums.slowest_ms) {
            sums.slowest_ms = r.converged_ms;
            sums.slowest = seed;
        }
        if ((i + 1) % SAY_EVERY == 0 || i + 1 == o.seeds) {
            say(&o, &sums, i + 1);
        }
    }
    return 0;
}
