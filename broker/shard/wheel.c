/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel: a timer hangs at the level of the highest 6-bit digit in which its deadline differs from
 * the cursor, in the slot that this digit names.
 *
 *   level 0: 64 slots of 1 ms      the cursor's own 64 ms
 *   level 1: 64 slots of 64 ms     the cursor's own 4 s, less what level 0 covers
 *   level 2: 64 slots of 4 s       and so on: eleven digits are all 64 bits, so that every
 *   ...                            deadline has its slot and none has to be clamped
 *
 * So every timer of a level comes before every timer of the next one, and in each level only slots
 * after the cursor's digit are in use: the earliest slot is the lowest bit of the lowest level that
 * is not empty, found in two steps however long the wheel was idle. When the cursor reaches a slot,
 * its timers are placed anew, lower: at most ten times in the life of a timer, once or twice for
 * those that a broker has. Deadlines that the wheel was told too late hang in a list of their own.
 *
 * The idea is Varghese & Lauck's "Hashed and hierarchical timing wheels" (1987).
 */
#include "broker/shard/wheel.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define DIGIT_BITS 6u
#define SLOTS      64u
#define LEVELS     11u /* 11 * 6 >= 64 */

struct wheel {
    uint64_t told_ms; /* the latest now_ms that was heard of */
    uint64_t cursor;  /* <= told_ms; no timer hangs in a slot before it */

    uint64_t levels_used;              /* bit l: slots_used[l] is not 0 */
    uint64_t slots_used[LEVELS];       /* bit s: slots[l][s] is not empty */
    struct timer slots[LEVELS][SLOTS]; /* heads of circular lists; only next and prev are used */
    struct timer due;  /* head: of the cursor's own millisecond, or taken over from `late` */
    struct timer late; /* head: set for a time that had passed; for the next run */
};

static void list_init(struct timer *head)
{
    head->next = head->prev = head;
}

static bool list_is_empty(const struct timer *head)
{
    return head->next == head;
}

static void list_append(struct timer *head, struct timer *t)
{
    t->prev = head->prev;
    t->next = head;
    head->prev->next = t;
    head->prev = t;
}

static void list_remove(struct timer *t)
{
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->next = t->prev = NULL;
}

/* Moves all of `from` to the end of `to`. */
static void list_splice(struct timer *to, struct timer *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

void timer_init(struct timer *t, void (*fire)(struct timer *t, uint64_t now_ms))
{
    assert(fire != NULL);

    *t = (struct timer){.fire = fire};
}

bool timer_is_set(const struct timer *t)
{
    return t->next != NULL;
}

struct wheel *wheel_create(uint64_t now_ms)
{
    struct wheel *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    w->told_ms = w->cursor = now_ms;
    for (unsigned level = 0; level < LEVELS; level++) {
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            list_init(&w->slots[level][slot]);
        }
    }
    list_init(&w->due);
    list_init(&w->late);
    return w;
}

void wheel_destroy(struct wheel *w)
{
    free(w);
}

/* Hangs the timer where its deadline belongs as seen from the cursor. */
static void place(struct wheel *w, struct timer *t)
{
    assert(t->due_ms >= w->cursor);

    const uint64_t differs = t->due_ms ^ w->cursor;
    if (differs == 0) {
        list_append(&w->due, t);
        return;
    }
    const unsigned level = (63u - (unsigned)__builtin_clzll(differs)) / DIGIT_BITS;
    const unsigned slot = (unsigned)(t->due_ms >> (level * DIGIT_BITS)) % SLOTS;
    list_append(&w->slots[level][slot], t);
    w->slots_used[level] |= UINT64_C(1) << slot;
    w->levels_used |= UINT64_C(1) << level;
}

static void slot_emptied(struct wheel *w, unsigned level, unsigned slot)
{
    assert(list_is_empty(&w->slots[level][slot]));

    w->slots_used[level] &= ~(UINT64_C(1) << slot);
    if (w->slots_used[level] == 0) {
        w->levels_used &= ~(UINT64_C(1) << level);
    }
}

void wheel_set(struct wheel *w, struct timer *t, uint64_t due_ms)
{
    wheel_cancel(w, t);
    t->due_ms = due_ms;
    if (due_ms <= w->told_ms) {
        list_append(&w->late, t);
    } else {
        place(w, t);
    }
}

void wheel_cancel(struct wheel *w, struct timer *t)
{
    if (!timer_is_set(t)) {
        return;
    }
    const struct timer *const only = t->next == t->prev ? t->next : NULL; /* then it is the head */
    list_remove(t);

    const uintptr_t first = (uintptr_t)&w->slots[0][0];
    const uintptr_t offset = (uintptr_t)only - first; /* huge when it lies before */
    if (only != NULL && offset < sizeof w->slots) {
        const unsigned index = (unsigned)(offset / sizeof *only);
        slot_emptied(w, index / SLOTS, index % SLOTS);
    }
}

/* The first slot that is in use, and when it begins; false when there is none. */
static bool first_slot(const struct wheel *w, unsigned *level, unsigned *slot, uint64_t *begin_ms)
{
    if (w->levels_used == 0) {
        return false;
    }
    *level = (unsigned)__builtin_ctzll(w->levels_used);
    *slot = (unsigned)__builtin_ctzll(w->slots_used[*level]);

    const unsigned shift = *level * DIGIT_BITS;
    const uint64_t digit_and_below = ((uint64_t)SLOTS << shift) - 1; /* all ones at the top level */
    *begin_ms = (w->cursor & ~digit_and_below) | (uint64_t)*slot << shift;
    assert(*begin_ms > w->cursor);
    return true;
}

/* Moves the cursor to the next slot that begins by now_ms, or else to now_ms. False: the latter. */
static bool advance(struct wheel *w, uint64_t now_ms)
{
    unsigned level, slot;
    uint64_t begin_ms;
    if (!first_slot(w, &level, &slot, &begin_ms) || begin_ms > now_ms) {
        w->cursor = now_ms;
        return false;
    }
    w->cursor = begin_ms;

    struct timer reached;
    list_init(&reached);
    list_splice(&reached, &w->slots[level][slot]);
    slot_emptied(w, level, slot);
    while (!list_is_empty(&reached)) {
        struct timer *const t = reached.next;
        list_remove(t);
        place(w, t);
    }
    return true;
}

unsigned wheel_run(struct wheel *w, uint64_t now_ms, unsigned budget)
{
    if (now_ms > w->told_ms) { /* a clock that steps back is taken to stand still */
        w->told_ms = now_ms;
    }
    /* What is set from here on for a time that has passed waits in `late` for the next run; so no
     * timer that sets itself again can keep this one going. */
    list_splice(&w->due, &w->late);

    unsigned fired = 0;
    do {
        while (!list_is_empty(&w->due)) {
            if (fired == budget) {
                return fired;
            }
            struct timer *const t = w->due.next;
            list_remove(t);
            fired++;
            t->fire(t, w->told_ms);
        }
    } while (advance(w, w->told_ms));
    return fired;
}

uint64_t wheel_next_ms(const struct wheel *w)
{
    if (!list_is_empty(&w->due) || !list_is_empty(&w->late)) {
        return 0;
    }
    unsigned level, slot;
    uint64_t begin_ms;
    return first_slot(w, &level, &slot, &begin_ms) ? begin_ms : UINT64_MAX;
}
