/* SPDX-License-Identifier: Apache-2.0 */
/* fixture: a checkpoint in a directory of its own, and batches that are waited for. */
#pragma once

#include <criterion/criterion.h>

#include "broker/store/checkpoint.h"

extern char fixture_dir[]; /* made by fixture_begin() */

void fixture_begin(void);
void fixture_end(void);

/* With a map of 1 GiB and no more, where conf is NULL. */
struct checkpoint *fixture_open(const struct checkpoint_conf *conf);
enum checkpoint_err fixture_try_open(struct checkpoint **cp);

/* Submits and waits; the batch is the caller's again. */
enum checkpoint_err fixture_try_write(struct checkpoint *cp, struct checkpoint_batch *batch);

/* …and it succeeds, and is destroyed. */
void fixture_write(struct checkpoint *cp, struct checkpoint_batch *batch);

/* All pairs with that prefix, as "key=value;"; longer values by their length. */
const char *fixture_show(struct checkpoint *cp, const char *prefix);

void fixture_expect(struct checkpoint *cp, const char *prefix, const char *want);
void fixture_expect_count(struct checkpoint *cp, const char *key, uint64_t want);

/* checkpoint_copy() into `dir`/checkpoint, where `dir` is new. */
enum checkpoint_err fixture_copy(struct checkpoint *cp, const char *dir);
