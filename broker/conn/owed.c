/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/owed.h"

#include <assert.h>
#include <stdatomic.h>

#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/message.h"
#include "broker/partitions/ledger.h"
#include "broker/route/publication.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"

#define NEVER UINT64_MAX

struct receipt {
    uint64_t ticket;
    uint64_t targets; /* that have to keep it, 1 << id */
    uint64_t begun_ms;
    struct conn *conn;
    struct session *session; /* that is kept, of QoS 2; NULL: it is not, or has ended */
    uint64_t exchange;
    owed_fn *fn; /* NULL: PUBACK or PUBREC */
    void *context;
    uint16_t packet_id;
    uint8_t qos;
    uint8_t reason;
    bool after_all; /* those before it, whosever they are */
    bool refused;   /* by another node: it says so, whatever else was kept */
};

struct reply {
    uint64_t position;
    struct conn *conn;
    owed_fn *fn; /* NULL: an acknowledgement, or the end of a hold */
    void *context;
    uint16_t packet_id;
    uint8_t type; /* enum mqtt_type; CONNACK: the end of a hold */
    uint8_t reason;
};

/* RECEIVED of exchanges, on its way to the disk. */
struct received {
    uint64_t position; /* of the last */
    uint64_t begun_ms; /* of the first */
};

/* ---- one more, or one less, that the connection is owed */

static void begin(struct conn *c)
{
    c->waiting++;
    c->owed++;
    atomic_fetch_add_explicit(&c->shard->node->answers_owed, 1, memory_order_relaxed);
    if (c->owed >= OWED_MAX && (c->blocked & BLOCKED_KEEP) == 0) {
        shard_count(c->shard, METRIC_publish_unkept);
        c->blocked |= BLOCKED_KEEP;
    }
}

static void end(struct conn *c)
{
    assert(c->owed > 0);
    c->owed--;
    atomic_fetch_sub_explicit(&c->shard->node->answers_owed, 1, memory_order_relaxed);
    if (c->owed < OWED_MAX / 2 && (c->blocked & BLOCKED_KEEP) != 0) {
        input_unblock(c, BLOCKED_KEEP);
    }
    conn_answered(c); /* which may be the end of it */
}

static bool is_there(const struct conn *c)
{
    return c->phase == CONN_CONNECTED;
}

/* ---- replies */

static void add_reply(struct conn *c, const struct reply *r)
{
    struct shard *const s = c->shard;
    s->replies.item = sizeof *r;
    if (!fifo_push(&s->replies, r)) {
        store_out_of_memory();
    }
    begin(c);
}

void owed_reply(struct conn *c, enum mqtt_type type, uint16_t packet_id, uint8_t reason)
{
    struct shard *const s = c->shard;
    assert(c->session != NULL); /* it is connected */

    if (s->store == NULL || c->session->kept == NULL ||
        (s->replies.count == 0 && ledger_last(s) <= ledger_kept(s))) {
        conn_send_ack(c, type, packet_id, reason);
        return;
    }
    const struct reply r = {.position = ledger_last(s),
                            .conn = c,
                            .packet_id = packet_id,
                            .type = (uint8_t)type,
                            .reason = reason};
    add_reply(c, &r);
}

void owed_hold(struct conn *c, uint64_t position)
{
    struct shard *const s = c->shard;
    if (s->store == NULL || position <= ledger_kept(s)) {
        return;
    }
    const struct reply r = {.position = position, .conn = c, .type = MQTT_CONNACK};
    c->held |= HELD_KEEP;
    add_reply(c, &r);
}

void owed_call(struct conn *c, owed_fn *fn, void *context)
{
    struct shard *const s = c->shard;
    const struct reply r = {
        .position = s->store == NULL ? 0 : ledger_last(s), .conn = c, .fn = fn, .context = context};
    add_reply(c, &r);
}

static void give_reply(const struct reply *r)
{
    struct conn *const c = r->conn;
    if (r->fn != NULL) {
        r->fn(c, r->context);
    } else if (r->type == MQTT_CONNACK) {
        c->held &= (uint8_t)~HELD_KEEP;
        conn_list_add(&c->shard->dirty, c, CONN_DIRTY);
    } else if (is_there(c)) {
        conn_send_ack(c, (enum mqtt_type)r->type, r->packet_id, r->reason);
    }
    end(c);
}

/* ---- receipts */

static void show_oldest(struct shard *s)
{
    const struct receipt *const first = fifo_first(&s->receipts);
    uint64_t oldest_ms = first != NULL ? first->begun_ms : NEVER;
    for (uint32_t i = 0; i < s->received.count; i++) { /* they may have overtaken one another */
        const struct received *const received = fifo_at(&s->received, i);
        oldest_ms = received->begun_ms < oldest_ms ? received->begun_ms : oldest_ms;
    }
    atomic_store_explicit(&s->exchanges_oldest_ms, oldest_ms, memory_order_release);
}

static bool by_other_nodes(const struct receipt *r)
{
    return r->targets >> INDEX_PEER_FIRST != 0;
}

/* From one set to the other. */
static void move_id(struct packet_ids *from, struct packet_ids *to, uint16_t packet_id)
{
    if (packet_ids_remove(from, packet_id) &&
        packet_ids_add(to, packet_id) == PACKET_IDS_NO_MEMORY) {
        store_out_of_memory();
    }
}

void owed_wait(struct session *session, uint16_t packet_id)
{
    struct pending *const p = session->pending;
    if (p != NULL) {
        move_id(&p->received, &p->open, packet_id);
    }
}

void owed_wait_no_more(struct session *session, uint16_t packet_id)
{
    struct pending *const p = session->pending;
    if (p != NULL) {
        move_id(&p->open, &p->received, packet_id);
    }
}

static void add_receipt(struct conn *c, const struct receipt *r)
{
    struct shard *const s = c->shard;
    s->receipts.item = sizeof *r;
    if (!fifo_push(&s->receipts, r)) {
        store_out_of_memory();
    }
    begin(c);
    c->receipts++;
    s->receipts_remote += by_other_nodes(r);
    show_oldest(s);
}

void owed_after(struct conn *c, owed_fn *fn, void *context)
{
    if (c->receipts == 0) {
        fn(c, context);
        return;
    }
    const struct receipt r = {
        .begun_ms = c->shard->now_ms, .conn = c, .fn = fn, .context = context};
    add_receipt(c, &r);
}

void owed_after_all(struct conn *c, owed_fn *fn, void *context)
{
    if (c->shard->receipts.count == 0 && c->shard->receipts_due.count == 0) {
        fn(c, context);
        return;
    }
    const struct receipt r = {
        .begun_ms = c->shard->now_ms, .conn = c, .fn = fn, .context = context, .after_all = true};
    add_receipt(c, &r);
}

void owed_receipt(struct conn *c, struct session *session, const struct message *m,
                  uint16_t packet_id, uint8_t reason)
{
    struct shard *const s = c->shard;
    const enum mqtt_type type = m->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC;
    /* It was when the message came; what had to be forgotten at its end was before this. */
    const bool is_kept =
        m->qos == 2 && m->exchange != 0 && session != NULL && session->kept != NULL;
    if (!is_kept && !is_there(c)) {
        return;
    }
    if (s->route_waits >> INDEX_PEER_FIRST != 0) {
        c->forwarded |= (uint32_t)(s->route_waits >> INDEX_PEER_FIRST);
        reason = s->route_reason != 0 ? s->route_reason : reason;
    }
    const bool waits = s->route_waits != 0 || c->receipts > 0;
    if (!is_kept && !waits) {
        conn_send_ack(c, type, packet_id, reason);
        return;
    }
    const struct receipt r = {.ticket = s->ticket,
                              .targets = s->route_waits,
                              .begun_ms = s->now_ms,
                              .conn = c,
                              .session = is_kept ? session : NULL,
                              .exchange = m->exchange,
                              .packet_id = packet_id,
                              .qos = m->qos,
                              .reason = reason,
                              .refused = reason >= MQTT_REASON_UNSPECIFIED_ERROR};
    add_receipt(c, &r);
    if (m->qos == 2 && session != NULL) {
        owed_wait(session, packet_id);
    }
}

void owed_refusal(struct conn *c, uint8_t qos, uint16_t packet_id, uint8_t reason)
{
    if (c->receipts == 0) {
        conn_send_ack(c, qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, packet_id, reason);
        return;
    }
    const struct receipt r = {.begun_ms = c->shard->now_ms,
                              .conn = c,
                              .packet_id = packet_id,
                              .qos = qos,
                              .reason = reason};
    add_receipt(c, &r);
}

bool owed_is_kept(const struct shard *s, uint64_t targets, uint64_t ticket)
{
    for (; targets != 0; targets &= targets - 1) {
        if (s->kept_by[__builtin_ctzll(targets)] < ticket) {
            return false;
        }
    }
    return true;
}

/* Another node will not have it. The exchange of QoS 2 ends with that (4.3.3). */
static void give_refusal(const struct receipt *r, struct session *session)
{
    struct conn *const c = r->conn;
    shard_count(c->shard, METRIC_publish_refused);
    if (r->qos == 2 && session != NULL) {
        session_release(session, r->packet_id);
    }
    if (is_there(c) && c->version == MQTT_V5) {
        conn_send_ack(c, r->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, r->packet_id, r->reason);
    } else if (is_there(c)) {
        conn_doom(c, r->reason); /* it will come again */
    }
}

static void give_receipt(const struct receipt *r)
{
    struct conn *const c = r->conn;
    const enum mqtt_type type = r->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC;
    c->receipts--;
    c->shard->receipts_remote -= by_other_nodes(r);
    if (r->fn != NULL) {
        r->fn(c, r->context);
        end(c);
        return;
    }
    struct session *const session = r->session != NULL ? r->session : c->session;
    if (r->qos == 2 && session != NULL) {
        owed_wait_no_more(session, r->packet_id);
    }
    if (r->refused) {
        give_refusal(r, session);
        end(c);
        return;
    }
    if (r->session != NULL) {
        kept_received(r->session, r->packet_id, r->exchange);
    }
    if (is_there(c) && r->session != NULL) {
        owed_reply(c, type, r->packet_id, r->reason);
    } else if (is_there(c)) {
        conn_send_ack(c, type, r->packet_id, r->reason);
    }
    end(c);
}

void owed_kept(struct shard *s, unsigned target, uint64_t ticket)
{
    s->kept_by[target] = ticket;
    s->receipts_news = true;
}

void owed_refused(struct shard *s, uint64_t ticket, uint8_t reason)
{
    for (uint32_t i = 0; i < s->receipts.count; i++) { /* it is one of the first, mostly */
        struct receipt *const r = fifo_at(&s->receipts, i);
        if (r->ticket == ticket && by_other_nodes(r)) {
            r->reason = reason;
            r->refused = true;
            s->receipts_news = true;
            return;
        }
    }
    if (publication_refused(s, ticket)) {
        return;
    }
    if (ticket == s->ticket) { /* it is being routed */
        s->route_reason = reason;
        s->receipts_news = true;
    }
}

/* What others know of these exchanges may go when RECEIVED is on disk, and not when it is only
 * said. begun_ms: of the first of them. */
static void begin_received(struct shard *s, uint64_t begun_ms)
{
    const struct received received = {.position = NEVER, .begun_ms = begun_ms};
    s->received.item = sizeof received;
    if (!fifo_push(&s->received, &received)) {
        store_out_of_memory();
    }
}

static void end_received(struct shard *s)
{
    struct received *const received = fifo_last(&s->received);
    received->position = s->store == NULL ? 0 : ledger_last(s);
}

static bool forget_received(struct shard *s)
{
    bool any = false;
    for (const struct received *r; (r = fifo_first(&s->received)) != NULL &&
                                   (s->store == NULL || ledger_is_written(s, r->position));
         any = true) {
        fifo_pop(&s->received);
    }
    return any;
}

/* What a walk through the receipts has come upon. */
struct waiting {
    bool any;  /* some receipt waits */
    bool disk; /* one that waits for shards alone does */
};

/* Does it wait, or something before it that it has to follow? What waits for shards alone goes in
 * the order of all. */
static bool receipt_waits(struct shard *s, const struct receipt *r, struct waiting *w)
{
    const bool follows = (r->conn->receipts_pass == s->receipts_pass && w->any) ||
                         (r->after_all && w->any) || (!by_other_nodes(r) && w->disk);
    if (!follows && (r->refused || owed_is_kept(s, r->targets, r->ticket))) {
        return false;
    }
    r->conn->receipts_pass = s->receipts_pass;
    w->any = true;
    w->disk = w->disk || !by_other_nodes(r);
    return true;
}

static void push_due(struct shard *s, const struct receipt *r)
{
    s->receipts_due.item = sizeof *r;
    if (!fifo_push(&s->receipts_due, r)) {
        store_out_of_memory();
    }
}

/*
 * Another node that lets wait must not hold up those who publish to others: what is complete behind
 * what is not is taken out, but nothing of a connection that waits for what is before it.
 */
static void take_due(struct shard *s)
{
    struct waiting w = {0};
    uint32_t waiting = 0;
    const struct receipt *first;
    s->receipts_pass++;
    while ((first = fifo_first(&s->receipts)) != NULL && !receipt_waits(s, first, &w)) {
        push_due(s, first);
        fifo_pop(&s->receipts);
    }
    for (uint32_t i = 0; i < s->receipts.count; i++) {
        struct receipt *const r = fifo_at(&s->receipts, i);
        if (i > 0 && !receipt_waits(s, r, &w)) { /* of the first that is known */
            push_due(s, r);
            continue;
        }
        if (waiting < i) {
            *(struct receipt *)fifo_at(&s->receipts, waiting) = *r;
        }
        waiting++;
    }
    s->receipts.count = waiting;
}

/* The next one to be given; false: there is none. */
static bool next_receipt(struct shard *s, struct receipt *out)
{
    struct fifo *const from = s->receipts_due.count > 0 ? &s->receipts_due : &s->receipts;
    const struct receipt *const r = fifo_first(from);
    if (r == NULL || (from == &s->receipts &&
                      (s->receipts_remote > 0 || !owed_is_kept(s, r->targets, r->ticket)))) {
        return false;
    }
    *out = *r;
    fifo_pop(from);
    return true;
}

static void settle_receipts(struct shard *s)
{
    bool any = forget_received(s);
    bool any_received = false;
    if (s->receipts_remote > 0 && s->receipts_news) {
        s->receipts_news = false;
        take_due(s);
    }
    for (struct receipt complete; next_receipt(s, &complete); any = true) {
        if (complete.session != NULL && !any_received) {
            any_received = true;
            begin_received(s, complete.begun_ms);
        }
        give_receipt(&complete);
    }
    if (any_received) {
        end_received(s);
    }
    if (any) {
        show_oldest(s);
    }
}

void owed_settle(struct shard *s)
{
    settle_receipts(s);
    if (s->replies.count == 0) {
        return;
    }
    const uint64_t kept = s->store == NULL ? NEVER : ledger_kept(s);
    for (const struct reply *r; (r = fifo_first(&s->replies)) != NULL && r->position <= kept;) {
        const struct reply due = *r;
        fifo_pop(&s->replies);
        give_reply(&due);
    }
}

void owed_abandon(struct shard *s)
{
    for (const struct receipt *r; (r = fifo_first(&s->receipts)) != NULL;) {
        const struct receipt abandoned = *r;
        fifo_pop(&s->receipts);
        if (abandoned.fn != NULL) {
            abandoned.fn(abandoned.conn, abandoned.context);
        }
        end(abandoned.conn);
    }
    s->receipts_remote = 0;
    for (const struct reply *r; (r = fifo_first(&s->replies)) != NULL;) {
        const struct reply abandoned = *r;
        fifo_pop(&s->replies);
        if (abandoned.fn != NULL) {
            abandoned.fn(abandoned.conn, abandoned.context); /* its to free; the client has gone */
        }
        end(abandoned.conn);
    }
}

static void forget_in(const struct fifo *receipts, struct session *session)
{
    for (uint32_t i = 0; i < receipts->count; i++) {
        struct receipt *const r = fifo_at(receipts, i);
        if (r->session == session) {
            owed_wait_no_more(session, r->packet_id);
            r->session = NULL;
        }
    }
}

void owed_forget(struct shard *s, struct session *session)
{
    forget_in(&s->receipts, session);
    forget_in(&s->receipts_due, session);
}

bool owed_none_since(const struct node *node, uint64_t ms)
{
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (atomic_load_explicit(&node->shards[i]->exchanges_oldest_ms, memory_order_acquire) <=
            ms) {
            return false;
        }
    }
    return true;
}
