/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/suites.h"

#include <string.h>

static const struct sim_suite *const suites[] = {
    &claims_suite,     &consensus_suite, &dispatch_suite, &links_suite,
    &membership_suite, &meta_suite,      &retained_suite, &self_suite};

const struct sim_suite *suite_at(unsigned i)
{
    return i < sizeof suites / sizeof suites[0] ? suites[i] : NULL;
}

const struct sim_suite *suite_find(const char *name)
{
    for (unsigned i = 0; suite_at(i) != NULL; i++) {
        if (strcmp(suite_at(i)->name, name) == 0) {
            return suite_at(i);
        }
    }
    return NULL;
}
