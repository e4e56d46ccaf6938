/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions are made of a partition's records, while the shard runs, for the node that has become
 * the leader:
 *
 *   FLUSH ─▶ SESSIONS ─▶ DELIVERIES ─▶ ORIGINS ─▶ FILTERS ─▶ WILLS ─▶ TOLD ─▶ CLOSED ─▶ it leads
 *    │        s            q            o           f          w        │       │
 *    applier  └──────── checkpoint_read(), a part at a time ──┘         │       └ entries: nobody
 * is │         connected └ the index and the other nodes know
 *
 * Nothing changes what is still to be read: until it leads only this node can, and does so by what
 * it has read already. Filters come after deliveries, since from then on something may be queued;
 * wills before others of those who were connected are due.
 */
#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "broker/client_hash.h"
#include "broker/conn/life.h"
#include "broker/histogram.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/partitions/partitions_parts.h"
#include "broker/session/backlog.h"
#include "broker/session/session.h"
#include "broker/session/will.h"
#include "broker/store/apply.h"
#include "broker/store/difference.h"
#include "broker/store/origins.h"
#include "broker/store/revive_session.h"
#include "broker/store/serial.h"
#include "broker/store/session_record.h"
#include "broker/store/store.h"
#include "proto/mqtt.h"

#define NEVER UINT64_MAX

#define STEPS_PER_TURN  300u /* things that are taken up, of one partition */
#define FILTERS_AT_ONCE 512u /* subscriptions that may be on their way between shards */
#define CLOSING_STEPS   4u   /* that the end of a connection counts as */

enum stage {
    STAGE_FLUSH,
    STAGE_SESSIONS,
    STAGE_DELIVERIES,
    STAGE_ORIGINS,
    STAGE_FILTERS,
    STAGE_WILLS,
    STAGE_TOLD,
    STAGE_CLOSED,
    STAGE_OVER,
};

static const char letters[STAGE_OVER] = {[STAGE_SESSIONS] = 's',
                                         [STAGE_DELIVERIES] = 'q',
                                         [STAGE_ORIGINS] = 'o',
                                         [STAGE_FILTERS] = 'f',
                                         [STAGE_WILLS] = 'w'};

struct reviving {
    struct table_link by_serial;
    struct session *session;
    uint64_t ends_ms, will_due_ms; /* by the clock on the wall; while not connected */
    uint64_t sent_end;
    uint64_t next_number; /* of its queue, as the records have it */
    uint32_t in_memory;   /* deliveries */
    bool connected;
    bool all; /* what comes next is in memory, too: something of a group was before it */
};

/* The checkpoint's until `is_done`. */
struct revival_read {
    struct kept_link link;      /* in shard_partitions.reads */
    struct revival_of *revival; /* NULL: nobody wants it any more */
    struct io *io;              /* of its shard, to be woken */
    struct checkpoint_read read;
    struct record_key prefix, from;
    _Atomic bool is_done; /* by the checkpoint's thread, release */
};

struct revival_of {
    struct kept_link link; /* in shard_partitions.leaving, when it was given up */
    struct partition *partition;
    enum stage stage;
    struct revival_read *reading; /* NULL: none is under way */

    /* What was read, and is being taken up. */
    struct checkpoint_pairs *pairs;
    size_t at;
    struct record_key last; /* that was taken up; of 0 bytes: none of this letter */
    bool more, follow;

    struct table sessions;    /* struct reviving */
    struct fifo order;        /* struct reviving *: likewise */
    struct subscribe_job job; /* of all subscriptions; it never ends */
    uint64_t begun_us, deliveries;
    uint64_t wills;
    const char *problem;
};

static struct shard *shard_of(const struct revival_of *r)
{
    return r->partition->shard;
}

static struct shard_partitions *mine(const struct shard *s)
{
    return &s->node->partitions->of_shard[s->id];
}

static bool out_of_memory(struct revival_of *r)
{
    r->problem = "there is not enough memory for its sessions";
    return false;
}

static bool unknown(struct revival_of *r)
{
    r->problem = "it has something that this version does not understand";
    return false;
}

/* ---- reading */

static void on_read(struct checkpoint_read *read)
{
    struct revival_read *const r = table_object(read, struct revival_read, read);
    struct io *const io = r->io;
    atomic_store_explicit(&r->is_done, true, memory_order_release); /* may be gone from here on */
    io_wake_external(io);
}

static void want(struct revival_of *r)
{
    struct shard *const s = shard_of(r);
    struct revival_read *const reading = calloc(1, sizeof *reading);
    if (reading == NULL) {
        (void)out_of_memory(r);
        return;
    }
    reading->revival = r;
    reading->io = s->io;
    reading->prefix = serial_prefix(letters[r->stage], r->partition->number);
    reading->from = r->last;
    reading->read = (struct checkpoint_read){.prefix = record_key_bytes(&reading->prefix),
                                             .from = record_key_bytes(&reading->from),
                                             .after = r->last.len > 0,
                                             .follow = r->follow,
                                             .bytes_max = PARTITION_PART_BYTES,
                                             .done = on_read};
    r->reading = reading;
    kept_link_append(&mine(s)->reads, &reading->link);
    checkpoint_read(s->node->partitions->conf.checkpoint, &reading->read);
}

static void begin_stage(struct revival_of *r, enum stage stage)
{
    r->stage = stage;
    r->last.len = 0;
    r->follow = stage == STAGE_DELIVERIES;
    if (letters[stage] != 0) {
        want(r);
    }
}

static void end_part(struct revival_of *r)
{
    free(r->pairs);
    r->pairs = NULL;
    r->at = 0;
}

static void take_read(struct revival_of *r, struct revival_read *reading)
{
    r->reading = NULL;
    if (reading->read.err != CHECKPOINT_OK) {
        r->problem = checkpoint_err_text(reading->read.err);
        return;
    }
    r->pairs = reading->read.pairs;
    r->more = reading->read.more;
    r->at = 0;
    reading->read.pairs = NULL;
}

static void settle_reads(struct shard_partitions *all)
{
    for (struct kept_link *l = all->reads.next; l != &all->reads;) {
        struct revival_read *const reading = table_object(l, struct revival_read, link);
        l = l->next;
        if (!atomic_load_explicit(&reading->is_done, memory_order_acquire)) {
            continue;
        }
        if (reading->revival != NULL) {
            take_read(reading->revival, reading);
        }
        kept_link_remove(&reading->link);
        free(reading->read.pairs);
        free(reading);
    }
}

/* ---- sessions */

static uint64_t hash_of(uint64_t serial)
{
    return XXH3_64bits(&serial, sizeof serial);
}

static struct reviving *find(struct revival_of *r, uint64_t serial)
{
    struct table_link *l = table_find(&r->sessions, hash_of(serial));
    for (; l != NULL; l = table_find_next(l)) {
        struct reviving *const v = table_object(l, struct reviving, by_serial);
        if (v->session->serial == serial) {
            return v;
        }
    }
    return NULL;
}

/* A client that is here without anything that is kept, under the name of one that has a session:
 * that is older than the partition's leader, and comes back. */
static void send_away(struct shard *s, struct bytes client_id)
{
    struct session *other = session_find(s, client_id);
    if (other != NULL && other->conn != NULL) {
        conn_close(other->conn, MQTT_REASON_SESSION_TAKEN_OVER, SESSION_WILL_PUBLISH);
        other = session_find(s, client_id);
    }
    if (other != NULL && serial_is_local(other->serial)) {
        session_end(other); /* from before there were replicas */
    }
}

static struct session *open_session(struct revival_of *r, uint64_t serial, struct bytes client_id)
{
    struct shard *const s = shard_of(r);
    send_away(s, client_id);
    if (session_find(s, client_id) != NULL) {
        r->problem = "two of its sessions have one client identifier";
        return NULL;
    }
    struct session *const session = session_open(s, client_id, client_hash_of(s->node, client_id));
    if (session == NULL) {
        (void)out_of_memory(r);
        return NULL;
    }
    session->serial = serial;
    session->expiry_s = 1; /* until it is told */
    if (!kept_begin(session)) {
        session_end(session);
        (void)out_of_memory(r);
        return NULL;
    }
    return session;
}

static bool on_session(struct revival_of *r, struct bytes key, struct bytes value)
{
    struct session_record record;
    if (key.len != 9 || !session_record_read(value, &record)) {
        return unknown(r);
    }
    struct reviving *const v = calloc(1, sizeof *v);
    if (v == NULL) {
        return out_of_memory(r);
    }
    struct session *const session = open_session(r, record_key_number(key, 1), record.client_id);
    if (session == NULL || !fifo_push(&r->order, &v)) {
        free(v); /* the session goes with the others */
        return session == NULL ? false : out_of_memory(r);
    }
    *v = (struct reviving){.session = session,
                           .ends_ms = record.ends_ms,
                           .will_due_ms = record.will_due_ms,
                           .sent_end = record.sent_end,
                           .next_number = record.next_number,
                           .connected = record.connected};
    table_insert(&r->sessions, &v->by_serial, hash_of(session->serial));
    return (revive_session_fill(session, &record) && revive_session_will(session, &record.will)) ||
           out_of_memory(r);
}

/* ---- deliveries */

/* Into memory, of which it is the next one. */
static bool put_delivery(struct revival_of *r, struct reviving *v,
                         const struct delivery_record *record, struct bytes body)
{
    struct shard *const s = shard_of(r);
    struct message *message = NULL;
    struct stored_message unused;
    struct delivery d;
    if (record->body != 0) { /* another session may have it */
        message = difference_message(s, record->body);
        if (message == NULL && !stored_message_read(body, &unused)) {
            return unknown(r);
        }
        message = message != NULL ? message_take(message, 1) : kept_message_make(s, body);
        if (message == NULL) {
            return out_of_memory(r);
        }
    }
    if (!kept_delivery_make(message, &record->delivery, &d)) {
        return out_of_memory(r);
    }
    if (!backlog_revive(v->session, &d)) {
        message_put(message);
        free(delivery_more(&d));
        return out_of_memory(r);
    }
    if (message != NULL) {
        difference_has_body(s, message, record->body);
    }
    v->in_memory++;
    return true;
}

/* Is it to be in memory? What may have been sent is, and what came by a group, and what is behind
 * that. */
static bool is_for_memory(const struct reviving *v, const struct delivery_record *record)
{
    const struct backlog *const b = v->session->kept->backlog;
    if (v->all || record->delivery.group != 0 || record->body == 0) {
        return true;
    }
    if (b != NULL) {
        return false;
    }
    return v->connected ? v->in_memory < revive_perhaps_sent_max(v->session)
                        : record->delivery.number < v->sent_end;
}

static bool is_released_behind_others(const struct reviving *v,
                                      const struct delivery_record *record)
{
    return record->body == 0 && v->session->kept->backlog != NULL;
}

static bool take_delivery(struct revival_of *r, struct reviving *v,
                          const struct delivery_record *record, struct bytes body)
{
    const uint64_t number = record->delivery.number;
    r->deliveries++;
    if (is_released_behind_others(v, record)) {
        /* It was sent, and so were those before it: the other node had a larger window. */
        const enum checkpoint_err err = backlog_reach(v->session, number);
        if (err != CHECKPOINT_OK) {
            r->problem = checkpoint_err_text(err);
            return false;
        }
    }
    if (!is_for_memory(v, record)) {
        return backlog_stored(v->session, number, record->bytes) || out_of_memory(r);
    }
    v->all = v->all || record->delivery.group != 0;
    return put_delivery(r, v, record, body);
}

/* Of many that stay where they are, their bodies need not be read; and of the next session's they
 * do. false: it is not taken up, and has to be read anew. */
static bool has_what_it_takes(struct revival_of *r, const struct reviving *v,
                              const struct delivery_record *record)
{
    if (v == NULL || record->body == 0 || !is_for_memory(v, record)) {
        return true;
    }
    return r->follow || difference_message(shard_of(r), record->body) != NULL;
}

enum taken { TAKEN, TAKEN_NOT, TAKEN_BADLY };

static enum taken on_delivery(struct revival_of *r, struct bytes key, struct bytes value)
{
    struct delivery_record record;
    struct bytes body = bytes_of(NULL, 0), body_key;
    if (key.len != 17 || !delivery_record_read(value, &record) ||
        record.delivery.number != record_key_number(key, 9)) {
        (void)unknown(r);
        return TAKEN_BADLY;
    }
    struct reviving *const v = find(r, record_key_number(key, 1));
    if (!has_what_it_takes(r, v, &record)) {
        return TAKEN_NOT;
    }
    if (r->follow && record.body != 0 &&
        (!checkpoint_pairs_next(r->pairs, &r->at, &body_key, &body) || body_key.len != 9 ||
         record_key_number(body_key, 1) != record.body)) {
        (void)unknown(r);
        return TAKEN_BADLY;
    }
    if (v == NULL) {
        return TAKEN; /* it ended while it was copied, and the entry is applied that says so */
    }
    if (record.delivery.number >= v->next_number) {
        (void)unknown(r);
        return TAKEN_BADLY;
    }
    return take_delivery(r, v, &record, body) ? TAKEN : TAKEN_BADLY;
}

static void end_deliveries(struct revival_of *r)
{
    for (uint32_t i = 0; i < r->order.count; i++) {
        const struct reviving *const v = *(struct reviving *const *)fifo_at(&r->order, i);
        revive_queue_restored(v->session, v->connected, v->sent_end);
    }
}

/* ---- the others */

static bool on_origin(struct revival_of *r, struct bytes key, struct bytes value)
{
    struct record_key copy = {.len = key.len};
    struct origin_record record;
    enum origin_kind kind;
    uint64_t origin;
    if (key.len > RECORD_KEY_MAX) {
        return unknown(r);
    }
    memcpy(copy.at, key.at, key.len);
    if (!origin_key_read(&copy, &kind, &origin) || !origin_record_read(value, &record)) {
        return unknown(r);
    }
    partition_note_origin(r->partition, kind, origin,
                          record.number - !record.is_whole); /* half of it is to come again */
    return true;
}

static bool on_filter(struct revival_of *r, struct bytes key, struct bytes value)
{
    struct subscribe_options options;
    struct bytes filter;
    bool existed;
    if (key.len != 25 || !revive_filter_read(value, &filter, &options)) {
        return unknown(r);
    }
    const struct reviving *const v = find(r, record_key_number(key, 1));
    return v == NULL ||
           local_subscribe(v->session, filter, &options, &r->job, &existed) != LOCAL_NO_MEMORY ||
           out_of_memory(r);
}

/* Its session may have ended. */
static bool on_will(struct revival_of *r, struct bytes key, struct bytes value)
{
    struct due_will will;
    if (key.len != 17 || !due_will_read(value, &will)) {
        return unknown(r);
    }
    struct message *const m = kept_message_make(shard_of(r), will.message);
    if (m == NULL) {
        return out_of_memory(r);
    }
    m->retain = m->retain && !will.is_retained;
    will_again(shard_of(r), record_key_number(key, 1), r->partition->number,
               record_key_number(key, 9), m);
    r->wills++;
    return true;
}

static enum taken take_one(struct revival_of *r, struct bytes key, struct bytes value)
{
    switch (r->stage) {
    case STAGE_SESSIONS:
        return on_session(r, key, value) ? TAKEN : TAKEN_BADLY;
    case STAGE_DELIVERIES:
        return on_delivery(r, key, value);
    case STAGE_ORIGINS:
        return on_origin(r, key, value) ? TAKEN : TAKEN_BADLY;
    case STAGE_FILTERS:
        return on_filter(r, key, value) ? TAKEN : TAKEN_BADLY;
    default:
        return on_will(r, key, value) ? TAKEN : TAKEN_BADLY;
    }
}

/* ---- who was connected is not any more */

static uint64_t after(const struct shard *s, uint32_t seconds)
{
    return seconds == MQTT_NO_EXPIRY ? NEVER : s->now_ms + (uint64_t)seconds * 1000;
}

static void close_one(struct revival_of *r)
{
    struct shard *const s = shard_of(r);
    struct reviving *const v = *(struct reviving **)fifo_first(&r->order);
    struct session *const session = v->session;
    revive_name_groups(session, v->next_number);
    fifo_pop(&r->order);
    table_remove(&r->sessions, &v->by_serial);
    const bool is_due = v->connected ? session->will != NULL && session->will->delay_s == 0
                                     : kept_clock_ms(s, v->will_due_ms) <= s->now_ms;
    if (is_due && !s->ending) { /* else it is for the next leader, as a part of the session */
        session_will_publish(session); /* its client may be back before any timer */
    }
    if (!v->connected) {
        session_waits(session, kept_clock_ms(s, v->ends_ms), kept_clock_ms(s, v->will_due_ms));
    } else {
        const uint64_t will_due_ms =
            session->will == NULL ? NEVER : s->now_ms + (uint64_t)session->will->delay_s * 1000;
        session_waits(session, after(s, session->expiry_s), will_due_ms);
        kept_closed(session);
    }
    free(v);
    if (session->kept->is_over) {
        session_end(session);
    }
}

/* ---- the stages */

static void end_stage(struct revival_of *r)
{
    switch (r->stage) {
    case STAGE_SESSIONS:
        begin_stage(r, STAGE_DELIVERIES);
        break;
    case STAGE_DELIVERIES:
        end_deliveries(r);
        begin_stage(r, STAGE_ORIGINS);
        break;
    case STAGE_ORIGINS:
        begin_stage(r, STAGE_FILTERS);
        break;
    case STAGE_FILTERS:
        begin_stage(r, STAGE_WILLS);
        break;
    default:
        begin_stage(r, STAGE_TOLD);
        break;
    }
}

/* Subscriptions on their way. */
static bool is_full(const struct revival_of *r)
{
    return r->stage == STAGE_FILTERS && r->job.pending > FILTERS_AT_ONCE;
}

/* Behind it the next part begins. */
static void note_last(struct revival_of *r, struct bytes key)
{
    memcpy(r->last.at, key.at, key.len);
    r->last.len = key.len;
}

/* Its bodies are not needed, if the last session's deliveries stay where they are. */
static void want_more(struct revival_of *r)
{
    if (r->stage == STAGE_DELIVERIES) {
        const struct reviving *const v = find(r, record_key_number(record_key_bytes(&r->last), 1));
        r->follow = v == NULL || v->all || v->session->kept->backlog == NULL;
    }
    want(r);
}

static void take_up(struct revival_of *r, unsigned *steps)
{
    struct bytes key, value;
    for (; *steps > 0 && !is_full(r); (*steps)--) {
        if (!checkpoint_pairs_next(r->pairs, &r->at, &key, &value)) {
            end_part(r);
            if (r->more) {
                want_more(r);
            } else {
                end_stage(r);
            }
            return;
        }
        switch (key.len <= RECORD_KEY_MAX ? take_one(r, key, value) : TAKEN_BADLY) {
        case TAKEN:
            note_last(r, key);
            break;
        case TAKEN_NOT:
            end_part(r);
            r->follow = true;
            want(r);
            return;
        case TAKEN_BADLY:
            if (r->problem == NULL) {
                (void)unknown(r);
            }
            return;
        }
    }
}

static bool is_waiting(const struct revival_of *r)
{
    return r->stage == STAGE_FLUSH || r->reading != NULL || is_full(r) ||
           (r->stage == STAGE_TOLD && r->job.pending > 1);
}

static void work(struct revival_of *r)
{
    unsigned steps = STEPS_PER_TURN;
    while (steps > 0 && r->problem == NULL && !is_waiting(r) && r->stage != STAGE_OVER) {
        if (r->job.failed) {
            (void)out_of_memory(r);
        } else if (letters[r->stage] != 0) {
            take_up(r, &steps);
        } else if (r->stage == STAGE_TOLD) {
            r->stage = STAGE_CLOSED;
        } else if (r->order.count > 0) {
            close_one(r);
            steps -= steps > CLOSING_STEPS ? CLOSING_STEPS : steps;
        } else {
            r->stage = STAGE_OVER;
        }
    }
}

/* ---- beginning and end */

static void free_revival(struct revival_of *r)
{
    for (struct reviving *const *v; (v = fifo_first(&r->order)) != NULL; fifo_pop(&r->order)) {
        free(*v);
    }
    fifo_fini(&r->order);
    table_fini(&r->sessions);
    free(r->pairs);
    free(r);
}

static void on_subscribed(struct shard *s, struct subscribe_job *job)
{
    (void)s;
    (void)job;
}

void revival_of_begin(struct partition *p)
{
    struct revival_of *const r = calloc(1, sizeof *r);
    if (r == NULL || table_init(&r->sessions) != 0) {
        store_out_of_memory();
    }
    kept_link_init(&r->link);
    r->partition = p;
    r->order.item = sizeof(struct reviving *);
    r->job = (struct subscribe_job){.done = on_subscribed, .pending = 1};
    r->begun_us = p->shard->node->clock_us();
    p->revival = r;
    partition_flush(p);
}

void revival_of_flushed(struct partition *p)
{
    if (p->revival->stage == STAGE_FLUSH) {
        begin_stage(p->revival, STAGE_SESSIONS);
    }
}

/* What it has made goes with the partition's sessions. */
void revival_of_abandon(struct partition *p)
{
    struct revival_of *const r = p->revival;
    struct shard_partitions *const all = mine(p->shard);
    p->revival = NULL;
    all->reviving &= ~(UINT64_C(1) << p->number);
    if (r->reading != NULL) {
        r->reading->revival = NULL;
    }
    kept_link_append(&all->leaving, &r->link);
}

static void settle_leaving(struct shard_partitions *all)
{
    for (struct kept_link *l = all->leaving.next; l != &all->leaving;) {
        struct revival_of *const r = table_object(l, struct revival_of, link);
        l = l->next;
        if (r->job.pending == 1) {
            kept_link_remove(&r->link);
            free_revival(r);
        }
    }
}

static void finish(struct revival_of *r)
{
    struct partition *const p = r->partition;
    struct shard *const s = p->shard;
    const uint64_t took_us = s->node->clock_us() - r->begun_us;
    histogram_add(&s->histograms, HISTOGRAM_partition_revival, took_us, 1);
    shard_count(s, METRIC_partitions_revived);
    log_event(LOG_INFO, "partition_leading", LOG_NUMBER("partition", p->number),
              LOG_NUMBER("term", p->term), LOG_NUMBER("queued", r->deliveries),
              LOG_NUMBER("wills", r->wills), LOG_NUMBER("took_ms", took_us / 1000));
    p->revival = NULL;
    free_revival(r);
    partition_lead(p);
}

void revivals_turn(struct shard *s)
{
    struct shard_partitions *const all = mine(s);
    if (!kept_link_is_alone(&all->reads)) {
        settle_reads(all);
    }
    if (!kept_link_is_alone(&all->leaving)) {
        settle_leaving(all);
    }
    for (uint64_t set = all->reviving; set != 0; set &= set - 1) {
        struct partition *const p = &s->node->partitions->of[__builtin_ctzll(set)];
        struct revival_of *const r = p->revival;
        work(r);
        if (r->problem != NULL) {
            partition_give_up(p, r->problem);
        } else if (r->stage == STAGE_OVER) {
            finish(r);
        }
    }
}

bool revivals_are_reading(const struct shard_partitions *all)
{
    for (const struct kept_link *l = all->reads.next; l != &all->reads; l = l->next) {
        if (!atomic_load_explicit(&table_object(l, struct revival_read, link)->is_done,
                                  memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

uint64_t revivals_next_ms(const struct shard *s)
{
    const struct shard_partitions *const all = mine(s);
    for (const struct kept_link *l = all->reads.next; l != &all->reads; l = l->next) {
        if (atomic_load_explicit(&table_object(l, struct revival_read, link)->is_done,
                                 memory_order_acquire)) {
            return 0;
        }
    }
    for (const struct kept_link *l = all->leaving.next; l != &all->leaving; l = l->next) {
        if (table_object(l, struct revival_of, link)->job.pending == 1) {
            return 0;
        }
    }
    for (uint64_t set = all->reviving; set != 0; set &= set - 1) {
        if (!is_waiting(s->node->partitions->of[__builtin_ctzll(set)].revival)) {
            return 0;
        }
    }
    return NEVER;
}

void revivals_fini(struct shard_partitions *all)
{
    for (struct kept_link *l = all->reads.next; l != &all->reads;) {
        struct revival_read *const reading = table_object(l, struct revival_read, link);
        l = l->next;
        free(reading->read.pairs);
        free(reading);
    }
    for (struct kept_link *l = all->leaving.next; l != &all->leaving;) {
        struct revival_of *const r = table_object(l, struct revival_of, link);
        l = l->next;
        free_revival(r);
    }
}
