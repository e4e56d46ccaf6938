/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/will.h"

#include <assert.h>
#include <stdatomic.h>

#include "broker/conn/owed.h"
#include "broker/message.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"

#define NEVER UINT64_MAX

struct open_will {
    uint64_t number;         /* message's `exchange`; they grow */
    uint64_t serial;         /* of the session that it was of, which may have ended */
    uint64_t client_hash;    /* likewise */
    uint64_t begun_ms;       /* when it became due */
    uint64_t position;       /* of WILL_DUE; GONE: of WILL_GONE */
    uint64_t ticket, shards; /* that have to keep it, 1 << id; when it is routed */
    struct message *message; /* a reference; NULL: handed over */
    bool is_routed;
};

static struct open_will *at(const struct wills *w, uint32_t i)
{
    return fifo_at(&w->open, i);
}

static void drop_first(struct shard *s)
{
    struct wills *const w = &s->wills;
    fifo_pop(&w->open);
    atomic_fetch_sub_explicit(&s->node->wills_open, 1, memory_order_relaxed);
}

/* Before anybody else can know of a will, and when one is over. */
static void show_oldest(struct shard *s)
{
    const struct open_will *const first = fifo_first(&s->wills.open);
    atomic_store_explicit(&s->wills_oldest_ms, first == NULL ? NEVER : first->begun_ms,
                          memory_order_release);
}

void will_begin(struct session *session, struct message *message)
{
    struct shard *const s = session->shard;
    struct wills *const w = &s->wills;
    ASSERT_OWNED(s);
    assert(session->kept != NULL);
    assert(s->store != NULL);

    message->exchange = shard_serial(s);
    message->packet_id = 0;
    message->publisher = session->serial;
    kept_will_due(session, message);
    const struct open_will open = {.number = message->exchange,
                                   .serial = session->serial,
                                   .client_hash = session->client_hash,
                                   .begun_ms = s->now_ms,
                                   .position = store_last(s->store),
                                   .message = message};
    w->open.item = sizeof open;
    if (!fifo_push(&w->open, &open)) {
        store_out_of_memory();
    }
    atomic_fetch_add_explicit(&s->node->wills_open, 1, memory_order_relaxed);
    show_oldest(s);
}

static struct open_will *find(const struct wills *w, uint64_t number)
{
    uint32_t from = 0;
    uint32_t end = w->open.count;
    while (from < end) {
        const uint32_t middle = from + (end - from) / 2;
        struct open_will *const open = at(w, middle);
        if (open->number == number) {
            return open;
        }
        if (open->number < number) {
            from = middle + 1;
        } else {
            end = middle;
        }
    }
    return NULL;
}

void will_routed(struct shard *s, const struct message *message)
{
    struct open_will *const open =
        message_is_will(message) ? find(&s->wills, message->exchange) : NULL;
    if (open != NULL) {
        open->ticket = s->ticket;
        open->shards = s->route_waits;
        open->is_routed = true;
    }
}

/* DUE ─▶ OUT */
static void hand_over(struct shard *s)
{
    struct wills *const w = &s->wills;
    const uint64_t kept = s->store->trouble != 0 ? NEVER : store_kept(s->store);
    while (w->gone + w->out < w->open.count) {
        struct open_will *const open = at(w, w->gone + w->out);
        if (open->position > kept) {
            return;
        }
        shard_due(s, open->message, 0, 0, open->client_hash);
        open->message = NULL;
        w->out++;
    }
}

/* OUT ─▶ GONE, in order: one that is retained, and takes longer, holds up others' entries only. */
static void note_gone(struct shard *s)
{
    struct wills *const w = &s->wills;
    while (w->out > 0) {
        struct open_will *const open = at(w, w->gone);
        if (!open->is_routed || !owed_is_kept(s, open->shards, open->ticket)) {
            return;
        }
        kept_will_gone(s, open->serial, open->client_hash, open->number);
        open->position = store_last(s->store);
        w->out--;
        w->gone++;
    }
}

static void forget(struct shard *s)
{
    struct wills *const w = &s->wills;
    bool any = false;
    for (; w->gone > 0 && store_is_written(s->store, at(w, 0)->position); any = true) {
        drop_first(s);
        w->gone--;
    }
    if (any) {
        show_oldest(s);
    }
}

void will_settle(struct shard *s)
{
    if (s->wills.open.count == 0 || s->store == NULL) {
        return;
    }
    hand_over(s);
    note_gone(s);
    forget(s);
}

bool will_is_none(const struct shard *s)
{
    return s->wills.open.count == 0;
}

void will_abandon(struct shard *s)
{
    struct wills *const w = &s->wills;
    for (; w->open.count > 0; drop_first(s)) {
        message_put(at(w, 0)->message);
    }
    w->gone = w->out = 0; /* the oldest stays shown */
}

void wills_fini(struct wills *w)
{
    for (uint32_t i = 0; i < w->open.count; i++) {
        message_put(at(w, i)->message);
    }
    fifo_fini(&w->open);
}

bool will_none_since(const struct node *node, uint64_t ms)
{
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (atomic_load_explicit(&node->shards[i]->wills_oldest_ms, memory_order_acquire) <= ms) {
            return false;
        }
    }
    return true;
}
