/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/clocks.h"

#include <assert.h>
#include <stdlib.h>

#define AHEAD_MAX_MS (INT64_C(1) << 52) /* so that sums stay sums */

static int64_t ahead(uint64_t a_ms, uint64_t b_ms)
{
    const bool is_ahead = a_ms > b_ms;
    const uint64_t by = is_ahead ? a_ms - b_ms : b_ms - a_ms;
    const int64_t capped = by < (uint64_t)AHEAD_MAX_MS ? (int64_t)by : AHEAD_MAX_MS;
    return is_ahead ? capped : -capped;
}

void clocks_heard(struct clocks *c, unsigned peer, uint64_t theirs_ms, uint64_t ours_ms)
{
    assert(peer < CLOCKS_PEERS_MAX);

    struct clocks_peer *const p = &c->peers[peer];
    p->ahead_ms[p->next] = ahead(theirs_ms, ours_ms);
    p->next = (p->next + 1) % CLOCKS_KEPT;
    p->count += p->count < CLOCKS_KEPT;
}

void clocks_forget(struct clocks *c, unsigned peer)
{
    assert(peer < CLOCKS_PEERS_MAX);

    c->peers[peer] = (struct clocks_peer){.count = 0};
}

static int64_t least_late(const struct clocks_peer *p)
{
    int64_t best = p->ahead_ms[0];
    for (unsigned i = 1; i < p->count; i++) {
        best = p->ahead_ms[i] > best ? p->ahead_ms[i] : best;
    }
    return best;
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

bool clocks_ahead(const struct clocks *c, uint32_t peers, int64_t *ahead_ms)
{
    int64_t all[CLOCKS_PEERS_MAX + 1] = {0}; /* this node's own first */
    unsigned count = 1;
    for (unsigned i = 0; i < CLOCKS_PEERS_MAX; i++) {
        if ((peers >> i & 1) != 0 && c->peers[i].count >= CLOCKS_SAID_MIN) {
            all[count++] = least_late(&c->peers[i]);
        }
    }
    if (count <= CLOCKS_FEWEST) {
        return false;
    }
    qsort(all, count, sizeof all[0], by_size);
    const int64_t low = all[(count - 1) / 2], high = all[count / 2];
    *ahead_ms = -(llabs(low) < llabs(high) ? low : high); /* of two in the middle, the kinder one */
    return true;
}
