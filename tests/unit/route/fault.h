/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: makes the n-th allocation from now on fail, in programs linked with --wrap for malloc and
 * its like. For one thread.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#define FAULT_NEVER UINT_MAX

void fault_at(unsigned allocation); /* 0: the next one; FAULT_NEVER: none. */
bool fault_happened(void);          /* since the last fault_at() */
