/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/queue.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

void queue_fini(struct queue *q)
{
    for (size_t i = 0; i < q->count; i++) {
        free(q->heap[i].bytes);
    }
    free(q->heap);
    *q = (struct queue){0};
}

void queue_add(struct queue *q, struct event event)
{
    if (q->count == q->capacity) {
        q->capacity = q->capacity > 0 ? 2 * q->capacity : 256;
        q->heap = reallocarray(q->heap, q->capacity, sizeof *q->heap);
        assert(q->heap != NULL);
    }
    event.number = q->added++;
    size_t i = q->count++;
    while (i > 0 && before(&event, &q->heap[(i - 1) / 2])) {
        q->heap[i] = q->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    q->heap[i] = event;
}

bool queue_take(struct queue *q, struct event *event)
{
    if (q->count == 0) {
        return false;
    }
    *event = q->heap[0];
    const struct event last = q->heap[--q->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->count) {
            break;
        }
        if (child + 1 < q->count && before(&q->heap[child + 1], &q->heap[child])) {
            child++;
        }
        if (!before(&q->heap[child], &last)) {
            break;
        }
        q->heap[i] = q->heap[child];
        i = child;
    }
    if (q->count > 0) {
        q->heap[i] = last;
    }
    return true;
}
