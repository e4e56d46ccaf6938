/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/uring_send.h"

#include <assert.h>
#include <stdlib.h>

#define SLAB_SENDS 64u

struct uring_send_slab {
    struct uring_send_slab *next;
    struct io_send sends[SLAB_SENDS];
};

static bool grow(struct uring_send_pool *pool)
{
    struct uring_send_slab *const slab = malloc(sizeof *slab);
    if (slab == NULL) {
        return false;
    }
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (unsigned i = 0; i < SLAB_SENDS; i++) {
        uring_send_put(pool, &slab->sends[i]);
    }
    return true;
}

struct io_send *uring_send_take(struct uring_send_pool *pool, const struct iovec *iov, unsigned n)
{
    assert(n >= 1 && n <= IO_IOV_MAX);

    if (pool->free == NULL && !grow(pool)) {
        return NULL;
    }
    struct io_send *const send = pool->free;
    pool->free = send->next_free;
    send->first = 0;
    send->count = n;
    send->left = 0;
    for (unsigned i = 0; i < n; i++) {
        send->iov[i] = iov[i];
        send->left += iov[i].iov_len;
    }
    uring_send_advance(send, 0); /* past empty ones */
    return send;
}

void uring_send_put(struct uring_send_pool *pool, struct io_send *send)
{
    send->next_free = pool->free;
    pool->free = send;
}

void uring_send_pool_fini(struct uring_send_pool *pool)
{
    while (pool->slabs != NULL) {
        struct uring_send_slab *const slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
    pool->free = NULL;
}

void uring_send_advance(struct io_send *send, size_t bytes)
{
    assert(bytes <= send->left);

    send->left -= bytes;
    while (send->first < send->count && bytes >= send->iov[send->first].iov_len) {
        bytes -= send->iov[send->first].iov_len;
        send->first++;
    }
    if (bytes > 0) {
        struct iovec *const begun = &send->iov[send->first];
        begun->iov_base = (char *)begun->iov_base + bytes;
        begun->iov_len -= bytes;
    }
}
