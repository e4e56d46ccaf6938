/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/claims/due.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/route/random.h"

#define COUNT 300u

/* Whatever is set, moved and taken out: what comes first is the earliest that is there. */
Test(due, the_earliest_comes_first)
{
    struct random random = random_init();
    struct due dues[COUNT] = {0};
    struct dues d = {0};
    cr_assert(dues_reserve(&d, COUNT));
    for (unsigned step = 0; step < 20000; step++) {
        struct due *const one = &dues[random_below(&random, COUNT)];
        if (random_below(&random, 3) == 0) {
            dues_unset(&d, one);
        } else {
            dues_set(&d, one, random_below(&random, 1000));
        }
        uint64_t least = UINT64_MAX;
        size_t count = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            count += dues[i].at != 0;
            least = dues[i].at != 0 && dues[i].ms < least ? dues[i].ms : least;
        }
        const struct due *const first = dues_first(&d);
        cr_assert_eq(d.count, count);
        cr_assert_eq(first == NULL ? UINT64_MAX : first->ms, least);
    }
    dues_fini(&d);
}
