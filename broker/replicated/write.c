/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a write: to shard 0, to the topic's shard, and back. */
#include <assert.h>
#include <stdlib.h>

#include "broker/config/config.h"
#include "broker/conn/publishable.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/replicated/replicated_parts.h"
#include "broker/route/index.h"
#include "broker/route/promise.h"
#include "broker/route/retained.h"
#include "broker/session/kept.h"
#include "broker/store/store.h"

/* POST_REPLICATE: to shard 0. The sender leaves job and message alone until it is answered. */
struct post_write {
    struct post_head head;
    struct retain_job *job;
    struct retained_version version; /* stamp 0: this node's client wrote it */
};

/* POST_REPLICA_PUT: to the topic's shard. */
struct post_put {
    struct post_head head;
    bool gone;               /* it is deleted, unless something newer is there */
    bool durable;            /* the job is answered when it is on disk */
    uint8_t from;            /* the job's shard */
    struct retain_job *job;  /* NULL: nobody waits */
    struct message *message; /* a reference, the record's */
};

/* POST_REPLICA_EXPIRED: to shard 0. */
struct post_expired {
    struct post_head head;
    struct message *message; /* a reference, the record's */
};

/* ---- the topic's shard */

static bool is_as_new(const struct message *former, const struct message *m)
{
    if (!former->versioned) {
        return false;
    }
    const struct retained_version was = message_version(former), is = message_version(m);
    return retained_version_compare(&was, &is) > 0;
}

static void delete_here(struct shard *s, const struct message *m)
{
    const struct bytes topic = message_topic(m);
    const struct message *const former = retained_get(s->retained, topic);
    if (former == NULL || is_as_new(former, m)) {
        return;
    }
    (void)retained_delete(s->retained, topic);
    kept_unretained(s, m);
    atomic_fetch_sub_explicit(&s->node->retained, 1, memory_order_relaxed);
    shard_count(s, METRIC_retained_deleted);
}

static void store_here(struct shard *s, struct message *m)
{
    bool was_new;
    if (retained_set(s->retained, m, &was_new) != RETAINED_OK) {
        remote_out_of_memory(); /* it has been said to be here */
    }
    kept_retained(s, m);
    if (was_new) {
        atomic_fetch_add_explicit(&s->node->retained, 1, memory_order_relaxed);
    }
    shard_count(s, METRIC_retained_set);
}

/* RETAIN_WAIT: the job is answered when it is on disk. */
static enum retain_result put_here(struct shard *s, struct message *m, bool gone,
                                   struct retain_job *job, unsigned from, bool durable)
{
    if (gone) {
        delete_here(s, m);
        return RETAIN_DONE;
    }
    store_here(s, m);
    if (job != NULL) {
        kept_will_retained(s, m);
    }
    if (job == NULL || !durable || s->store == NULL || kept_hurries(s, m)) {
        return RETAIN_DONE;
    }
    promise_retain(s, from, job, RETAIN_DONE);
    return RETAIN_WAIT;
}

static enum retain_result put(struct shard *s, struct message *m, bool gone, struct retain_job *job,
                              unsigned from, bool durable)
{
    const unsigned owner = index_owner(s->node->index, message_topic(m));
    if (owner == s->id) {
        const enum retain_result result = put_here(s, m, gone, job, from, durable);
        message_put(m);
        return result;
    }
    struct post_put *const p = post_reserve(s, owner, POST_REPLICA_PUT, sizeof *p);
    p->gone = gone;
    p->durable = durable;
    p->from = (uint8_t)from;
    p->job = job;
    p->message = m;
    post_commit(s, owner);
    return RETAIN_WAIT;
}

static void answer(struct shard *s, unsigned from, struct retain_job *job,
                   enum retain_result result)
{
    if (job != NULL && result != RETAIN_WAIT) {
        publish_retain_kept(s, from, job, result);
    }
}

void write_put(struct shard *s, struct message *m, bool gone, struct retain_job *job, unsigned from,
               bool durable)
{
    answer(s, from, job, put(s, m, gone, job, from, durable));
}

void replicated_on_put(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_put *const p = (const void *)record;
    (void)from;
    answer(s, p->from, p->job, put_here(s, p->message, p->gone, p->job, p->from, p->durable));
    message_put(p->message);
}

/* ---- shard 0 */

/* A deletion is on disk before the message goes: a crash would bring it back otherwise. */
struct burial {
    struct retain_job job; /* answered by this shard's disk */
    struct retain_job *whose;
    struct message *message; /* a reference */
    uint8_t from;
};

static void on_buried(struct shard *s, struct retain_job *job, enum retain_result result)
{
    struct burial *const b = (struct burial *)job;
    (void)result;
    write_put(s, b->message, true, b->whose, b->from, false);
    free(b);
}

static enum retain_result bury(struct shard *s, unsigned from, struct retain_job *job, bool durable)
{
    struct message *const m = job->message;
    const struct retained_version version = message_version(m);
    const bool waited_for = !kept_hurries(s, m);
    kept_buried(s, message_topic(m), m->topic_hash, &version, waited_for);
    kept_will_retained(s, m);
    if (!durable || !waited_for || s->store == NULL) {
        return put(s, message_take(m, 1), true, job, from, false);
    }
    struct burial *const b = remote_alloc(sizeof *b);
    *b = (struct burial){.job = {.done = on_buried},
                         .whose = job,
                         .message = message_take(m, 1),
                         .from = (uint8_t)from};
    promise_retain(s, s->id, &b->job, RETAIN_DONE);
    return RETAIN_WAIT;
}

/* What can be refused, before it has a version. */
static bool is_full(const struct shard *s, const struct message *m)
{
    const struct replicated *const r = s->node->replicated;
    struct retained_version version;
    bool gone;
    if (m->payload_len == 0) {
        return false;
    }
    if (atomic_load_explicit(&s->node->disk_troubles, memory_order_relaxed) > 0) {
        return true;
    }
    const struct replica_figures f = replica_figures(r->replica);
    const bool is_there = replica_look(r->replica, message_topic(m), &version, &gone) && !gone;
    return !is_there && f.topics - f.gone >= s->config->limits.retained_messages_max;
}

static enum retain_result refuse(struct shard *s, const struct message *m)
{
    shard_count(s, METRIC_retained_refused);
    kept_will_retained(s, m);
    return RETAIN_FULL;
}

/* Until then each of its connections waits, and reads nothing. */
static enum retain_result wait_for_others(struct shard *s, unsigned from, struct retain_job *job)
{
    struct replicated *const r = s->node->replicated;
    const struct waiting w = {.job = job, .from = (uint8_t)from};
    r->waiting.item = sizeof w;
    return fifo_push(&r->waiting, &w) ? RETAIN_WAIT : refuse(s, job->message);
}

static enum retain_result judged(struct shard *s, unsigned from, struct retain_job *job,
                                 enum replica_err err, const struct retained_version *version,
                                 bool durable)
{
    struct message *const m = job->message;
    switch (err) {
    case REPLICA_OK:
        break;
    case REPLICA_NOT_READY:
        return wait_for_others(s, from, job);
    case REPLICA_OLD:
        return RETAIN_DONE;
    default:
        return refuse(s, m);
    }
    message_set_version(m, version);
    if (m->payload_len == 0) {
        return bury(s, from, job, durable);
    }
    message_take(m, 1); /* the replica's */
    return put(s, message_take(m, 1), false, job, from, durable);
}

static enum retain_result decide(struct shard *s, unsigned from, struct retain_job *job,
                                 const struct retained_version *arrived)
{
    struct replicated *const r = s->node->replicated;
    const struct message *const m = job->message;
    const uint64_t handle = (uint64_t)(uintptr_t)m;
    struct retained_version version = *arrived;
    ASSERT_OWNED(s);
    if (version.stamp > 0) {
        const bool refuses =
            atomic_load_explicit(&s->node->disk_troubles, memory_order_relaxed) > 0;
        const enum replica_err err =
            refuses ? REPLICA_NO_MEMORY
                    : replica_apply(r->replica, message_topic(m), &version, m->payload_len == 0,
                                    handle, replicated_wall_ms());
        return judged(s, from, job, err, &version, false);
    }
    if (is_full(s, m)) {
        return refuse(s, m);
    }
    const enum replica_err err = replica_write(r->replica, message_topic(m), m->payload_len == 0,
                                               handle, replicated_wall_ms(), &version);
    return judged(s, from, job, err, &version, true);
}

void replicated_on_write(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_write *const p = (const void *)record;
    answer(s, from, p->job, decide(s, from, p->job, &p->version));
}

void write_waiting(struct shard *s)
{
    static const struct retained_version none;
    struct replicated *const r = s->node->replicated;
    const bool is_ready = replica_is_ready(r->replica);
    if (!is_ready && !s->ending) {
        return;
    }
    for (const struct waiting *w; (w = fifo_first(&r->waiting)) != NULL;) {
        const struct waiting now = *w;
        fifo_pop(&r->waiting);
        answer(s, now.from, now.job,
               is_ready ? decide(s, now.from, now.job, &none) : refuse(s, now.job->message));
    }
}

/* ---- any shard */

static enum retain_result to_shard_0(struct shard *s, struct retain_job *job,
                                     const struct retained_version *version)
{
    ASSERT_OWNED(s);
    struct message *const m = message_with_version(job->message);
    if (m == NULL) {
        shard_count(s, METRIC_retained_refused);
        return RETAIN_FULL;
    }
    job->message = m;
    if (s->id == 0) {
        return decide(s, 0, job, version);
    }
    struct post_write *const p = post_reserve(s, 0, POST_REPLICATE, sizeof *p);
    p->job = job;
    p->version = *version;
    post_commit(s, 0);
    return RETAIN_WAIT;
}

enum retain_result replicated_retain(struct shard *s, struct retain_job *job)
{
    static const struct retained_version none;
    return to_shard_0(s, job, &none);
}

enum retain_result replicated_arrived(struct shard *s, struct retain_job *job,
                                      const struct retained_version *version)
{
    assert(version->stamp > 0);
    return to_shard_0(s, job, version);
}

/* ---- expiry */

static void expired(struct shard *s, const struct message *m)
{
    struct replicated *const r = s->node->replicated;
    const struct retained_version version = message_version(m);
    struct retained_version now;
    bool gone;
    r->expiring = true;
    replica_expired(r->replica, message_topic(m), &version);
    r->expiring = false;
    if (replica_look(r->replica, message_topic(m), &now, &gone) && gone &&
        retained_version_compare(&now, &version) == 0) {
        kept_buried(s, message_topic(m), m->topic_hash, &version, false);
    }
}

void replicated_on_expired(struct shard *s, unsigned from, const struct post_head *record)
{
    struct message *const m = ((const struct post_expired *)(const void *)record)->message;
    (void)from;
    expired(s, m);
    message_put(m);
}

void replicated_expired(struct shard *s, struct message *m)
{
    if (s->node->replicated == NULL || !m->versioned) {
        return;
    }
    if (s->id == 0) {
        expired(s, m);
        return;
    }
    struct post_expired *const p = post_reserve(s, 0, POST_REPLICA_EXPIRED, sizeof *p);
    p->message = message_take(m, 1);
    post_commit(s, 0);
}

struct message *write_grave(struct bytes topic, const struct retained_version *version)
{
    struct message *const m = message_create(topic, bytes_of(NULL, 0), bytes_of(NULL, 0));
    struct message *const grave = m == NULL ? NULL : message_with_version(m);
    if (grave == NULL) {
        remote_out_of_memory();
    }
    message_set_version(grave, version);
    return grave;
}
