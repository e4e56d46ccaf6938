/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: makes the n-th allocation from now on fail, in programs linked with --wrap for malloc and
 * its like. For one thread. Files of a test that are compiled with -Dmalloc=fault_exempt_malloc and
 * so on are left out.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define FAULT_NEVER UINT_MAX

void fault_at(unsigned allocation); /* 0: the next one; FAULT_NEVER: none. */
bool fault_happened(void);          /* since the last fault_at() */
void fault_above(size_t bytes);     /* Each of more than that; SIZE_MAX: none. Any thread's. */

void *fault_exempt_malloc(size_t size);
void *fault_exempt_calloc(size_t n, size_t size);
void *fault_exempt_realloc(void *p, size_t size);
