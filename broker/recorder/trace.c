/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/session/listing.h"
#include "broker/shard/mailbox.h"
#include "proto/topic.h"

static_assert(sizeof(struct trace_record) + TRACE_CLIENT_ID_MAX + TRACE_TOPIC_MAX + TRACE_HEAD_MAX +
                      TRACE_PAYLOAD_MAX <=
                  TRACE_SHARD_BYTES_MIN / 4,
              "a mailbox takes records of a quarter of it");
static_assert(TRACES_MAX <= 8, "a set of them is a byte");

struct trace {
    struct trace_wanted wanted; /* its texts are in `text` */
    unsigned shards;
    _Atomic unsigned holders;
    _Atomic bool over; /* relaxed: a shard may put something more */
    unsigned peeked;   /* the lane of what trace_next() gave; `shards`: none */
    struct lane {
        struct mailbox *box;
        /* Written by the shard, read by who watches; relaxed. */
        _Alignas(64) _Atomic uint64_t not_kept;
        uint64_t told; /* of those; who watches has it */
    } * lanes;         /* [shards] */
    uint8_t text[];
};

static size_t bytes_of_each(unsigned shards)
{
    size_t bytes = TRACE_BYTES;
    while (bytes > TRACE_SHARD_BYTES_MIN && bytes > TRACE_BYTES / shards) {
        bytes /= 2;
    }
    return bytes;
}

static struct bytes copied(uint8_t *to, struct bytes text)
{
    if (text.at == NULL) {
        return text;
    }
    memcpy(to, text.at, text.len);
    return bytes_of(to, text.len);
}

static void destroy(struct trace *t)
{
    for (unsigned i = 0; t->lanes != NULL && i < t->shards; i++) {
        mailbox_destroy(t->lanes[i].box);
    }
    free(t->lanes);
    free(t);
}

struct trace *trace_create(const struct trace_wanted *wanted, unsigned shards)
{
    struct trace *const t =
        calloc(1, sizeof *t + wanted->client_id.len + wanted->topic_filter.len + 1);
    if (t == NULL) {
        return NULL;
    }
    t->wanted = *wanted;
    t->wanted.client_id = copied(t->text, wanted->client_id);
    t->wanted.topic_filter = copied(t->text + wanted->client_id.len, wanted->topic_filter);
    t->shards = t->peeked = shards;
    t->holders = 1;
    t->lanes = aligned_alloc(_Alignof(struct lane), shards * sizeof t->lanes[0]);
    bool ok = t->lanes != NULL;
    for (unsigned i = 0; t->lanes != NULL && i < shards; i++) {
        t->lanes[i] = (struct lane){.box = mailbox_create(bytes_of_each(shards))};
        ok = ok && t->lanes[i].box != NULL;
    }
    if (!ok) {
        destroy(t);
        return NULL;
    }
    return t;
}

void trace_take(struct trace *t)
{
    atomic_fetch_add_explicit(&t->holders, 1, memory_order_relaxed);
}

void trace_put(struct trace *t)
{
    if (atomic_fetch_sub_explicit(&t->holders, 1, memory_order_acq_rel) == 1) {
        destroy(t);
    }
}

void trace_end(struct trace *t)
{
    atomic_store_explicit(&t->over, true, memory_order_relaxed);
}

static bool is_over(const struct trace *t)
{
    return atomic_load_explicit(&t->over, memory_order_relaxed);
}

const struct trace_wanted *trace_wants(const struct trace *t)
{
    return &t->wanted;
}

/* ---- who watches */

const struct trace_record *trace_next(struct trace *t, unsigned *shard)
{
    const struct trace_record *oldest = NULL;
    if (t->peeked < t->shards) {
        mailbox_release(t->lanes[t->peeked].box);
        t->peeked = t->shards;
    }
    for (unsigned i = 0; i < t->shards; i++) {
        size_t len;
        const struct trace_record *const first = mailbox_peek(t->lanes[i].box, &len);
        if (first != NULL && (oldest == NULL || first->at_us < oldest->at_us)) {
            oldest = first;
            t->peeked = *shard = i;
        }
    }
    return oldest;
}

uint64_t trace_not_kept(struct trace *t)
{
    uint64_t more = 0;
    for (unsigned i = 0; i < t->shards; i++) {
        const uint64_t now = atomic_load_explicit(&t->lanes[i].not_kept, memory_order_relaxed);
        more += now - t->lanes[i].told;
        t->lanes[i].told = now;
    }
    return more;
}

/* ---- the shard's side */

bool tracing_begin(struct recorder *r, unsigned shard, struct trace *t)
{
    assert(shard < t->shards);
    if (r->tracing == NULL) {
        r->tracing = calloc(1, sizeof *r->tracing);
    }
    if (r->tracing == NULL) {
        return false;
    }
    r->tracing->shard = shard;
    for (unsigned i = 0; i < TRACES_MAX; i++) {
        struct trace **const place = &r->tracing->traces[i];
        if (*place != NULL && is_over(*place)) {
            trace_put(*place);
            *place = NULL;
        }
        if (*place == NULL) {
            trace_take(t);
            *place = t;
            r->tracing_generation++;
            return true;
        }
    }
    return false;
}

static void leave_place(struct recorder *r, unsigned place)
{
    trace_put(r->tracing->traces[place]);
    r->tracing->traces[place] = NULL;
    r->tracing_generation++;
    for (unsigned i = 0; i < TRACES_MAX; i++) {
        if (r->tracing->traces[i] != NULL) {
            return;
        }
    }
    free(r->tracing);
    r->tracing = NULL;
}

void tracing_end(struct recorder *r, const struct trace *t)
{
    for (unsigned i = 0; i < TRACES_MAX && r->tracing != NULL; i++) {
        if (r->tracing->traces[i] == t) {
            leave_place(r, i);
        }
    }
}

void tracing_fini(struct recorder *r)
{
    for (unsigned i = 0; i < TRACES_MAX && r->tracing != NULL; i++) {
        if (r->tracing->traces[i] != NULL) {
            leave_place(r, i);
        }
    }
}

static bool is_from(const struct trace_wanted *wanted, const struct trace_party *party)
{
    if (party->peer == NULL || party->local) {
        return false;
    }
    const struct in6_addr cut = address_range_cut(party->peer->address, wanted->address.bits);
    return memcmp(&cut, &wanted->address.address, sizeof cut) == 0;
}

uint8_t tracing_whose(const struct recorder *r, const struct trace_party *party)
{
    uint8_t whose = 0;
    for (unsigned i = 0; i < TRACES_MAX; i++) {
        const struct trace *const t = r->tracing->traces[i];
        if (t != NULL &&
            (t->wanted.client_id.at == NULL ||
             listing_matches(t->wanted.client_id, party->client_id)) &&
            (!t->wanted.has_address || is_from(&t->wanted, party))) {
            whose |= (uint8_t)(1u << i);
        }
    }
    return whose;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static uint8_t *append(uint8_t *to, struct bytes text, size_t len)
{
    if (len > 0) {
        memcpy(to, text.at, len);
    }
    return to + len;
}

static bool write_record(struct mailbox *box, const struct trace_record *head,
                         const struct trace_party *party, const struct trace_event *e)
{
    struct trace_record *const record =
        mailbox_reserve(box, sizeof *record + (size_t)head->client_id_len + head->topic_len +
                                 head->head_len + head->payload_len);
    if (record == NULL) {
        return false;
    }
    *record = *head;
    uint8_t *to = append(record->text, party->client_id, head->client_id_len);
    to = append(to, e->topic, head->topic_len);
    to = append(to, e->head, head->head_len);
    (void)append(to, e->payload, head->payload_len);
    mailbox_commit(box);
    (void)mailbox_publish(box);
    return true;
}

unsigned tracing_put(struct recorder *r, uint8_t whose, const struct trace_party *party,
                     const struct trace_event *e)
{
    static const struct note_peer nobody;
    const struct note_peer *const peer = party->peer == NULL ? &nobody : party->peer;
    unsigned lost = 0;
    struct trace_record head = {.address = peer->address,
                                .at_us = e->at_us,
                                .length = e->length,
                                .payload_bytes = (uint32_t)e->payload.len,
                                .client_id_len =
                                    (uint16_t)least(party->client_id.len, TRACE_CLIENT_ID_MAX),
                                .topic_len = (uint16_t)least(e->topic.len, TRACE_TOPIC_MAX),
                                .head_len = (uint16_t)least(e->head.len, TRACE_HEAD_MAX),
                                .topic_bytes = (uint16_t)e->topic.len,
                                .port = peer->port,
                                .code = e->code,
                                .kind = (uint8_t)e->kind,
                                .version = e->version,
                                .listener = peer->listener,
                                .has_peer = party->peer != NULL,
                                .local = party->local};
    for (; whose != 0 && r->tracing != NULL; whose &= (uint8_t)(whose - 1)) {
        const unsigned place = (unsigned)__builtin_ctz(whose);
        struct trace *const t = r->tracing->traces[place];
        if (t == NULL ||
            (t->wanted.topic_filter.at != NULL &&
             (e->topic.len == 0 || !topic_matches(t->wanted.topic_filter, e->topic)))) {
            continue;
        }
        if (is_over(t)) {
            leave_place(r, place);
            continue;
        }
        head.payload_len =
            (uint16_t)(t->wanted.payload ? least(e->payload.len, TRACE_PAYLOAD_MAX) : 0);
        struct lane *const lane = &t->lanes[r->tracing->shard];
        if (!write_record(lane->box, &head, party, e)) {
            lost++;
            atomic_store_explicit(&lane->not_kept,
                                  atomic_load_explicit(&lane->not_kept, memory_order_relaxed) + 1,
                                  memory_order_relaxed);
        }
    }
    return lost;
}
