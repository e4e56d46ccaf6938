/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/revival.h"

#include <stdlib.h>
#include <xxhash.h>

#include "broker/client_hash.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/route/index.h"
#include "broker/route/retained.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/revive_session.h"
#include "broker/store/serial.h"
#include "broker/store/store.h"

#define NEVER UINT64_MAX

/* Subscriptions that may be on their way between shards. */
#define SUBSCRIPTIONS_AT_ONCE 512u

bool revival_out_of_memory(struct revival *r)
{
    r->problem = "there is not enough memory for what is on disk";
    return false;
}

bool revival_unknown(struct revival *r)
{
    r->problem = "it has something that this version does not understand";
    return false;
}

struct shard *revival_enter(struct revival *r, unsigned shard)
{
    shard_self = r->node->shards[shard];
    shard_enter(shard_self);
    return shard_self;
}

void revival_settle(struct revival *r)
{
    r->subscribing = 0;
    node_settle(r->node);
    if (r->job.failed) {
        (void)revival_out_of_memory(r);
    }
}

/* ---- what is known by a number */

static uint64_t hash_of(uint64_t number)
{
    return XXH3_64bits(&number, sizeof number);
}

struct revived_session *revival_find(struct revival *r, uint64_t serial)
{
    struct table_link *l = table_find(&r->sessions, hash_of(serial));
    for (; l != NULL; l = table_find_next(l)) {
        struct revived_session *const v = table_object(l, struct revived_session, by_serial);
        if (v->session->serial == serial) {
            return v;
        }
    }
    return NULL;
}

void revival_count_serial(struct revival *r, uint64_t serial)
{
    if (serial > r->serial_max && serial_is_local(serial)) { /* others are not of our counter */
        r->serial_max = serial;
    }
}

void revival_drop(struct revival *r, struct revived_session *v)
{
    struct session *const session = v->session;
    revival_enter(r, session->shard->id);
    revival_settle(r); /* no subscription of it is on its way */
    revival_enter(r, session->shard->id);
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
struct revived_session *revival_open(struct revival *r, uint64_t serial, struct bytes client_id)
{
    const uint64_t hash = client_hash_of(r->node, client_id);
    struct shard *const s = revival_enter(r, node_shard_of(r->node, hash));
    struct session *const other = session_find(s, client_id);
    if (other != NULL) { /* whose end was not written any more */
        revival_drop(r, revival_find(r, other->serial));
        revival_enter(r, s->id);
    }
    struct revived_session *v = calloc(1, sizeof *v);
    struct session *const session = v == NULL ? NULL : session_open(s, client_id, hash);
    if (session == NULL) {
        free(v);
        return NULL;
    }
    session->serial = serial;
    session->expiry_s = 1; /* until it is told */
    revival_count_serial(r, serial);
    if (!kept_begin(session)) {
        session_end(session);
        free(v);
        return NULL;
    }
    v->session = session;
    v->ends_ms = v->will_due_ms = NEVER;
    table_insert(&r->sessions, &v->by_serial, hash_of(serial));
    r->result.sessions++;
    return v;
}

struct message *revival_message(struct revival *r, struct bytes stored)
{
    if (stored.len > r->result.message_bytes_max) {
        r->result.message_bytes_max = (uint32_t)stored.len;
    }
    return kept_message_make(r->node->shards[0], stored);
}

bool revival_set_will(struct revival *r, struct session *session, const struct stored_will *stored)
{
    if (stored->message.len > r->result.message_bytes_max) {
        r->result.message_bytes_max = (uint32_t)stored->message.len;
    }
    return revive_session_will(session, stored);
}

bool revival_subscribe(struct revival *r, struct session *session, struct bytes filter,
                       const struct subscribe_options *options)
{
    bool existed;
    revival_enter(r, session->shard->id);
    if (local_subscribe(session, filter, options, &r->job, &existed) == LOCAL_NO_MEMORY) {
        return false;
    }
    if (++r->subscribing == SUBSCRIPTIONS_AT_ONCE) {
        revival_settle(r);
    }
    return true;
}

/* Takes the reference. */
bool revival_queue(struct revived_session *v, struct message *message,
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
bool revival_reach(struct revival *r, struct revived_session *v, uint64_t number)
{
    revival_enter(r, v->session->shard->id);
    const enum checkpoint_err err = backlog_reach(v->session, number);
    if (err != CHECKPOINT_OK) {
        r->problem = checkpoint_err_text(err);
    }
    return err == CHECKPOINT_OK;
}

void revival_each(struct revival *r, revival_fn *fn, bool is_last)
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
            table_insert(&r->sessions, &all[i]->by_serial, hash_of(all[i]->session->serial));
        }
    }
    free(all);
}

void revival_set_retained(struct revival *r, struct message *m, bool *no_memory)
{
    struct shard *const s = revival_enter(r, index_owner(r->node->index, message_topic(m)));
    bool was_new;
    *no_memory = retained_set(s->retained, m, &was_new) != RETAINED_OK;
    if (!*no_memory && was_new) {
        atomic_fetch_add_explicit(&r->node->retained, 1, memory_order_relaxed);
        r->result.retained++;
    }
}
