/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/send_pool.h"

#include <assert.h>
#include <stdlib.h>

#define SLAB_SENDS 64u

struct send_pool_slab {
    struct send_pool_slab *next;
    struct io_send sends[SLAB_SENDS];
};

static bool grow(struct send_pool *pool)
{
    struct send_pool_slab *const slab = malloc(sizeof *slab);
    if (slab == NULL) {
        return false;
    }
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (unsigned i = 0; i < SLAB_SENDS; i++) {
        send_pool_put(pool, &slab->sends[i]);
    }
    return true;
}

struct io_send *send_pool_take(struct send_pool *pool, const struct iovec *iov, unsigned n)
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
    send->error = 0;
    for (unsigned i = 0; i < n; i++) {
        send->iov[i] = iov[i];
        send->left += iov[i].iov_len;
    }
    send_pool_advance(send, 0); /* past empty ones */
    return send;
}

void send_pool_put(struct send_pool *pool, struct io_send *send)
{
    send->next_free = pool->free;
    pool->free = send;
}

void send_pool_fini(struct send_pool *pool)
{
    while (pool->slabs != NULL) {
        struct send_pool_slab *const slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
    pool->free = NULL;
}

void send_pool_advance(struct io_send *send, size_t bytes)
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
