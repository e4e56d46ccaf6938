/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/interest/tail.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/little_endian.h"

bool tail_init(struct tail *t, uint32_t ops_max, size_t bytes_max)
{
    assert(ops_max > 0);
    assert(bytes_max >= NODE_INTEREST_ITEM_BYTES + NODE_INTEREST_TEXT_MAX);
    assert(bytes_max <= UINT32_MAX);

    *t = (struct tail){.first = 1, .next = 1, .capacity = bytes_max, .ops_max = ops_max};
    t->bytes = malloc(bytes_max);
    t->places = malloc(ops_max * sizeof *t->places);
    if (t->bytes == NULL || t->places == NULL) {
        tail_fini(t);
        return false;
    }
    return true;
}

void tail_fini(struct tail *t)
{
    free(t->bytes);
    free(t->places);
    t->bytes = NULL;
    t->places = NULL;
}

static uint32_t *place_of(const struct tail *t, uint64_t version)
{
    return &t->places[version % t->ops_max];
}

static void drop_oldest(struct tail *t)
{
    t->first++;
    if (t->first < t->next) {
        t->begin = *place_of(t, t->first);
    } else {
        t->begin = 0;
        t->end = 0;
    }
}

/* Where `size` bytes fit now; false: not yet. It never becomes full to the last byte, so that
 * begin == end means empty. */
static bool fits(const struct tail *t, size_t size, size_t *at)
{
    if (t->end >= t->begin) {
        if (t->capacity - t->end >= size) {
            *at = t->end;
            return true;
        }
        *at = 0;
        return t->begin > size;
    }
    *at = t->end;
    return t->begin - t->end > size;
}

void tail_add(struct tail *t, const struct node_interest_item *item)
{
    const size_t size = NODE_INTEREST_ITEM_BYTES + item->text.len;
    size_t at;
    while (t->next - t->first == t->ops_max || !fits(t, size, &at)) {
        drop_oldest(t);
    }
    node_interest_item_encode(t->bytes + at, item);
    *place_of(t, t->next) = (uint32_t)at;
    t->end = at + size;
    t->next++;
}

size_t tail_copy(const struct tail *t, uint64_t from, uint8_t *out, size_t out_max, uint32_t *count)
{
    assert(from >= t->first);

    const uint32_t count_max = *count;
    size_t len = 0;
    *count = 0;
    for (uint64_t v = from; v < t->next && *count < count_max; v++) {
        const uint8_t *const at = t->bytes + *place_of(t, v);
        const size_t size = NODE_INTEREST_ITEM_BYTES + get_u16(at + 2);
        if (size > out_max - len) {
            break;
        }
        memcpy(out + len, at, size);
        len += size;
        (*count)++;
    }
    return len;
}
