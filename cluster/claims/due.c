/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/claims/due.h"

#include <assert.h>
#include <stdlib.h>

#define ROOM_FIRST 64u

void dues_fini(struct dues *d)
{
    free(d->heap);
}

bool dues_reserve(struct dues *d, size_t count)
{
    if (count <= d->room) {
        return true;
    }
    size_t room = d->room == 0 ? ROOM_FIRST : d->room;
    while (room < count) {
        room *= 2;
    }
    struct due **const heap = realloc(d->heap, room * sizeof(struct due *));
    if (heap == NULL) {
        return false;
    }
    d->heap = heap;
    d->room = room;
    return true;
}

static void put(struct dues *d, size_t at, struct due *due)
{
    d->heap[at] = due;
    due->at = at + 1;
}

/* The place `at` is free, and `due` is to go there, or nearer to the top. */
static void rise(struct dues *d, size_t at, struct due *due)
{
    while (at > 0 && d->heap[(at - 1) / 2]->ms > due->ms) {
        put(d, at, d->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(d, at, due);
}

/* ... or farther from it. */
static void sink_down(struct dues *d, size_t at, struct due *due)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < d->count && d->heap[child + 1]->ms < d->heap[child]->ms) {
            child++;
        }
        if (child >= d->count || d->heap[child]->ms >= due->ms) {
            break;
        }
        put(d, at, d->heap[child]);
        at = child;
    }
    put(d, at, due);
}

void dues_unset(struct dues *d, struct due *due)
{
    if (due->at == 0) {
        return;
    }
    const size_t at = due->at - 1;
    assert(at < d->count);
    assert(d->heap[at] == due);
    due->at = 0;
    struct due *const last = d->heap[--d->count];
    if (last == due) {
        return;
    }
    if (at > 0 && d->heap[(at - 1) / 2]->ms > last->ms) {
        rise(d, at, last);
    } else {
        sink_down(d, at, last);
    }
}

void dues_set(struct dues *d, struct due *due, uint64_t ms)
{
    dues_unset(d, due);
    assert(d->count < d->room);
    due->ms = ms;
    rise(d, d->count++, due);
}

struct due *dues_first(const struct dues *d)
{
    return d->count == 0 ? NULL : d->heap[0];
}
