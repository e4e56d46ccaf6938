/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_parts: what the parts of the broker's work cost, each alone.
 *
 *   bench_parts [NAME]            nanoseconds for each operation, the median of nine rounds
 *   bench_parts --list
 *   bench_parts --count N NAME    just N operations, for a tool that counts instructions
 *
 * NAME is the beginning of a name.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "bench/timing.h"

#define ROUND_NS 5000000u /* that long at least */

static void *create(const struct micro *m)
{
    return m->create != NULL ? m->create() : NULL;
}

static void destroy(const struct micro *m, void *state)
{
    if (m->destroy != NULL) {
        m->destroy(state);
    }
}

/* By their names instructions.py knows what is to be counted, and what is not. */
__attribute__((noipa)) static void counted_run(const struct micro *m, void *state, uint64_t n)
{
    m->run(state, n);
}

static uint64_t aside_ns;

__attribute__((noipa)) void micro_aside(void (*make_ready)(void *state), void *state)
{
    const uint64_t begin = timing_now_ns();
    make_ready(state);
    aside_ns += timing_now_ns() - begin;
}

static uint64_t run_ns(const struct micro *m, void *state, uint64_t count)
{
    aside_ns = 0;
    const uint64_t begin = timing_now_ns();
    counted_run(m, state, count);
    return timing_now_ns() - begin - aside_ns;
}

static void measure(const struct micro *m)
{
    void *state = create(m);
    uint64_t count = 1;
    do {
        count *= 2;
    } while (run_ns(m, state, count) < ROUND_NS);
    double rounds[TIMING_ROUNDS];
    for (unsigned i = 0; i < TIMING_ROUNDS; i++) {
        rounds[i] = (double)run_ns(m, state, count) / (double)count;
    }
    printf("%-24s %10.1f ns\n", m->name, timing_median(rounds));
    fflush(stdout);
    destroy(m, state);
}

static void count(const struct micro *m, uint64_t n)
{
    void *state = create(m);
    counted_run(m, state, n);
    destroy(m, state);
}

int main(int argc, char **argv)
{
    const struct micro *const tables[] = {micro_acl,   micro_codec, micro_index,    micro_journal,
                                          micro_shard, micro_table, micro_websocket};
    const bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
    const bool counted = argc == 4 && strcmp(argv[1], "--count") == 0;
    const char *const prefix = counted ? argv[3] : argc == 2 && !list ? argv[1] : "";
    if (argc > 2 && !counted) {
        fputs("usage: bench_parts [--list | [--count N] NAME]\n", stderr);
        return 2;
    }
    unsigned ran = 0;
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (const struct micro *m = tables[t]; m->name != NULL; m++) {
            if (strncmp(m->name, prefix, strlen(prefix)) != 0) {
                continue;
            }
            ran++;
            if (list) {
                puts(m->name);
            } else if (counted) {
                count(m, strtoull(argv[2], NULL, 10));
            } else {
                measure(m);
            }
        }
    }
    return ran > 0 ? 0 : 2;
}
