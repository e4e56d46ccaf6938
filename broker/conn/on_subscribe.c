/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/conn/access.h"
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/conn/owed.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/log/log.h"
#include "broker/route/local.h"
#include "broker/session/kept.h"
#include "broker/session/replay.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/serial.h"
#include "broker/store/store.h"
#include "proto/topic.h"

/*
 * One SUBSCRIBE, until all its filters stand in the index (SUBACK means subscribed everywhere). On
 * the heap; `conn` is counted in conn->waiting while it is BLOCKED_SUBSCRIBE.
 */
struct job {
    struct subscribe_job base;
    struct conn *conn;
    uint32_t identifier;
    uint32_t count;
    uint16_t packet_id;
    uint8_t *reasons; /* [count] */
    bool *existed;    /* [count]: the subscription replaced another */
    struct bytes filters;
    uint8_t room[]; /* for reasons, existed, and filters */
};

static struct job *job_create(struct conn *c, const struct mqtt_subscribe *m)
{
    struct job *job = malloc(sizeof *job + 2 * (size_t)m->count + m->filters.len);
    if (job == NULL) {
        return NULL;
    }
    *job = (struct job){.conn = c, .count = m->count, .packet_id = m->packet_id};
    job->reasons = job->room;
    job->existed = (bool *)(job->room + m->count);
    uint8_t *filters = job->room + 2 * (size_t)m->count;
    memcpy(filters, m->filters.at, m->filters.len);
    memset(job->room, 0, 2 * (size_t)m->count);
    job->filters = bytes_of(filters, m->filters.len);
    if (c->version == MQTT_V5 && property_has(&m->properties, PROPERTY_SUBSCRIPTION_IDENTIFIER)) {
        job->identifier = m->properties.subscription_identifier;
    }
    return job;
}

static struct subscribe_options options_of(const struct job *job, const struct mqtt_filter *filter)
{
    return (struct subscribe_options){
        .identifier = job->identifier,
        .qos = filter->qos,
        .no_local = filter->no_local,
        .retain_as_published = filter->retain_as_published,
    };
}

/* ---- each filter */

/* Well-formed, within the limits, and allowed? A shared one is judged by the filter behind its
 * group's name. */
static enum mqtt_reason check_filter(struct conn *c, struct bytes filter, uint8_t qos)
{
    struct bytes share_name, plain = filter;
    if (topic_is_share(filter) && !topic_share_parse(filter, &share_name, &plain)) {
        return MQTT_REASON_TOPIC_FILTER_INVALID;
    }
    if (!topic_filter_valid(plain) ||
        topic_levels(plain) > c->shard->config->limits.topic_levels_max) {
        return MQTT_REASON_TOPIC_FILTER_INVALID;
    }
    return access_may_subscribe(c, plain, qos) ? MQTT_REASON_SUCCESS : MQTT_REASON_NOT_AUTHORIZED;
}

/* The limit that one more subscription would be over; NULL: none. */
static const char *limit_reached(const struct session *session, struct bytes filter)
{
    const struct shard *s = session->shard;
    const struct config_limits *limits = &s->config->limits;
    if (session->filters.count >= limits->subscriptions_per_session_max) {
        return "subscriptions_per_session_max";
    }
    if (session->subscription_bytes + local_subscription_bytes(filter) >
        limits->subscription_bytes_per_session_max) {
        return "subscription_bytes_per_session_max";
    }
    return s->subscription_bytes >= s->memory_share ? "message_memory_max" : NULL;
}

static uint8_t subscribe_one(struct job *job, uint32_t i, const struct mqtt_filter *filter)
{
    struct conn *c = job->conn;
    struct shard *s = c->shard;
    struct session *session = c->session;
    shard_count(s, METRIC_subscribe_received);

    const enum mqtt_reason reason = check_filter(c, filter->filter, filter->qos);
    if (reason != MQTT_REASON_SUCCESS) {
        return (uint8_t)reason;
    }
    uint8_t disk;
    if (session->kept != NULL && store_refuses(s, &disk)) {
        return disk;
    }
    const char *const limit = limit_reached(session, filter->filter);
    if (limit != NULL && local_find(session, filter->filter) == NULL) {
        log_event(LOG_WARNING, "subscribe_refused",
                  LOG_BYTES("client_id", session_client_id(session)),
                  LOG_BYTES("filter", filter->filter), LOG_TEXT("reason", limit));
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    const struct subscribe_options options = options_of(job, filter);
    switch (local_subscribe(session, filter->filter, &options, &job->base, &job->existed[i])) {
    case LOCAL_OK:
    case LOCAL_WAIT: /* the client may be gone when it is everywhere: the session has it now */
        kept_subscribed(session, filter->filter, &options);
        return filter->qos; /* Granted QoS 0..2 */
    case LOCAL_NO_MEMORY:
        break;
    }
    return MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR;
}

/* ---- the answer */

/* 3.1.1 knows 0x80 alone, 3.1 no failure at all. */
static uint8_t reason_for(const struct conn *c, uint8_t reason)
{
    if (reason < MQTT_REASON_UNSPECIFIED_ERROR || c->version == MQTT_V5) {
        return reason;
    }
    return c->version == MQTT_V311 ? (uint8_t)MQTT_REASON_UNSPECIFIED_ERROR : 0;
}

static void send_suback(struct conn *c, enum mqtt_type type, uint16_t packet_id,
                        const uint8_t *reasons, uint32_t count)
{
    struct mqtt_packet packet = {
        .type = type,
        .suback = {.packet_id = packet_id, .reasons = bytes_of(reasons, count)},
    };
    conn_send_packet(c, &packet, bytes_of(NULL, 0));
}

static bool wants_retained(const struct mqtt_filter *filter, bool existed)
{
    if (topic_is_share(filter->filter)) {
        return false; /* (4.8.2) */
    }
    return filter->retain_handling == 0 || (filter->retain_handling == 1 && !existed);
}

static void replay_retained(const struct job *job)
{
    struct session *session = job->conn->session;
    struct bytes rest = job->filters;
    struct mqtt_filter filter;
    for (uint32_t i = 0; mqtt_filter_next(&rest, MQTT_SUBSCRIBE, &filter); i++) {
        const bool granted = job->reasons[i] < MQTT_REASON_UNSPECIFIED_ERROR;
        const struct subscribe_options options = options_of(job, &filter);
        struct local_filter *f = granted ? local_find(session, filter.filter) : NULL;
        if (f == NULL) {
            continue;
        }
        if (job->existed[i]) {
            replay_forget(session, f); /* of the one that was replaced */
        }
        if (wants_retained(&filter, job->existed[i]) && !replay_start(session, f, &options)) {
            shard_count(session->shard, METRIC_drop_no_memory);
        }
    }
}

/* What could not be added to the index is gone again. */
static void find_failures(const struct job *job)
{
    struct bytes rest = job->filters;
    struct mqtt_filter filter;
    for (uint32_t i = 0; mqtt_filter_next(&rest, MQTT_SUBSCRIBE, &filter); i++) {
        if (job->reasons[i] < MQTT_REASON_UNSPECIFIED_ERROR &&
            local_find(job->conn->session, filter.filter) == NULL) {
            job->reasons[i] = MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR;
            kept_unsubscribed(job->conn->session, filter.filter);
        }
    }
}

static void finish(struct job *job)
{
    struct conn *c = job->conn;
    if (c->phase == CONN_CONNECTED) {
        uint8_t small[64];
        uint8_t *told = job->count <= sizeof small ? small : malloc(job->count);
        for (uint32_t i = 0; told != NULL && i < job->count; i++) {
            told[i] = reason_for(c, job->reasons[i]);
            if (job->reasons[i] >= MQTT_REASON_UNSPECIFIED_ERROR) {
                shard_count(c->shard, METRIC_subscribe_refused);
            }
        }
        if (told == NULL) {
            conn_doom(c, MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR);
        } else {
            send_suback(c, MQTT_SUBACK, job->packet_id, told, job->count);
            replay_retained(job);
        }
        if (told != small) {
            free(told);
        }
    }
    free(job);
}

static void unblock(struct conn *c)
{
    if ((c->blocked & BLOCKED_SUBSCRIBE) != 0) {
        input_unblock(c, BLOCKED_SUBSCRIBE);
    }
}

/* All that may have said that there are no such subscribers say so no more. */
static void on_vouched(struct shard *s, struct subscribe_job *base)
{
    struct job *const job = (struct job *)base;
    struct conn *const c = job->conn;
    (void)s;
    finish(job);
    unblock(c);
    conn_answered(c);
}

static void on_kept(struct conn *c, void *context)
{
    struct job *const job = context;
    if (c->phase == CONN_CONNECTED &&
        dispatch_run_subscribed(c->shard, serial_partition(c->session->serial), &job->base)) {
        job->base.done = on_vouched;
        c->waiting++;
        return;
    }
    finish(job);
    unblock(c);
}

/* It stands in the index everywhere. */
static void conclude(struct job *job)
{
    struct conn *c = job->conn;
    if (c->phase == CONN_CONNECTED && job->base.failed) {
        find_failures(job);
    }
    if (c->phase == CONN_CONNECTED && c->session->kept != NULL) {
        c->blocked |= BLOCKED_SUBSCRIBE;
        owed_call(c, on_kept, job);
        return;
    }
    finish(job);
    unblock(c);
}

static void on_index_ready(struct shard *s, struct subscribe_job *base)
{
    (void)s;
    struct job *job = (struct job *)base;
    struct conn *c = job->conn;
    conclude(job);
    conn_answered(c);
}

/* ---- SUBSCRIBE, UNSUBSCRIBE */

enum mqtt_reason on_subscribe(struct conn *c, const struct mqtt_packet *packet)
{
    const struct mqtt_subscribe *m = &packet->subscribe;
    c->shard->work += m->count;
    struct job *job = job_create(c, m);
    if (job == NULL) {
        return MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR;
    }
    job->base.done = on_index_ready;
    job->base.pending = 1; /* held until all filters have been asked for */
    struct bytes rest = job->filters;
    struct mqtt_filter filter;
    for (uint32_t i = 0; mqtt_filter_next(&rest, MQTT_SUBSCRIBE, &filter); i++) {
        job->reasons[i] = subscribe_one(job, i, &filter);
    }
    if (--job->base.pending == 0) {
        conclude(job);
    } else {
        c->waiting++;
        c->blocked |= BLOCKED_SUBSCRIBE;
    }
    return MQTT_REASON_SUCCESS;
}

/* One UNSUBACK, until what it says is kept. */
struct unsuback {
    uint16_t packet_id;
    uint32_t count;
    uint8_t reasons[];
};

static void answer_unsubscribe(struct conn *c, void *context)
{
    struct unsuback *u = context;
    if (c->phase == CONN_CONNECTED) {
        send_suback(c, MQTT_UNSUBACK, u->packet_id, u->reasons,
                    c->version == MQTT_V5 ? u->count : 0);
        unblock(c);
    }
    free(u);
}

static uint8_t unsubscribe_one(struct session *session, struct bytes filter)
{
    struct local_filter *f = local_find(session, filter);
    shard_count(session->shard, METRIC_unsubscribe_received);
    if (f == NULL) {
        return MQTT_REASON_NO_SUBSCRIPTION_EXISTED;
    }
    replay_forget(session, f);
    local_unsubscribe(session, f);
    kept_unsubscribed(session, filter);
    return MQTT_REASON_SUCCESS;
}

enum mqtt_reason on_unsubscribe(struct conn *c, const struct mqtt_packet *packet)
{
    const struct mqtt_subscribe *m = &packet->subscribe;
    struct unsuback *u = malloc(sizeof *u + m->count);
    if (u == NULL) {
        return MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR;
    }
    u->packet_id = m->packet_id;
    u->count = m->count;
    c->shard->work += m->count;
    struct bytes rest = m->filters;
    struct mqtt_filter filter;
    for (uint32_t i = 0; mqtt_filter_next(&rest, MQTT_UNSUBSCRIBE, &filter); i++) {
        u->reasons[i] = unsubscribe_one(c->session, filter.filter);
    }
    if (c->session->kept != NULL) {
        c->blocked |= BLOCKED_SUBSCRIBE;
        owed_call(c, answer_unsubscribe, u);
    } else {
        answer_unsubscribe(c, u);
    }
    return MQTT_REASON_SUCCESS;
}
