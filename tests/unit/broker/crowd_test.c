/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever clients do, in whatever order the shards get to run. CROWD_SEED repeats one run. */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/broker/crowd_random.h"

#define ROUNDS  500u
#define ACTIONS 3000u

Test(crowd, promises_are_kept)
{
    struct random seeds = random_init();
    struct crowd_figures sum = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t seed = round == 0 ? seeds.seed : random_next(&seeds);
        fprintf(stderr, "TEST_SEED=%#llx\n", (unsigned long long)seed);
        struct random_chooser c = random_chooser_of(seed, 100 + (unsigned)(seed % ACTIONS));
        struct crowd_figures figures;
        crowd_run(&c.base, &figures);
        sum.actions += figures.actions;
        sum.said += figures.said;
        sum.heard += figures.heard;
        sum.repeated += figures.repeated;
        sum.resumed += figures.resumed;
    }
    cr_log_info("%llu actions: %llu said, %llu heard, %llu repeated, %llu sessions resumed",
                (unsigned long long)sum.actions, (unsigned long long)sum.said,
                (unsigned long long)sum.heard, (unsigned long long)sum.repeated,
                (unsigned long long)sum.resumed);
    cr_expect_gt(sum.heard, sum.said / 4, "the crowd hardly listens");
    cr_expect_gt(sum.resumed, ROUNDS);
}
