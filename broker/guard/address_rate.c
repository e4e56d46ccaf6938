/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/address_rate.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "broker/guard/rate.h"

struct address_rate *address_rate_create(uint64_t seed)
{
    struct address_rate *const r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->seed = seed;
    }
    return r;
}

void address_rate_destroy(struct address_rate *r)
{
    free(r);
}

bool address_rate_take(struct address_rate *r, const struct in6_addr *address, uint32_t per_second,
                       uint64_t now_ms)
{
    assert(per_second > 0);

    uint64_t hash = XXH3_64bits_withSeed(address, address_network_bytes(address), r->seed);
    const uint64_t cost_ns = rate_cost_ns(1, per_second);
    bool taken = false;
    for (unsigned row = 0; row < ADDRESS_RATE_ROWS; row++) {
        /* In both, whatever the other says. */
        taken |= rate_take(&r->places[row][hash % ADDRESS_RATE_PLACES], now_ms, cost_ns);
        hash /= ADDRESS_RATE_PLACES;
    }
    return taken;
}
