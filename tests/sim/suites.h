/* SPDX-License-Identifier: Apache-2.0 */
/* suites: what is tried in a world. A new one gets a line here and in suites.c. */
#pragma once

#include "tests/sim/sim.h"

extern const struct sim_suite claims_suite;
extern const struct sim_suite consensus_suite;
extern const struct sim_suite dispatch_suite;
extern const struct sim_suite links_suite;
extern const struct sim_suite membership_suite;
extern const struct sim_suite meta_suite;
extern const struct sim_suite retained_suite;
extern const struct sim_suite self_suite;

/* NULL: there is none of that name. */
const struct sim_suite *suite_find(const char *name);

/* All of them, i from 0 on, until NULL. */
const struct sim_suite *suite_at(unsigned i);
