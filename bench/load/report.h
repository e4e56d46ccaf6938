/* SPDX-License-Identifier: Apache-2.0 */
/* report: what a run has shown, for people and as JSON. */
#pragma once

#include <stdbool.h>

#include "bench/load/faults.h"
#include "bench/load/run.h"

void report_print(const struct run *r, const struct faults *f);

/* false: the file could not be written. "-" is standard output. */
bool report_write_json(const struct run *r, const struct faults *f, const char *path);
