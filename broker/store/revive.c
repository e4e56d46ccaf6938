/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/revive.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "broker/config/config.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/route/local.h"
#include "broker/route/publish.h"
#include "broker/route/retained.h"
#include "broker/session/backlog.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/difference.h"
#include "broker/store/entry.h"
#include "broker/store/record_key.h"
#include "broker/store/session_record.h"
#include "broker/store/store.h"
#include "broker/store/unfinished.h"

#define NEVER UINT64_MAX

/* Subscriptions that may be on their way between shards. */
#define SUBSCRIPTIONS_AT_ONCE 512u

struct revived_session {
    struct table_link by_serial;
    struct session *session;
    uint64_t ends_ms, will_due_ms; /* by the clock on the wall; while not connected */
    uint64_t sent_end;
    uint64_t reach; /* deliveries with lower numbers have to be in memory */
    bool connected;
};

struct revival {
    struct node *node;
    struct table sessions;
    struct table unfinished;  /* unfinished.h's */
    struct subscribe_job job; /* of all subscriptions; it never ends */
    unsigned subscribing;
    uint64_t serial_max;
    uint64_t least; /* wills of lower numbers are over */
    const char *problem;
    bool sizes_unknown; /* there are deliveries of a version that did not tell their size */
    struct revived result;
};

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

static bool out_of_memory(struct revival *r)
{
    r->problem = "there is not enough memory for what is on disk";
    return false;
}

static bool unknown(struct revival *r)
{
    r->problem = "it has something that this version does not understand";
    return false;
}

static struct shard *enter(struct revival *r, unsigned shard)
{
    shard_self = r->node->shards[shard];
    shard_enter(shard_self);
    return shard_self;
}

static void settle(struct revival *r)
{
    r->subscribing = 0;
    node_settle(r->node);
    if (r->job.failed) {
        (void)out_of_memory(r);
    }
}

/* ---- what is known by a number */

static uint64_t mixed(uint64_t number)
{
    return XXH3_64bits(&number, sizeof number);
}

static struct revived_session *find(struct revival *r, uint64_t serial)
{
    struct table_link *l = table_find(&r->sessions, mixed(serial));
    for (; l != NULL; l = table_find_next(l)) {
        struct revived_session *const v = table_object(l, struct revived_session, by_serial);
        if (v->session->serial == serial) {
            return v;
        }
    }
    return NULL;
}

static void count_serial(struct revival *r, uint64_t serial)
{
    if (serial > r->serial_max) {
        r->serial_max = serial;
    }
}

static void end(struct revival *r, struct revived_session *v)
{
    struct session *const session = v->session;
    enter(r, session->shard->id);
    settle(r); /* no subscription of it is on its way */
    enter(r, session->shard->id);
    session_will_forget(session);
    uint64_t at = 0;
    while (outqueue_walk(&session->out, &at) != NULL) {
        r->result.deliveries--;
    }
    r->result.deliveries -= backlog_waiting(session) - outqueue_waiting(&session->out);
    session_end(session);
    table_remove(&r->sessions, &v->by_serial);
    free(v);
    r->result.sessions--;
}

/* A session that is kept, and that nobody is connected to yet. NULL: no memory. */
static struct revived_session *open_session(struct revival *r, uint64_t serial,
                                            struct bytes client_id)
{
    const uint64_t hash = XXH3_64bits(client_id.at, client_id.len);
    struct shard *const s = enter(r, node_shard_of(r->node, hash));
    struct session *const other = session_find(s, client_id);
    if (other != NULL) { /* whose end was not written any more */
        end(r, find(r, other->serial));
        enter(r, s->id);
    }
    struct revived_session *v = calloc(1, sizeof *v);
    struct session *const session = v == NULL ? NULL : session_open(s, client_id, hash);
    if (session == NULL) {
        free(v);
        return NULL;
    }
    session->serial = serial;
    session->expiry_s = 1; /* until it is told */
    count_serial(r, serial);
    if (!kept_begin(session)) {
        session_end(session);
        free(v);
        return NULL;
    }
    v->session = session;
    v->ends_ms = v->will_due_ms = NEVER;
    table_insert(&r->sessions, &v->by_serial, mixed(serial));
    r->result.sessions++;
    return v;
}

static struct message *make(struct revival *r, struct bytes stored)
{
    if (stored.len > r->result.message_bytes_max) {
        r->result.message_bytes_max = (uint32_t)stored.len;
    }
    return kept_message_make(r->node->shards[0], stored);
}

static bool set_will(struct revival *r, struct session *session, const struct stored_will *stored)
{
    session_will_forget(session);
    if (stored->message.len == 0) {
        return true;
    }
    struct will *will = calloc(1, sizeof *will);
    if (will == NULL) {
        return false;
    }
    *will = (struct will){.message = make(r, stored->message),
                          .expiry_s = stored->expiry_s,
                          .has_expiry = stored->has_expiry,
                          .delay_s = stored->delay_s,
                          .due_ms = NEVER};
    if (will->message == NULL) {
        free(will);
        return false;
    }
    will->message->publisher = session->serial;
    session->will = will;
    return true;
}

static bool subscribe(struct revival *r, struct session *session, struct bytes filter,
                      const struct stored_options *stored)
{
    const struct subscribe_options options = {.identifier = stored->identifier,
                                              .qos = stored->qos,
                                              .no_local = stored->no_local,
                                              .retain_as_published = stored->retain_as_published};
    bool existed;
    enter(r, session->shard->id);
    if (local_subscribe(session, filter, &options, &r->job, &existed) == LOCAL_NO_MEMORY) {
        return false;
    }
    if (++r->subscribing == SUBSCRIPTIONS_AT_ONCE) {
        settle(r);
    }
    return true;
}

/* Takes the reference. */
static bool queue(struct revived_session *v, struct message *message,
                  const struct stored_delivery *stored)
{
    struct delivery d;
    if (!kept_delivery_make(message, stored, &d)) {
        return false;
    }
    if (!backlog_restore(v->session, &d)) {
        message_put(message);
        free(delivery_more(&d));
        return false;
    }
    return true;
}

/* All up to that number are in memory, if they are there. */
static bool reach(struct revival *r, struct revived_session *v, uint64_t number)
{
    enter(r, v->session->shard->id);
    const enum checkpoint_err err = backlog_reach(v->session, number);
    if (err != CHECKPOINT_OK) {
        r->problem = checkpoint_err_text(err);
    }
    return err == CHECKPOINT_OK;
}

typedef void each_session_fn(struct revival *r, struct revived_session *v);

static void each_session(struct revival *r, each_session_fn *fn, bool is_last)
{
    const size_t count = r->sessions.count;
    struct revived_session **const all = calloc(count + 1, sizeof(struct revived_session *));
    if (all == NULL) {
        store_out_of_memory();
    }
    size_t cursor = 0;
    struct table_link *l;
    for (size_t i = 0; i < count; i++) {
        l = table_any(&r->sessions, &cursor);
        all[i] = table_object(l, struct revived_session, by_serial);
        table_remove(&r->sessions, l);
    }
    for (size_t i = 0; i < count; i++) {
        fn(r, all[i]);
        if (is_last) {
            free(all[i]);
        } else {
            table_insert(&r->sessions, &all[i]->by_serial, mixed(all[i]->session->serial));
        }
    }
    free(all);
}

/* ---- the checkpoint */

static bool on_session(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct session_record record;
    if (key.len != 9 || !session_record_read(value, &record)) {
        return unknown(r);
    }
    struct revived_session *const v = open_session(r, record_key_number(key, 1), record.client_id);
    if (v == NULL || !set_will(r, v->session, &record.will)) {
        return out_of_memory(r);
    }
    struct session *const session = v->session;
    session->expiry_s = record.expiry_s;
    session->out.next_number = record.next_number;
    session->kept->stored_end = record.next_number;
    session->kept->exchange = record.exchange;
    count_serial(r, record.exchange);
    v->connected = record.connected;
    v->ends_ms = record.ends_ms;
    v->will_due_ms = record.will_due_ms;
    v->sent_end = v->reach = record.sent_end;
    struct field_reader received = {.rest = record.received};
    while (received.rest.len > 0) {
        if (session_receive(session, (uint16_t)get_number(&received)) == PACKET_IDS_NO_MEMORY) {
            return out_of_memory(r);
        }
    }
    return true;
}

static bool on_filter(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct field_reader f = {.rest = value};
    struct stored_options options;
    const struct bytes filter = get_run(&f);
    stored_options_read(&f, &options);
    if (key.len != 25 || !fields_are_over(&f) || filter.len == 0 || filter.len > UINT16_MAX) {
        return unknown(r);
    }
    struct revived_session *const v = find(r, record_key_number(key, 1));
    if (v != NULL && !subscribe(r, v->session, filter, &options)) {
        return out_of_memory(r);
    }
    return true;
}

/* It stays on disk until somebody wants it. */
static bool on_delivery(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct delivery_record record;
    if (key.len != 17 || !delivery_record_read(value, &record) ||
        record_key_number(key, 9) != record.delivery.number) {
        return unknown(r);
    }
    const uint64_t number = record.delivery.number;
    struct revived_session *const v = find(r, record_key_number(key, 1));
    count_serial(r, record.body);
    if (v == NULL) {
        difference_orphan(r->node->shards[0], record_key_number(key, 1), number);
        return true;
    }
    if (record.bytes > r->result.message_bytes_max) {
        r->result.message_bytes_max = (uint32_t)record.bytes;
    }
    r->sizes_unknown = r->sizes_unknown || (record.body != 0 && record.bytes == 0);
    struct outqueue *const q = &v->session->out;
    if (number >= q->next_number) {
        /* The session ended while its queue was being taken, before it was put itself: the journal
         * says so, and what is here goes with it then. */
        q->next_number = v->session->kept->stored_end = number + 1;
    }
    if (!backlog_stored(v->session, number, record.bytes)) {
        return out_of_memory(r);
    }
    if (record.body == 0 && v->reach <= number) {
        v->reach = number + 1; /* it was sent, and so were those before it */
    }
    if (record.delivery.group != 0) {
        v->reach = NEVER; /* those of groups, and what comes after them, are in memory */
    }
    r->result.deliveries++;
    return true;
}

/* How large the largest may be, where deliveries do not tell. */
static bool on_body(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    if (key.len != 9) {
        return unknown(r);
    }
    if (value.len > r->result.message_bytes_max) {
        r->result.message_bytes_max = (uint32_t)value.len;
    }
    return true;
}

static void set_retained(struct revival *r, struct message *m, bool *no_memory)
{
    struct shard *const s = enter(r, index_owner(r->node->index, message_topic(m)));
    bool was_new;
    *no_memory = retained_set(s->retained, m, &was_new) != RETAINED_OK;
    if (!*no_memory && was_new) {
        atomic_fetch_add_explicit(&r->node->retained, 1, memory_order_relaxed);
        r->result.retained++;
    }
}

static bool on_retained(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct stored_message stored;
    if (key.len != 17 || !stored_message_read(value, &stored)) {
        return unknown(r);
    }
    struct message *const m = make(r, value);
    bool no_memory = m == NULL;
    if (!no_memory) {
        set_retained(r, m, &no_memory);
        message_put(m);
    }
    return !no_memory || out_of_memory(r);
}

static bool on_applied(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct field_reader f = {.rest = value};
    const uint64_t index = get_number(&f);
    const uint64_t place = key.len == 9 ? record_key_number(key, 1) : NEVER;
    if (!fields_are_over(&f) || place >= sizeof r->result.applied / sizeof r->result.applied[0]) {
        return unknown(r);
    }
    r->result.applied[place] = index;
    return true;
}

static bool on_least(void *context, struct bytes key, struct bytes value)
{
    struct revival *const r = context;
    struct field_reader f = {.rest = value};
    r->least = get_number(&f);
    count_serial(r, r->least);
    return (key.len == 9 && fields_are_over(&f)) || unknown(r);
}

typedef bool each_fn(void *context, struct bytes key, struct bytes value);

static enum checkpoint_err each(struct revival *r, struct checkpoint *cp, char letter, each_fn *fn)
{
    const enum checkpoint_err err = checkpoint_each(cp, bytes_of(&letter, 1), fn, r);
    return err == CHECKPOINT_OK && r->problem != NULL ? CHECKPOINT_CORRUPT : err;
}

static void reach_sent(struct revival *r, struct revived_session *v)
{
    if (r->problem == NULL && v->reach > 0) {
        (void)reach(r, v, v->reach == NEVER ? NEVER : v->reach - 1);
    }
}

enum checkpoint_err revive_checkpoint(struct revival *r, struct checkpoint *cp)
{
    static const struct {
        char letter;
        each_fn *fn;
    } parts[] = {{'n', on_least},  {'p', on_applied},  {'s', on_session},
                 {'f', on_filter}, {'q', on_delivery}, {'r', on_retained}};
    enum checkpoint_err err = CHECKPOINT_OK;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && err == CHECKPOINT_OK; i++) {
        err = each(r, cp, parts[i].letter, parts[i].fn);
        settle(r);
    }
    if (err == CHECKPOINT_OK && r->sizes_unknown) {
        err = each(r, cp, 'b', on_body);
    }
    if (err == CHECKPOINT_OK) {
        each_session(r, reach_sent, false);
    }
    return err == CHECKPOINT_OK && r->problem != NULL ? CHECKPOINT_CORRUPT : err;
}

/* ---- entries */

static bool opened(struct revival *r, const struct entry *e)
{
    struct revived_session *v = find(r, e->serial);
    if (v == NULL) {
        v = open_session(r, e->serial, e->opened.client_id);
    }
    if (v == NULL || !set_will(r, v->session, &e->opened.will)) {
        return out_of_memory(r);
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
    struct message *const m = make(r, e->queued.message);
    if (m == NULL) {
        return out_of_memory(r);
    }
    bool is_well = true;
    if (e->queued.origin != 0) {
        unfinished_queued(&r->unfinished, e, m);
        count_serial(r, e->queued.exchange);
    }
    struct bytes rest = e->queued.recipients;
    uint64_t serial;
    struct stored_delivery d;
    while (is_well && !is_applied && entry_next_recipient(&rest, &serial, &d)) {
        struct revived_session *const v = find(r, serial);
        if (v == NULL || d.number < v->session->out.next_number) {
            continue; /* it has ended; or the checkpoint knows of it */
        }
        is_well = queue(v, message_take(m, 1), &d) || out_of_memory(r);
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
        struct revived_session *const v = find(r, serial);
        if (v == NULL) {
            continue;
        }
        if (!reach(r, v, number)) {
            return false;
        }
        struct delivery *const d = outqueue_by_number(&v->session->out, number);
        if (d != NULL) {
            struct shard *const s = enter(r, v->session->shard->id);
            difference_delivery(s, v->session->kept, d, true);
            outqueue_done(&v->session->out, d);
            r->result.deliveries--;
        }
    }
    return true;
}

static bool released(struct revival *r, struct revived_session *v, uint64_t number)
{
    if (!reach(r, v, number)) {
        return false;
    }
    struct delivery *const d = outqueue_by_number(&v->session->out, number);
    if (d != NULL && d->qos == 2) {
        struct shard *const s = enter(r, v->session->shard->id);
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
        count_serial(r, e->received.exchange);
    }
    return session_receive(v->session, e->received.packet_id) != PACKET_IDS_NO_MEMORY ||
           out_of_memory(r);
}

static bool retain(struct revival *r, struct message *m)
{
    bool no_memory;
    set_retained(r, m, &no_memory);
    difference_topic(shard_self, message_topic(m), m->topic_hash);
    return !no_memory || out_of_memory(r);
}

static bool retained(struct revival *r, const struct entry *e)
{
    struct message *const m = make(r, e->message);
    const bool is_well = m != NULL ? retain(r, m) : out_of_memory(r);
    message_put(m);
    return is_well;
}

static void unretained(struct revival *r, struct bytes topic)
{
    struct shard *const s = enter(r, index_owner(r->node->index, topic));
    if (retained_delete(s->retained, topic)) {
        atomic_fetch_sub_explicit(&r->node->retained, 1, memory_order_relaxed);
        r->result.retained--;
    }
    difference_topic(s, topic, XXH3_64bits(topic.at, topic.len));
}

/* Of a session that is there. */
static bool of_session(struct revival *r, struct revived_session *v, const struct entry *e)
{
    struct session *const session = v->session;
    struct shard *const s = enter(r, session->shard->id);
    bool is_well = true;
    difference_session(s, session->kept);
    switch (e->type) {
    case ENTRY_CLOSED:
        closed(v, e);
        break;
    case ENTRY_ENDED:
        end(r, v);
        break;
    case ENTRY_SUBSCRIBED:
        session->kept->filters_changed = true;
        is_well =
            subscribe(r, session, e->subscribed.filter, &e->subscribed.options) || out_of_memory(r);
        break;
    case ENTRY_UNSUBSCRIBED: {
        settle(r);
        enter(r, s->id);
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
    struct message *const m = e->type == ENTRY_WILL_DUE ? make(r, e->will.message) : NULL;
    if (e->type == ENTRY_WILL_DUE && m == NULL) {
        return out_of_memory(r);
    }
    unfinished_will(&r->unfinished, e, m);
    count_serial(r, e->will.number);
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
    if (!entry_read(record->body, &e)) {
        return unknown(r);
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
    default: {
        struct revived_session *const v = find(r, e.serial);
        return v == NULL || of_session(r, v, &e);
    }
    }
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

/* Who was connected may have been sent as much as the window allows, beyond what is done and was
 * not written as such any more. */
static uint32_t perhaps_sent_max(const struct session *session)
{
    return session->shard->config->limits.inflight_max + KEPT_DONE_AHEAD_MAX;
}

static uint64_t perhaps_sent(struct session *session)
{
    uint64_t at = 0;
    uint32_t left = perhaps_sent_max(session);
    for (const struct delivery *d; (d = outqueue_walk(&session->out, &at)) != NULL; left--) {
        if (left == 0) {
            return d->number;
        }
    }
    return session->out.next_number;
}

/* All of them are in memory: what is done has a place there, and is none of them. */
static void reach_perhaps_sent(struct revival *r, struct revived_session *v)
{
    struct session *const session = v->session;
    const struct kept *const kept = session->kept;
    uint32_t left = perhaps_sent_max(session);
    uint64_t at = 0;
    for (;;) {
        while (left > 0 && outqueue_walk(&session->out, &at) != NULL) {
            left--;
        }
        if (left == 0 || r->problem != NULL || kept->backlog == NULL) {
            return;
        }
        (void)reach(r, v, kept->backlog->count > 0 ? kept->backlog->first : NEVER);
    }
}

static void name_groups(struct session *session, struct outqueue *q)
{
    uint64_t at = 0;
    for (struct delivery *d; (d = outqueue_walk(q, &at)) != NULL;) {
        if (d->of_group) { /* until now, the name of its group */
            d->group_id = local_group_id(session, d->group_id);
            d->of_group = d->group_id != 0;
        }
    }
}

static void restore_queue(struct revival *r, struct revived_session *v)
{
    struct session *const session = v->session;
    const struct kept *const kept = session->kept;
    enter(r, session->shard->id);
    if (v->connected) {
        reach_perhaps_sent(r, v);
    } else if (v->sent_end > 0) {
        (void)reach(r, v, v->sent_end - 1);
    }
    outqueue_restored(&session->out, v->connected ? perhaps_sent(session) : v->sent_end);
    name_groups(session, &session->out);
    if (kept->backlog != NULL && kept->backlog->after != NULL) {
        name_groups(session, kept->backlog->after);
    }
    (void)backlog_spill(session, UINT32_MAX); /* what was read beside what may have been sent */
}

static void begin_to_wait(struct revival *r, struct revived_session *v)
{
    struct session *const session = v->session;
    struct shard *const s = enter(r, session->shard->id);
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
    enter(r, s->id);
    x->message->publisher = x->origin;
    publish_route(s, x->message, publisher_hash);
    settle(r);
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        r->node->shards[i]->route_spares = NULL;
    }
    enter(r, s->id);
}

/* What was queued for some sessions, and not for all that match, before the publisher could be told
 * that it was received: for all of them now, and it was. */
static void close_exchange(struct revival *r, struct unfinished *x)
{
    struct revived_session *const v = find(r, x->origin);
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
    const struct revived_session *const v = find(r, x->origin);
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
    settle(r);
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        struct shard *const s = r->node->shards[i];
        const uint64_t next = r->serial_max / INDEX_SHARDS_MAX + 1;
        s->next_serial = s->next_serial > next ? s->next_serial : next;
    }
    each_session(r, restore_queue, false); /* before more is queued */
    unfinished_each(&r->unfinished, close_one, r);
    each_session(r, begin_to_wait, true);
    shard_self = NULL;
}

void revive_free(struct revival *r)
{
    if (r == NULL) {
        return;
    }
    if (r->subscribing > 0) { /* it was given up: the job is on its way between shards */
        settle(r);
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
