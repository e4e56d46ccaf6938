/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/revive.h"

#include <stdlib.h>
#include <xxhash.h>

#include "broker/config/config.h"
#include "broker/groups/group_records.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/replicated/graves.h"
#include "broker/route/index.h"
#include "broker/route/local.h"
#include "broker/route/publish.h"
#include "broker/route/retained.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/difference.h"
#include "broker/store/revival.h"
#include "broker/store/revive_session.h"
#include "broker/store/store.h"
#include "broker/store/unfinished.h"

#define NEVER UINT64_MAX

static void on_subscribed(struct shard *s, struct subscribe_job *job)
{
    (void)s;
    (void)job;
}

struct revival *revive_begin(struct node *node)
{
    struct revival *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->node = node;
    node->group_records = group_records_create();
    if (node->group_records == NULL) {
        free(r);
        return NULL;
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (!local_begin_keeping(node->shards[i])) {
            free(r);
            return NULL;
        }
    }
    r->job = (struct subscribe_job){.done = on_subscribed, .pending = 1};
    if (table_init(&r->sessions) != 0 || !unfinished_init(&r->unfinished)) {
        revive_free(r);
        return NULL;
    }
    return r;
}

/* ---- entries */

static bool opened(struct revival *r, const struct entry *e)
{
    struct revived_session *v = revival_find(r, e->serial);
    if (v == NULL) {
        v = revival_open(r, e->serial, e->opened.client_id);
    }
    if (v == NULL || !revival_set_will(r, v->session, &e->opened.will)) {
        return revival_out_of_memory(r);
    }
    v->session->expiry_s = e->opened.expiry_s;
    v->connected = true;
    difference_session(v->session->shard, v->session->kept);
    return true;
}

static void closed(struct revived_session *v, const struct entry *e)
{
    v->connected = false;
    v->session->expiry_s = e->closed.expiry_s;
    v->ends_ms = e->closed.ends_ms;
    v->sent_end = e->closed.sent_end;
    v->will_due_ms = e->closed.will_due_ms;
    if (v->will_due_ms == NEVER) {
        session_will_forget(v->session);
    }
}

static bool queued(struct revival *r, const struct entry *e, bool is_applied)
{
    struct message *const m = revival_message(r, e->queued.message);
    if (m == NULL) {
        return revival_out_of_memory(r);
    }
    bool is_well = true;
    if (e->queued.origin != 0) {
        unfinished_queued(&r->unfinished, e, m);
        revival_count_serial(r, e->queued.exchange);
    }
    struct bytes rest = e->queued.recipients;
    uint64_t serial;
    struct stored_delivery d;
    while (is_well && !is_applied && entry_next_recipient(&rest, &serial, &d)) {
        struct revived_session *const v = revival_find(r, serial);
        if (v == NULL || d.number < v->session->out.next_number) {
            continue; /* it has ended; or the checkpoint knows of it */
        }
        is_well = revival_queue(v, message_take(m, 1), &d) || revival_out_of_memory(r);
        difference_session(v->session->shard, v->session->kept);
        r->result.deliveries++;
    }
    message_put(m);
    return is_well;
}

static bool done(struct revival *r, const struct entry *e)
{
    struct bytes rest = e->done;
    uint64_t serial, number;
    while (entry_next_done(&rest, &serial, &number)) {
        struct revived_session *const v = revival_find(r, serial);
        if (v == NULL) {
            continue;
        }
        revival_enter(r, v->session->shard->id);
        if (backlog_done(v->session, number)) { /* as a rule, dropped from there */
            difference_delivery_on_disk(shard_self, v->session->kept, number);
            r->result.deliveries--;
            continue;
        }
        if (!revival_reach(r, v, number)) {
            return false;
        }
        struct delivery *const d = outqueue_by_number(&v->session->out, number);
        if (d != NULL) {
            struct shard *const s = revival_enter(r, v->session->shard->id);
            difference_delivery(s, v->session->kept, d, true);
            outqueue_done(&v->session->out, d);
            r->result.deliveries--;
        }
    }
    return true;
}

static bool released(struct revival *r, struct revived_session *v, uint64_t number)
{
    if (!revival_reach(r, v, number)) {
        return false;
    }
    struct delivery *const d = outqueue_by_number(&v->session->out, number);
    if (d != NULL && d->qos == 2) {
        struct shard *const s = revival_enter(r, v->session->shard->id);
        difference_delivery(s, v->session->kept, d, false);
        outqueue_release(&v->session->out, d);
    }
    return true;
}

static bool received(struct revival *r, struct revived_session *v, const struct entry *e)
{
    struct kept *const kept = v->session->kept;
    if (e->received.exchange > kept->exchange) {
        kept->exchange = e->received.exchange;
        revival_count_serial(r, e->received.exchange);
    }
    return session_receive(v->session, e->received.packet_id) != PACKET_IDS_NO_MEMORY ||
           revival_out_of_memory(r);
}

static bool retain(struct revival *r, struct message *m)
{
    bool no_memory;
    revival_set_retained(r, m, &no_memory);
    difference_topic(shard_self, message_topic(m), m->topic_hash);
    return !no_memory || revival_out_of_memory(r);
}

static bool retained(struct revival *r, const struct entry *e)
{
    struct message *const m = revival_message(r, e->message);
    const bool is_well = m != NULL ? retain(r, m) : revival_out_of_memory(r);
    message_put(m);
    return is_well;
}

static void unretained(struct revival *r, struct bytes topic)
{
    struct shard *const s = revival_enter(r, index_owner(r->node->index, topic));
    if (retained_delete(s->retained, topic)) {
        atomic_fetch_sub_explicit(&r->node->retained, 1, memory_order_relaxed);
        r->result.retained--;
    }
    difference_topic(s, topic, XXH3_64bits(topic.at, topic.len));
}

static bool buried(struct revival *r, const struct entry *e)
{
    const struct bytes topic = e->buried.topic;
    struct shard *const s = revival_enter(r, 0);
    difference_grave(s, topic, XXH3_64bits(topic.at, topic.len));
    return graves_bury(&r->node->graves, topic, &e->buried.version) || revival_out_of_memory(r);
}

static bool subscribed(struct revival *r, struct session *session, const struct entry *e)
{
    const struct subscribe_options options = revive_options(&e->subscribed.options);
    return revival_subscribe(r, session, e->subscribed.filter, &options) ||
           revival_out_of_memory(r);
}

/* Of a session that is there. */
static bool of_session(struct revival *r, struct revived_session *v, const struct entry *e)
{
    struct session *const session = v->session;
    struct shard *const s = revival_enter(r, session->shard->id);
    bool is_well = true;
    difference_session(s, session->kept);
    switch (e->type) {
    case ENTRY_CLOSED:
        closed(v, e);
        break;
    case ENTRY_ENDED:
        revival_drop(r, v);
        break;
    case ENTRY_SUBSCRIBED:
        session->kept->filters_changed = true;
        is_well = subscribed(r, session, e);
        break;
    case ENTRY_UNSUBSCRIBED: {
        revival_settle(r);
        revival_enter(r, s->id);
        struct local_filter *const f = local_find(session, e->subscribed.filter);
        session->kept->filters_changed = true;
        if (f != NULL) {
            local_unsubscribe(session, f);
        }
        break;
    }
    case ENTRY_RELEASED:
        is_well = released(r, v, e->released);
        break;
    case ENTRY_RECEIVED:
        is_well = received(r, v, e);
        break;
    case ENTRY_FREED:
        (void)session_release(session, e->received.packet_id);
        break;
    case ENTRY_WILL_OVER:
    case ENTRY_WILL_DUE:
        session_will_forget(session);
        break;
    default:
        break;
    }
    return is_well;
}

/* Noted whether the checkpoint has the entry or not: it does not have what became of the will. */
static bool will(struct revival *r, const struct entry *e)
{
    struct message *const m =
        e->type == ENTRY_WILL_DUE ? revival_message(r, e->will.message) : NULL;
    if (e->type == ENTRY_WILL_DUE && m == NULL) {
        return revival_out_of_memory(r);
    }
    unfinished_will(&r->unfinished, e, m);
    revival_count_serial(r, e->will.number);
    message_put(m);
    return true;
}

static bool is_of_will(const struct entry *e)
{
    return e->type == ENTRY_WILL_DUE || e->type == ENTRY_WILL_GONE ||
           e->type == ENTRY_WILL_RETAINED;
}

bool revive_entry(struct revival *r, unsigned shard, const struct record *record)
{
    struct entry e;
    if (!entry_read(record->body, &e) || e.type == ENTRY_DISPATCHED || e.type == ENTRY_BEGUN ||
        e.type == ENTRY_SEALED) { /* these are of groups */
        return revival_unknown(r);
    }
    const bool is_applied =
        record->index <= r->result.applied[revive_place(shard, record->partition)];
    if (e.type == ENTRY_QUEUED) { /* may tell of an open exchange, even so */
        return queued(r, &e, is_applied);
    }
    if (is_of_will(&e) && !will(r, &e)) {
        return false;
    }
    if (is_applied) {
        return true;
    }
    r->result.entries++;
    switch (e.type) {
    case ENTRY_OPENED:
        return opened(r, &e);
    case ENTRY_DONE:
        return done(r, &e);
    case ENTRY_RETAINED:
        return retained(r, &e);
    case ENTRY_UNRETAINED:
        unretained(r, e.topic);
        return true;
    case ENTRY_BURIED:
        return buried(r, &e);
    default: {
        struct revived_session *const v = revival_find(r, e.serial);
        return v == NULL || of_session(r, v, &e);
    }
    }
}

bool revive_group(struct revival *r, unsigned shard, const struct record *record)
{
    bool is_unknown;
    if (record->body.len > r->result.message_bytes_max) {
        r->result.message_bytes_max = (uint32_t)record->body.len; /* it may be written again */
    }
    if (group_records_add(r->node->group_records, shard, record, &is_unknown)) {
        return true;
    }
    return is_unknown ? revival_unknown(r) : revival_out_of_memory(r);
}

const char *revive_problem(const struct revival *r)
{
    return r->problem;
}

const struct revived *revive_result(const struct revival *r)
{
    return &r->result;
}

/* ---- the end */

/* All of them are in memory: what is done has a place there, and is none of them. */
static void reach_perhaps_sent(struct revival *r, struct revived_session *v)
{
    struct session *const session = v->session;
    const struct kept *const kept = session->kept;
    uint32_t left = revive_perhaps_sent_max(session);
    uint64_t at = 0;
    for (;;) {
        while (left > 0 && outqueue_walk(&session->out, &at) != NULL) {
            left--;
        }
        if (left == 0 || r->problem != NULL || kept->backlog == NULL) {
            return;
        }
        (void)revival_reach(r, v, kept->backlog->count > 0 ? kept->backlog->first : NEVER);
    }
}

static void restore_queue(struct revival *r, struct revived_session *v)
{
    struct session *const session = v->session;
    revival_enter(r, session->shard->id);
    if (v->connected) {
        reach_perhaps_sent(r, v);
    } else if (v->sent_end > 0) {
        (void)revival_reach(r, v, v->sent_end - 1);
    }
    revive_queue_restored(session, v->connected, v->sent_end);
    revive_name_groups(session, NEVER);
    (void)backlog_spill(session, UINT32_MAX); /* what was read beside what may have been sent */
}

static void begin_to_wait(struct revival *r, struct revived_session *v)
{
    struct session *const session = v->session;
    struct shard *const s = revival_enter(r, session->shard->id);
    struct kept *const kept = session->kept;
    uint64_t ends_ms = kept_clock_ms(s, v->ends_ms);
    uint64_t will_due_ms = kept_clock_ms(s, v->will_due_ms);
    if (v->connected) { /* until the process ended, which was its connection's end */
        ends_ms = session->expiry_s == MQTT_NO_EXPIRY
                      ? NEVER
                      : s->now_ms + (uint64_t)session->expiry_s * 1000;
        will_due_ms =
            session->will == NULL ? NEVER : s->now_ms + (uint64_t)session->will->delay_s * 1000;
        difference_session(s, kept);
    }
    session_revived(session, ends_ms, will_due_ms);
    if (v->connected) {
        kept_closed(session);
    }
}

/* To all that match and lack it. */
static void route_again(struct revival *r, struct shard *s, const struct unfinished *x,
                        uint64_t publisher_hash)
{
    const struct route_spares spares = {.sessions = x->sessions.at,
                                        .sessions_count = x->sessions.count,
                                        .groups = x->groups.at,
                                        .groups_count = x->groups.count};
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        r->node->shards[i]->route_spares = &spares;
    }
    revival_enter(r, s->id);
    x->message->publisher = x->origin;
    publish_route(s, x->message, publisher_hash);
    revival_settle(r);
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        r->node->shards[i]->route_spares = NULL;
    }
    revival_enter(r, s->id);
}

/* What was queued for some sessions, and not for all that match, before the publisher could be told
 * that it was received: for all of them now, and it was. */
static void close_exchange(struct revival *r, struct unfinished *x)
{
    struct revived_session *const v = revival_find(r, x->origin);
    struct kept *const kept = v == NULL ? NULL : v->session->kept;
    if (kept == NULL || x->exchange <= kept->exchange) {
        return;
    }
    route_again(r, v->session->shard, x, v->session->client_hash);
    if (session_receive(v->session, x->packet_id) != PACKET_IDS_NO_MEMORY) {
        kept_received(v->session, x->packet_id, x->exchange);
    }
}

/* What was due, and perhaps not published to all, or to nobody; its session may have ended. No
 * entry says that it is over: the checkpoint does that is made of all this (capture_first()). */
static void close_will(struct revival *r, struct unfinished *x)
{
    const struct revived_session *const v = revival_find(r, x->origin);
    if (x->exchange < r->least) {
        return;
    }
    if (x->message->retain && !x->is_retained) {
        if (x->message->payload_len == 0) {
            unretained(r, message_topic(x->message));
        } else if (!retain(r, x->message)) {
            store_out_of_memory();
        }
    }
    route_again(r, v == NULL ? r->node->shards[0] : v->session->shard, x,
                v == NULL ? 0 : v->session->client_hash);
}

static void close_one(void *context, struct unfinished *x)
{
    if (unfinished_is_will(x)) {
        close_will(context, x);
    } else {
        close_exchange(context, x);
    }
}

void revive_end(struct revival *r)
{
    revival_settle(r);
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        struct shard *const s = r->node->shards[i];
        const uint64_t next = r->serial_max / STORE_JOURNALS_MAX + 1;
        s->next_serial = s->next_serial > next ? s->next_serial : next;
    }
    revival_each(r, restore_queue, false); /* before more is queued */
    unfinished_each(&r->unfinished, close_one, r);
    revival_each(r, begin_to_wait, true);
    shard_self = NULL;
}

void revive_free(struct revival *r)
{
    if (r == NULL) {
        return;
    }
    if (r->subscribing > 0) { /* it was given up: the job is on its way between shards */
        revival_settle(r);
    }
    size_t cursor = 0;
    struct table_link *l;
    while ((l = table_any(&r->sessions, &cursor)) != NULL) {
        table_remove(&r->sessions, l);
        free(table_object(l, struct revived_session, by_serial));
    }
    cursor = 0;
    table_fini(&r->sessions);
    unfinished_fini(&r->unfinished);
    free(r);
}
