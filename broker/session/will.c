/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/will.h"

#include <assert.h>
#include <stdatomic.h>

#include "broker/conn/owed.h"
#include "broker/message.h"
#include "broker/partitions/ledger.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/serial.h"
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

static void push(struct shard *s, const struct open_will *open)
{
    s->wills.open.item = sizeof *open;
    if (!fifo_push(&s->wills.open, open)) {
        store_out_of_memory();
    }
    atomic_fetch_add_explicit(&s->node->wills_open, 1, memory_order_relaxed);
    show_oldest(s);
}

void will_begin(struct session *session, struct message *message)
{
    struct shard *const s = session->shard;
    ASSERT_OWNED(s);
    assert(session->kept != NULL);
    assert(s->store != NULL);

    message->exchange = kept_number(session);
    message->packet_id = 0;
    message->publisher = session->serial;
    kept_will_due(session, message);
    const struct open_will open = {.number = message->exchange,
                                   .serial = session->serial,
                                   .client_hash = session->client_hash,
                                   .begun_ms = s->now_ms,
                                   .position = ledger_last(s),
                                   .message = message};
    push(s, &open);
}

void will_again(struct shard *s, uint64_t serial, uint64_t client_hash, uint64_t number,
                struct message *message)
{
    message->exchange = number;
    message->packet_id = 0;
    message->publisher = serial;
    const struct open_will open = {.number = number,
                                   .serial = serial,
                                   .client_hash = client_hash,
                                   .begun_ms = s->now_ms,
                                   .message = message};
    push(s, &open);
}

/* Mostly the first that is not routed: they are in the order in which they are handed over. */
static struct open_will *find(struct wills *w, uint64_t number)
{
    while (w->routed < w->out && at(w, w->gone + w->routed)->is_routed) {
        w->routed++;
    }
    for (uint32_t i = w->gone + w->routed; i < w->open.count; i++) {
        struct open_will *const open = at(w, i);
        if (open->number == number) {
            return open;
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
    const uint64_t kept = s->store->trouble != 0 ? NEVER : ledger_kept(s);
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
        open->position = ledger_last(s);
        w->out--;
        w->routed -= w->routed > 0;
        w->gone++;
    }
}

static void forget(struct shard *s)
{
    struct wills *const w = &s->wills;
    bool any = false;
    for (; w->gone > 0 && ledger_is_written(s, at(w, 0)->position); any = true) {
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
    w->gone = w->out = w->routed = 0; /* the oldest stays shown */
}

/* Of the next leader's is what becomes of them. */
void will_drop(struct shard *s, unsigned partition)
{
    struct wills *const w = &s->wills;
    struct wills left = {.open = {.item = sizeof(struct open_will)}};
    for (; w->open.count > 0; w->gone > 0 ? w->gone-- : w->out > 0 ? w->out-- : 0) {
        const struct open_will open = *at(w, 0);
        if (serial_partition(open.serial) == partition) {
            message_put(open.message);
            drop_first(s);
            continue;
        }
        fifo_pop(&w->open);
        left.gone += w->gone > 0;
        left.out += w->gone == 0 && w->out > 0;
        if (!fifo_push(&left.open, &open)) {
            store_out_of_memory();
        }
    }
    fifo_fini(&w->open);
    *w = left;
    show_oldest(s);
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
