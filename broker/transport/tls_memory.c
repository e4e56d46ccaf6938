/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/tls_memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/memory.h>

#define PAGE_BYTES        4096u
#define LARGE_BLOCK_BYTES 32768u

/* What this thread has asked for and not given back since it was reset. */
static _Thread_local struct tls_block largest;

static void *allocate(size_t size)
{
    if (size < LARGE_BLOCK_BYTES) {
        return malloc(size);
    }
    const size_t len = (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uint8_t *const at = aligned_alloc(PAGE_BYTES, len);
    if (at != NULL && len > largest.len) {
        largest = (struct tls_block){.at = at, .len = len};
    }
    return at;
}

static void release(void *at)
{
    if (at == largest.at) {
        largest = (struct tls_block){.len = 0};
    }
    free(at);
}

void tls_memory_init(void)
{
    (void)wolfSSL_SetAllocators(allocate, release, realloc); /* it refuses NULL only */
}

void tls_memory_watch(struct tls_block b)
{
    largest = b;
}

struct tls_block tls_memory_largest(void)
{
    return largest;
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

void tls_memory_give_back_zeros(struct tls_block b)
{
    if (sysconf(_SC_PAGESIZE) != (long)PAGE_BYTES) {
        return;
    }
    for (size_t from = 0; from < b.len;) {
        size_t to = from;
        while (to < b.len && is_zero(b.at + to)) {
            to += PAGE_BYTES;
        }
        if (to > from) {
            (void)madvise(b.at + from, to - from, MADV_DONTNEED);
        }
        from = to + PAGE_BYTES;
    }
}
