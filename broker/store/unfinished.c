/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/unfinished.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "broker/message.h"
#include "broker/store/entry.h"
#include "broker/store/store.h"

bool unfinished_init(struct table *all)
{
    return table_init(all) == 0;
}

static void destroy(struct unfinished *x)
{
    message_put(x->message);
    free(x->sessions.at);
    free(x->groups.at);
    free(x);
}

void unfinished_fini(struct table *all)
{
    size_t cursor = 0;
    for (struct table_link *l; (l = table_any(all, &cursor)) != NULL;) {
        table_remove(all, l);
        destroy(table_object(l, struct unfinished, by_origin));
    }
    table_fini(all);
}

/* ---- what entries say */

/* Exchanges are counted from 1, for each session; a will's number may be the same as one of them.
 */
static struct unfinished *know(struct table *all, uint64_t origin, uint64_t exchange,
                               uint16_t packet_id)
{
    const uint64_t names[] = {origin, exchange, packet_id == 0};
    const uint64_t hash = XXH3_64bits(names, sizeof names);
    for (struct table_link *l = table_find(all, hash); l != NULL; l = table_find_next(l)) {
        struct unfinished *const x = table_object(l, struct unfinished, by_origin);
        if (x->origin == origin && x->exchange == exchange &&
            unfinished_is_will(x) == (packet_id == 0)) {
            return x;
        }
    }
    struct unfinished *const x = calloc(1, sizeof *x);
    if (x == NULL) {
        store_out_of_memory();
    }
    x->origin = origin;
    x->exchange = exchange;
    x->packet_id = packet_id;
    table_insert(all, &x->by_origin, hash);
    return x;
}

static void set_message(struct unfinished *x, struct message *m)
{
    if (x->message == NULL) {
        x->message = message_take(m, 1);
    }
}

/* Who has it: a member for its group, others for themselves. */
static void note_recipients(struct unfinished *x, struct bytes rest)
{
    uint64_t serial;
    struct stored_delivery d;
    while (entry_next_recipient(&rest, &serial, &d)) {
        numbers_add(d.group != 0 ? &x->groups : &x->sessions, d.group != 0 ? d.group : serial);
    }
}

void unfinished_queued(struct table *all, const struct entry *e, struct message *m)
{
    assert(e->queued.origin != 0);
    struct unfinished *const x =
        know(all, e->queued.origin, e->queued.exchange, e->queued.packet_id);
    set_message(x, m);
    note_recipients(x, e->queued.recipients);
}

void unfinished_will(struct table *all, const struct entry *e, struct message *m)
{
    struct unfinished *const x = know(all, e->serial, e->will.number, 0);
    if (e->type == ENTRY_WILL_DUE) {
        x->is_due = true;
        set_message(x, m);
    } else if (e->type == ENTRY_WILL_RETAINED) {
        x->is_retained = true;
    } else {
        assert(e->type == ENTRY_WILL_GONE);
        x->is_gone = true;
    }
}

/* ---- the end */

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_numbers(const void *left, const void *right)
{
    return compare(*(const uint64_t *)left, *(const uint64_t *)right);
}

static int compare_unfinished(const void *left, const void *right)
{
    const struct unfinished *const a = *(struct unfinished *const *)left;
    const struct unfinished *const b = *(struct unfinished *const *)right;
    if (a->origin != b->origin) {
        return compare(a->origin, b->origin);
    }
    if (unfinished_is_will(a) != unfinished_is_will(b)) {
        return unfinished_is_will(a) ? 1 : -1;
    }
    return compare(a->exchange, b->exchange);
}

static void look_at(struct unfinished *x, unfinished_fn *fn, void *context)
{
    if (unfinished_is_will(x) && (!x->is_due || x->is_gone)) {
        return;
    }
    if (x->sessions.count > 0) {
        qsort(x->sessions.at, x->sessions.count, sizeof x->sessions.at[0], compare_numbers);
    }
    fn(context, x);
}

void unfinished_each(struct table *all, unfinished_fn *fn, void *context)
{
    const size_t count = all->count;
    struct unfinished **const list = calloc(count + 1, sizeof *list);
    if (list == NULL) {
        store_out_of_memory();
    }
    size_t cursor = 0;
    size_t n = 0;
    for (struct table_link *l; (l = table_any(all, &cursor)) != NULL; n++) {
        list[n] = table_object(l, struct unfinished, by_origin);
        table_remove(all, l);
    }
    assert(n == count);
    qsort(list, n, sizeof(struct unfinished *), compare_unfinished);
    for (size_t i = 0; i < n; i++) {
        look_at(list[i], fn, context);
        destroy(list[i]);
    }
    free(list);
}
