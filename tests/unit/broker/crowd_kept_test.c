/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever clients do, and whenever the process ends. The same runs each time: they are few, as a
 * start costs some milliseconds. CROWD_ROUNDS asks for so many others, and TEST_SEED repeats one.
 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/broker/crowd_random.h"

#define ROUNDS  25u
#define ACTIONS 3000u

#define FIRST_SEED 0x6b657074u

static void run(uint64_t seed, struct crowd_figures *sum)
{
    struct random_chooser c = random_chooser_of(seed, 100 + (unsigned)(seed % ACTIONS));
    struct crowd_figures figures;
    fprintf(stderr, "TEST_SEED=%#llx\n", (unsigned long long)seed);
    crowd_run_kept(&c.base, &figures);
    sum->actions += figures.actions;
    sum->said += figures.said;
    sum->heard += figures.heard;
    sum->resumed += figures.resumed;
    sum->crashes += figures.crashes;
    sum->ends += figures.ends;
    sum->compared += figures.compared;
    sum->unwritten += figures.unwritten;
}

Test(crowd_kept, promises_outlive_the_process)
{
    const char *const asked = getenv("CROWD_ROUNDS");
    const unsigned long rounds = asked == NULL ? ROUNDS : strtoul(asked, NULL, 10);
    struct random seeds = random_init();
    if (asked == NULL && getenv("TEST_SEED") == NULL) {
        seeds = (struct random){.seed = FIRST_SEED, .state = FIRST_SEED};
    }
    struct crowd_figures sum = {0};
    for (unsigned long round = 0; round < rounds; round++) {
        run(round == 0 ? seeds.seed : random_next(&seeds), &sum);
    }
    cr_log_info("%llu actions: %llu said, %llu heard, %llu sessions resumed; %llu crashes, %llu "
                "ends, %llu states compared, %llu with something not yet written",
                (unsigned long long)sum.actions, (unsigned long long)sum.said,
                (unsigned long long)sum.heard, (unsigned long long)sum.resumed,
                (unsigned long long)sum.crashes, (unsigned long long)sum.ends,
                (unsigned long long)sum.compared, (unsigned long long)sum.unwritten);
    cr_expect_gt(sum.heard, sum.said / 4, "the crowd hardly listens");
}
