/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <stddef.h>
#include <stdint.h>

/* volatile: to the compiler, malloc() neither reads nor writes what is ours. */
static volatile unsigned left = FAULT_NEVER;
static volatile bool happened;
static volatile size_t too_large = SIZE_MAX;

void fault_at(unsigned allocation)
{
    left = allocation;
    happened = false;
}

bool fault_happened(void)
{
    return happened;
}

void fault_above(size_t bytes)
{
    too_large = bytes;
}

static bool fails(size_t size)
{
    if (size > too_large) {
        return true;
    }
    if (left == FAULT_NEVER) {
        return false;
    }
    const bool now = left == 0;
    happened = happened || now;
    left = left - 1;
    return now;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails(size) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails(n * size) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails(size) ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(size) ? NULL : __real_aligned_alloc(alignment, size);
}

void *fault_exempt_malloc(size_t size)
{
    return __real_malloc(size);
}

void *fault_exempt_calloc(size_t n, size_t size)
{
    return __real_calloc(n, size);
}

void *fault_exempt_realloc(void *p, size_t size)
{
    return __real_realloc(p, size);
}
