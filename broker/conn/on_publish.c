/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "broker/config/topics.h"
#include "broker/conn/access.h"
#include "broker/conn/alias.h"
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/conn/owed.h"
#include "broker/conn/publishable.h"
#include "broker/message.h"
#include "broker/route/publish.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/latency.h"
#include "broker/shard/shard.h"
#include "broker/store/serial.h"

/* PUBACK at QoS 1, PUBREC at QoS 2, nothing at QoS 0. */
static void acknowledge(struct conn *c, uint8_t qos, uint16_t packet_id, enum mqtt_reason reason)
{
    if (qos == 0) {
        return;
    }
    if (qos == 2 && reason >= MQTT_REASON_UNSPECIFIED_ERROR) {
        session_release(c->session, packet_id); /* the exchange ends here (4.3.3) */
    }
    owed_refusal(c, qos, packet_id, (uint8_t)reason);
}

/*
 * Not taken. A 5.0 client is told at QoS 1 and 2; otherwise an acknowledgement would be a lie, so
 * that the connection is closed, unless it is the topic that is not allowed, which would only come
 * again (3.3.5: "acknowledge or close"). At QoS 0 the message is dropped.
 */
static enum mqtt_reason refuse(struct conn *c, const struct mqtt_publish *publish,
                               enum mqtt_reason reason)
{
    struct shard *s = c->shard;
    shard_count(s, METRIC_publish_refused);
    if (reason == MQTT_REASON_NOT_AUTHORIZED && (publish->qos == 0 || c->version != MQTT_V5)) {
        shard_drop(s, METRIC_drop_not_allowed, session_client_id(c->session), publish->topic);
        acknowledge(c, publish->qos, publish->packet_id, MQTT_REASON_SUCCESS);
        return MQTT_REASON_SUCCESS;
    }
    shard_drop(s, METRIC_drop_refused, session_client_id(c->session), publish->topic);
    if (publish->qos == 0) {
        return MQTT_REASON_SUCCESS;
    }
    if (c->version != MQTT_V5) {
        session_release(c->session, publish->packet_id); /* it will come again */
        return reason;
    }
    acknowledge(c, publish->qos, publish->packet_id, reason);
    return MQTT_REASON_SUCCESS;
}

/* When those have it on disk that have to. */
static enum mqtt_reason acknowledge_routed(struct conn *c, struct session *session,
                                           const struct message *m, uint16_t packet_id,
                                           size_t matched)
{
    const bool tell = matched == 0 && c->version == MQTT_V5;
    if (m->qos > 0) {
        owed_receipt(c, session, m, packet_id,
                     tell ? MQTT_REASON_NO_MATCHING_SUBSCRIBERS : MQTT_REASON_SUCCESS);
    }
    return MQTT_REASON_SUCCESS;
}

static size_t route(struct shard *s, struct message *m, uint64_t publisher_hash)
{
    const size_t matched = publish_route(s, m, publisher_hash);
    if (matched == 0) {
        shard_count(s, METRIC_publish_unmatched);
    }
    return matched;
}

/* ---- RETAIN: stored first, on the shard that the topic belongs to */

struct publish_job {
    struct retain_job job;
    struct conn *conn;       /* waiting counts it */
    struct session *session; /* its `retaining` points here; NULL: it has ended */
    uint64_t publisher_hash;
    uint16_t packet_id;
    uint8_t qos;
};

/* A full store refuses what can be refused; the rest goes to those who are there. */
static void finish_retained(struct shard *s, struct publish_job *p, enum retain_result result)
{
    struct conn *c = p->conn;
    const bool there = c->phase == CONN_CONNECTED;
    if (result == RETAIN_FULL && there && c->version == MQTT_V5 && p->qos > 0) {
        shard_count(s, METRIC_publish_refused);
        shard_drop(s, METRIC_drop_refused, session_client_id(c->session),
                   message_topic(p->job.message));
        acknowledge(c, p->qos, p->packet_id, MQTT_REASON_QUOTA_EXCEEDED);
        return;
    }
    const size_t matched = route(s, p->job.message, p->publisher_hash);
    acknowledge_routed(c, p->session, p->job.message, p->packet_id, matched);
}

static void on_stored(struct shard *s, struct retain_job *job, enum retain_result result)
{
    struct publish_job *p = (struct publish_job *)job;
    struct conn *c = p->conn;
    if (p->session != NULL && p->job.message->exchange != 0) {
        owed_wait_no_more(p->session, p->packet_id);
    }
    finish_retained(s, p, result);
    if (p->session != NULL) {
        p->session->pending->retaining = NULL;
        if (p->session->conn != NULL) { /* this connection, or the one that came after it */
            input_unblock(p->session->conn, BLOCKED_RETAIN);
        } else {
            session_rest(p->session);
        }
    }
    message_put(p->job.message);
    free(p);
    conn_answered(c);
}

static enum mqtt_reason publish_retained(struct conn *c, const struct mqtt_publish *publish,
                                         struct message *m)
{
    struct shard *s = c->shard;
    struct pending *const pending = session_pending(c->session);
    struct publish_job *p = pending == NULL ? NULL : malloc(sizeof *p);
    if (p == NULL) {
        message_put(m);
        return refuse(c, publish, MQTT_REASON_QUOTA_EXCEEDED);
    }
    *p = (struct publish_job){
        .job = {.done = on_stored, .message = m},
        .conn = c,
        .session = c->session,
        .publisher_hash = c->session->client_hash,
        .packet_id = publish->packet_id,
        .qos = publish->qos,
    };
    const enum retain_result result = publish_retain(s, &p->job);
    if (result == RETAIN_WAIT) {
        pending->retaining = &p->session;
        if (p->job.message->exchange !=
            0) { /* a checkpoint would have it as received, and the next start */
            owed_wait(c->session, p->packet_id);
        }
        c->waiting++;
        c->blocked |= BLOCKED_RETAIN;
        return MQTT_REASON_SUCCESS;
    }
    finish_retained(s, p, result);
    message_put(p->job.message);
    free(p);
    return MQTT_REASON_SUCCESS;
}

/* ---- PUBLISH */

/* The client may send it once more, to another node, as it does not know what became of it. */
static uint64_t exchange_of(const struct conn *c, const struct mqtt_publish *publish)
{
    return publish->dup ? kept_exchange_begun(c->session, publish->packet_id) : 0;
}

static struct message *make_message(struct conn *c, const struct mqtt_publish *publish,
                                    struct bytes topic)
{
    static const struct mqtt_properties none;
    const bool v5 = c->version == MQTT_V5;
    struct message *m =
        publishable_message(topic, v5 ? &publish->properties : &none, publish->payload);
    if (m == NULL) {
        return NULL;
    }
    m->qos = publish->qos;
    m->retain = publish->retain;
    m->hurried = publish->qos < 2 && topics_hurry(c->shard->config, topic);
    m->publisher = c->session->serial;
    latency_stamp(c->shard, m);
    if (publish->qos == 2 && c->session->kept != NULL) {
        const uint64_t begun = exchange_of(c, publish);
        m->exchange = begun != 0 ? begun : kept_number(c->session);
        m->packet_id = publish->packet_id;
    }
    if (v5 && property_has(&publish->properties, PROPERTY_MESSAGE_EXPIRY_INTERVAL)) {
        m->has_expiry = true;
        m->expires_ms =
            c->shard->now_ms + (uint64_t)publish->properties.message_expiry_interval_s * 1000;
    }
    return m;
}

/* QoS 2: is it new? Remembers it. */
static enum packet_ids_err remember(struct conn *c, const struct mqtt_publish *publish)
{
    return publish->qos == 2 ? session_receive(c->session, publish->packet_id) : PACKET_IDS_OK;
}

static enum mqtt_reason resolve_topic(struct conn *c, const struct mqtt_publish *publish,
                                      struct bytes *topic)
{
    *topic = publish->topic;
    if (c->version != MQTT_V5 || !property_has(&publish->properties, PROPERTY_TOPIC_ALIAS)) {
        return MQTT_REASON_SUCCESS;
    }
    return alias_in_resolve(c, publish->properties.topic_alias, topic);
}

static enum mqtt_reason may_publish(struct conn *c, const struct mqtt_publish *publish,
                                    struct bytes topic)
{
    const enum mqtt_reason reason = publishable_topic(c->shard, topic);
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    return access_may_publish(c, bytes_of(NULL, 0), topic, publish->qos, publish->retain)
               ? MQTT_REASON_SUCCESS
               : MQTT_REASON_NOT_AUTHORIZED;
}

/* ---- QoS 2 of a session that several nodes have: begun first, as a part of it */

static enum mqtt_reason publish_now(struct conn *c, const struct mqtt_publish *publish,
                                    struct message *m)
{
    if (publish->retain) {
        return publish_retained(c, publish, m);
    }
    const size_t matched = route(c->shard, m, c->session->client_hash);
    const enum mqtt_reason done = acknowledge_routed(c, c->session, m, publish->packet_id, matched);
    message_put(m);
    return done;
}

static void on_begun(struct conn *c, void *context)
{
    struct message *const m = context;
    const struct mqtt_publish publish = {
        .topic = message_topic(m), .packet_id = m->packet_id, .qos = m->qos, .retain = m->retain};
    if (c->phase != CONN_CONNECTED) {
        message_put(m); /* it will come again, or is given up */
        return;
    }
    enum mqtt_reason reason;
    if (session_has_open(c->session, m->packet_id) ||
        session_has_received(c->session, m->packet_id)) {
        message_put(m); /* it has come twice meanwhile */
        reason = MQTT_REASON_SUCCESS;
    } else if (remember(c, &publish) != PACKET_IDS_OK) {
        message_put(m);
        reason = refuse(c, &publish, MQTT_REASON_QUOTA_EXCEEDED);
    } else {
        c->blocked &= (uint16_t)~BLOCKED_RETAIN;
        reason = publish_now(c, &publish, m);
    }
    if (reason != MQTT_REASON_SUCCESS) {
        conn_doom(c, (uint8_t)reason);
    } else if (publish.retain && (c->blocked & BLOCKED_RETAIN) == 0) {
        c->blocked |= BLOCKED_RETAIN;
        input_unblock(c, BLOCKED_RETAIN);
    }
}

static enum mqtt_reason publish_begun(struct conn *c, const struct mqtt_publish *publish,
                                      struct message *m)
{
    const bool is_known = kept_exchange_begun(c->session, m->packet_id) == m->exchange;
    if (!is_known && !kept_begun(c->session, m->packet_id, m->exchange)) {
        message_put(m);
        return refuse(c, publish, MQTT_REASON_QUOTA_EXCEEDED);
    }
    if (publish->retain) { /* one at a time */
        c->blocked |= BLOCKED_RETAIN;
    }
    owed_call(c, on_begun, m);
    return MQTT_REASON_SUCCESS;
}

static void say_received(struct conn *c, void *packet_id)
{
    if (c->phase == CONN_CONNECTED) {
        owed_reply(c, MQTT_PUBREC, (uint16_t)(uintptr_t)packet_id, MQTT_REASON_SUCCESS);
    }
}

enum mqtt_reason on_publish(struct conn *c, const struct mqtt_packet *packet)
{
    const struct mqtt_publish *publish = &packet->publish;
    struct shard *s = c->shard;
    struct session *session = c->session;

    struct bytes topic;
    enum mqtt_reason reason = resolve_topic(c, publish, &topic);
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    if (publish->qos == 2 && session_has_open(session, publish->packet_id)) {
        shard_count(s, METRIC_publish_repeated);
        owed_after_all(c, say_received, (void *)(uintptr_t)publish->packet_id);
        return MQTT_REASON_SUCCESS;
    }
    if (publish->qos == 2 && session_has_received(session, publish->packet_id)) {
        shard_count(s, METRIC_publish_repeated);
        owed_after(c, say_received, (void *)(uintptr_t)publish->packet_id); /* in order (4.6) */
        return MQTT_REASON_SUCCESS;
    }
    conn_flow(c, FLOW_MESSAGES_IN, 1);
    shard_count(s, METRIC_publish_received);
    metrics_add(&s->metrics, METRIC_publish_bytes_received, publish->payload.len);
    if (publish->qos > 0 &&
        session_received(session) >= (uint32_t)c->server_receive_maximum + c->received_before) {
        return MQTT_REASON_RECEIVE_MAXIMUM_EXCEEDED;
    }
    reason = may_publish(c, publish, topic);
    if (reason != MQTT_REASON_SUCCESS) {
        return refuse(c, publish, reason);
    }
    if (s->memory_full && publish->qos == 0) {
        shard_drop(s, METRIC_drop_message_memory, session_client_id(session), topic);
        return MQTT_REASON_SUCCESS;
    }
    struct message *m = s->memory_full ? NULL : make_message(c, publish, topic);
    uint8_t disk;
    if (m != NULL && publish->qos > 0 && publish_is_refused(s, m, &disk)) {
        message_put(m);
        return refuse(c, publish, (enum mqtt_reason)disk);
    }
    if (m != NULL && m->exchange != 0 && !serial_is_local(session->serial)) {
        busy_topics_count(&s->busy_topics, m);
        return publish_begun(c, publish, m);
    }
    if (m == NULL || remember(c, publish) != PACKET_IDS_OK) {
        message_put(m);
        return refuse(c, publish, MQTT_REASON_QUOTA_EXCEEDED);
    }
    busy_topics_count(&s->busy_topics, m);
    return publish_now(c, publish, m);
}
