/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/meta/preference.h"

#include <stdbool.h>

#include "cluster/meta/placement.h"

static bool is_among(const uint32_t *numbers, unsigned count, uint32_t number)
{
    for (unsigned i = 0; i < count; i++) {
        if (numbers[i] == number) {
            return true;
        }
    }
    return false;
}

uint32_t preference_of(unsigned partition, const struct node_replicas *replicas,
                       const uint32_t *stable, unsigned count)
{
    uint32_t best = 0;
    uint64_t highest = 0;
    for (unsigned i = 0; i < replicas->count; i++) {
        const uint32_t number = replicas->at[i];
        const uint64_t weight = placement_weight(partition, number);
        const bool is_higher =
            best == 0 || weight > highest || (weight == highest && number < best);
        if (is_among(stable, count, number) && is_higher) {
            best = number;
            highest = weight;
        }
    }
    return best;
}
