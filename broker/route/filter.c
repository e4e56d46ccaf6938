/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/route/filter.h"

#include <stdlib.h>

#include <xxhash.h>

uint64_t level_hash(struct bytes level, size_t number, uint64_t seed)
{
    return XXH3_64bits_withSeed(level.at, level.len, seed + number * 0x9e3779b97f4a7c15u);
}

uint32_t name_hash(struct bytes name, uint64_t seed)
{
    return (uint32_t)(XXH3_64bits_withSeed(name.at, name.len, seed) >> 32);
}

/* Room for `need` elements of `size`, and one at least; NULL: out of memory, the array is as it
 * was. */
static void *reserve(void *array, size_t *capacity, size_t need, size_t size)
{
    if (array != NULL && need <= *capacity) {
        return array;
    }
    const size_t wanted = need < 2 * *capacity ? 2 * *capacity : need + 16;
    void *const grown = realloc(array, wanted * size);
    if (grown != NULL) {
        *capacity = wanted;
    }
    return grown;
}

static bool reserve_levels(struct match_walk *walk, size_t count)
{
    struct level *const grown =
        reserve(walk->levels, &walk->level_capacity, count, sizeof *walk->levels);
    walk->levels = grown != NULL ? grown : walk->levels;
    return grown != NULL;
}

bool match_walk_reserve_found(struct match_walk *walk, size_t more)
{
    const struct filter **const grown =
        reserve(walk->found, &walk->found_capacity, walk->found_count + more, sizeof *walk->found);
    walk->found = grown != NULL ? grown : walk->found;
    return grown != NULL;
}

bool match_walk_reserve_nodes(struct match_walk *walk, unsigned which, size_t count)
{
    const struct node **const grown =
        reserve(walk->nodes[which], &walk->node_capacity[which], count, sizeof *walk->nodes[which]);
    walk->nodes[which] = grown != NULL ? grown : walk->nodes[which];
    return grown != NULL;
}

void match_walk_fini(struct match_walk *walk)
{
    free(walk->levels);
    free(walk->nodes[0]);
    free(walk->nodes[1]);
    free(walk->found);
}

bool match_walk_begin(struct match_walk *walk, struct bytes topic, uint64_t seed)
{
    walk->topic = topic;
    walk->level_count = 0;
    walk->guess_count = 0;
    walk->found_count = 0;
    walk->steps = 0;

    uint64_t sum = 0;
    uint32_t begin = 0;
    while (begin <= topic.len) {
        const uint8_t *const slash = memchr(topic.at + begin, '/', topic.len - begin);
        const uint32_t end = slash == NULL ? (uint32_t)topic.len : (uint32_t)(slash - topic.at);
        const size_t n = walk->level_count;
        if (!reserve_levels(walk, n + 2)) {
            return false;
        }
        const uint64_t hash = level_hash(bytes_of(topic.at + begin, end - begin), n, seed);
        walk->levels[n] = (struct level){.at = begin, .len = end - begin, .hash = hash, .sum = sum};
        sum += hash;
        walk->level_count = n + 1;
        begin = end + 1;
    }
    walk->levels[walk->level_count] = (struct level){.at = (uint32_t)topic.len + 1, .sum = sum};
    return true;
}
