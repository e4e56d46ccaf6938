/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: what a fuzzer is. libFuzzer calls the function with whatever it thinks of; replay.c calls
 * it with the files of a corpus, so that they are tests too where there is no libFuzzer.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns 0. A finding is an abort, or a word of a sanitizer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert(), for what the fuzzed code has promised. */
#define FUZZ_EXPECT(condition)                                                                     \
    ((condition) ? (void)0 : fuzz_finding(#condition, __FILE__, __LINE__))

static inline void fuzz_finding(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, condition);
    abort();
}
