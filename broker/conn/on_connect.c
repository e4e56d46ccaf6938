/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/client_hash.h"
#include "broker/config/config.h"
#include "broker/conn/access.h"
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/conn/life.h"
#include "broker/conn/owed.h"
#include "broker/conn/recorded.h"
#include "broker/conn/publishable.h"
#include "broker/conn/socket.h"
#include "broker/guard/guard.h"
#include "broker/conn/trust.h"
#include "broker/log/log.h"
#include "broker/login/exchange.h"
#include "broker/login/login.h"
#include "broker/message.h"
#include "broker/ownership/ownership.h"
#include "broker/partitions/ledger.h"
#include "broker/partitions/partitions.h"
#include "broker/session/kept.h"
#include "broker/session/replay.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/store/store.h"
#include "broker/transport/listener.h"

#define ASSIGNED_ID_LEN                                                                            \
    23u /* "dunlin-" and 16 digits: what every server must accept [MQTT-3.1.3-5] */

/* A will this small is taken even when message_memory_max is reached: the client may be the one
 * that comes to fetch what fills the memory. */
#define WILL_BYTES_ALWAYS 4096u

/* ---- a client identifier by certificate */

static enum config_name_from client_id_from(const struct conn *c)
{
    return c->shard->node->listeners[c->listener].settings.client_id_from;
}

void connect_complete(struct conn *c, struct mqtt_connect *connect)
{
    const struct bytes name = socket_name(c, client_id_from(c));
    c->named = connect->client_id.len == 0 && name.len > 0;
    if (c->named) {
        connect->client_id = name;
    }
}

/* Also one without a name: it could be anybody's identifier that it gives. */
static bool has_other_id(const struct conn *c, struct bytes client_id)
{
    const enum config_name_from from = client_id_from(c);
    const struct bytes name = socket_name(c, from);
    return from != CONFIG_FROM_NONE && (name.len == 0 || !bytes_equal(name, client_id));
}

void connect_refuse(struct conn *c, enum mqtt_version version, uint8_t reason)
{
    shard_count(c->shard, METRIC_connect_refused);
    if (version != MQTT_VERSION_UNKNOWN) {
        struct mqtt_packet packet = {.type = MQTT_CONNACK};
        packet.connack.reason = version == MQTT_V5 ? reason : mqtt_reason_to_return_code(reason);
        c->version = (uint8_t)version;
        tally_reason(&c->shard->tally, TALLY_connack_sent, reason);
        conn_send_packet(c, &packet, bytes_of(NULL, 0));
    }
    conn_close(c, reason, SESSION_WILL_FORGET);
}

/* ---- may it come in? */

static enum mqtt_reason check_will(const struct shard *s, const struct mqtt_connect *m)
{
    if (!m->has_will) {
        return MQTT_REASON_SUCCESS;
    }
    const struct mqtt_will *will = &m->will;
    if (s->memory_full &&
        will->topic.len + will->properties.raw.len + will->payload.len > WILL_BYTES_ALWAYS) {
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    return publishable_topic(s, m->will.topic);
}

static enum mqtt_reason may_publish_will(struct conn *c, const struct mqtt_connect *m,
                                         struct bytes client_id)
{
    return !m->has_will ||
                   access_may_publish(c, client_id, m->will.topic, m->will.qos, m->will.retain)
               ? MQTT_REASON_SUCCESS
               : MQTT_REASON_NOT_AUTHORIZED;
}

static uint32_t session_expiry(const struct conn *c, const struct mqtt_connect *m)
{
    uint32_t asked_s = 0;
    if (m->version != MQTT_V5) {
        asked_s = m->clean_start ? 0 : MQTT_NO_EXPIRY;
    } else if (property_has(&m->properties, PROPERTY_SESSION_EXPIRY_INTERVAL)) {
        asked_s = m->properties.session_expiry_interval_s;
    }
    const uint32_t max_s = c->shard->config->limits.session_expiry_max_s;
    return asked_s < max_s ? asked_s : max_s;
}

struct relay_place connect_place(const struct conn *c, const struct mqtt_connect *m)
{
    const struct shard *const s = c->shard;
    const bool lasts = !m->clean_start || session_expiry(c, m) > 0;
    struct relay_place place = {.shard = s->id, .home = RELAY_HERE};
    if (m->client_id.len > 0) {
        const uint64_t hash = client_hash_of(s->node, m->client_id);
        if (lasts) {
            return relay_place_of(s, hash);
        }
        place.shard = node_shard_of(s->node, hash);
    } else if (lasts) {
        return relay_place_of_any(s);
    } /* else the identifier that it will be given belongs here */
    return place;
}

static enum mqtt_reason check(struct conn *c, const struct mqtt_connect *m)
{
    const struct shard *s = c->shard;
    const struct node *node = s->node;
    if (s->ending || s->leaving) {
        return MQTT_REASON_SERVER_UNAVAILABLE;
    }
    if (!trust_has(c, m->client_id)) {
        return MQTT_REASON_NOT_AUTHORIZED;
    }
    if (c->login_reason != MQTT_REASON_SUCCESS) {
        return c->login_reason;
    }
    if ((m->client_id.len == 0 || c->named) && m->version != MQTT_V5 && !m->clean_start) {
        return MQTT_REASON_CLIENT_IDENTIFIER_NOT_VALID; /* 3.1.1: [MQTT-3.1.3-8] */
    }
    if (has_other_id(c, m->client_id)) {
        return MQTT_REASON_CLIENT_IDENTIFIER_NOT_VALID;
    }
    if (atomic_load_explicit(&node->clients, memory_order_relaxed) >=
            (int64_t)s->config->limits.connections_max ||
        listener_is_over(&node->listeners[c->listener], 0)) {
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    uint8_t disk;
    if (s->store != NULL && session_expiry(c, m) > 0 && store_refuses(s, &disk)) {
        return disk; /* nothing could be promised of the session */
    }
    const enum mqtt_reason reason = check_will(s, m);
    return reason == MQTT_REASON_SUCCESS ? guard_judge_user(c, m) : reason;
}

/* ---- what the client and the server ask of each other */

static uint16_t keep_alive(const struct conn *c, const struct mqtt_connect *m)
{
    const uint32_t max_s = c->shard->config->limits.keep_alive_max_s;
    const bool over = max_s > 0 && (m->keep_alive_s == 0 || m->keep_alive_s > max_s);
    return over ? (uint16_t)max_s : m->keep_alive_s; /* before 5.0 the client cannot be told */
}

uint32_t connect_packet_bytes_max(const struct mqtt_connect *connect)
{
    const struct mqtt_properties *p = &connect->properties;
    return property_has(p, PROPERTY_MAXIMUM_PACKET_SIZE) &&
                   p->maximum_packet_size < MQTT_PACKET_BYTES_MAX
               ? p->maximum_packet_size
               : MQTT_PACKET_BYTES_MAX; /* no packet can be over it */
}

static void take_terms(struct conn *c, const struct mqtt_connect *m)
{
    const struct config_limits *limits = &c->shard->config->limits;
    const struct mqtt_properties *p = &m->properties;
    c->version = (uint8_t)m->version;
    c->keep_alive_ms = keep_alive(c, m) * 1500u;
    /* Before 5.0 the client could not be told; its identifiers are the bound (4.9). */
    c->server_receive_maximum =
        m->version == MQTT_V5 ? (uint16_t)limits->receive_maximum : UINT16_MAX;
    c->server_topic_alias_maximum =
        m->version == MQTT_V5 ? (uint16_t)limits->topic_alias_maximum : 0;
    c->receive_maximum =
        property_has(p, PROPERTY_RECEIVE_MAXIMUM) ? p->receive_maximum : UINT16_MAX;
    c->problem_information = !property_has(p, PROPERTY_REQUEST_PROBLEM_INFORMATION) ||
                             p->request_problem_information != 0;
    if (property_has(p, PROPERTY_TOPIC_ALIAS_MAXIMUM)) {
        c->topic_alias_maximum = p->topic_alias_maximum < limits->topic_alias_maximum
                                     ? p->topic_alias_maximum
                                     : (uint16_t)limits->topic_alias_maximum;
    }
}

/* ---- the answer */

static void connack_properties(struct property_writer *w, const struct conn *c,
                               const struct mqtt_connect *m, struct bytes assigned_id)
{
    const struct config *config = c->shard->config;
    const struct mqtt_properties *p = &m->properties;
    const uint32_t asked_s =
        property_has(p, PROPERTY_SESSION_EXPIRY_INTERVAL) ? p->session_expiry_interval_s : 0;
    if (c->session->expiry_s != asked_s) {
        property_put_number(w, PROPERTY_SESSION_EXPIRY_INTERVAL, c->session->expiry_s);
    }
    if (c->server_receive_maximum != UINT16_MAX) {
        property_put_number(w, PROPERTY_RECEIVE_MAXIMUM, c->server_receive_maximum);
    }
    if (c->server_packet_bytes_max < MQTT_PACKET_BYTES_MAX) {
        property_put_number(w, PROPERTY_MAXIMUM_PACKET_SIZE, c->server_packet_bytes_max);
    }
    if (assigned_id.len > 0) {
        property_put_string(w, PROPERTY_ASSIGNED_CLIENT_IDENTIFIER, assigned_id);
    }
    if (c->server_topic_alias_maximum > 0) {
        property_put_number(w, PROPERTY_TOPIC_ALIAS_MAXIMUM, c->server_topic_alias_maximum);
    }
    if (keep_alive(c, m) != m->keep_alive_s) {
        property_put_number(w, PROPERTY_SERVER_KEEP_ALIVE, keep_alive(c, m));
    }
    const bool asked = property_has(p, PROPERTY_REQUEST_RESPONSE_INFORMATION) &&
                       p->request_response_information != 0;
    if (asked && config->mqtt.response_information[0] != '\0') {
        property_put_string(w, PROPERTY_RESPONSE_INFORMATION,
                            bytes_text(config->mqtt.response_information));
    }
    exchange_put_last_word(w, c);
}

static void answer(struct conn *c, const struct mqtt_connect *m, struct bytes assigned_id,
                   bool session_present)
{
    struct mqtt_packet packet = {.type = MQTT_CONNACK};
    packet.connack.session_present = session_present && m->version != MQTT_V31;
    uint8_t properties[2048 + EXCHANGE_PROPERTIES_MAX];
    struct property_writer w = {.at = properties, .size = sizeof properties};
    if (m->version == MQTT_V5) {
        connack_properties(&w, c, m, assigned_id);
        assert(!w.overflow); /* response_information is bounded by the configuration's schema */
        packet.connack.properties.raw = bytes_of(properties, w.len);
    }
    tally_reason(&c->shard->tally, TALLY_connack_sent, MQTT_REASON_SUCCESS);
    conn_send_packet(c, &packet, bytes_of(NULL, 0));
}

/* ---- the session */

/* An identifier whose session lives on this shard; text[ASSIGNED_ID_LEN + 1]. */
static struct bytes assign_id(struct shard *s, char *text)
{
    const uint64_t all = relay_partitions_here(s);
    struct bytes id;
    uint64_t hash;
    do {
        snprintf(text, ASSIGNED_ID_LEN + 1, "dunlin-%016llx", (unsigned long long)shard_random(s));
        id = bytes_of(text, ASSIGNED_ID_LEN);
        hash = client_hash_of(s->node, id);
    } while (node_shard_of(s->node, hash) != s->id ||
             (all != 0 && (all >> hash % PARTITIONS & 1) == 0) || session_find(s, id) != NULL);
    return id;
}

static bool make_will(struct session *session, const struct mqtt_connect *m)
{
    if (!m->has_will) {
        return true;
    }
    struct will *will = calloc(1, sizeof *will);
    if (will == NULL) {
        return false;
    }
    const struct mqtt_properties *p = &m->will.properties;
    will->message = publishable_message(m->will.topic, p, m->will.payload);
    if (will->message == NULL) {
        free(will);
        return false;
    }
    will->message->qos = m->will.qos;
    will->message->retain = m->will.retain;
    will->message->publisher = session->serial;
    will->due_ms = UINT64_MAX;
    if (property_has(p, PROPERTY_WILL_DELAY_INTERVAL)) {
        will->delay_s = p->will_delay_interval_s;
    }
    if (property_has(p, PROPERTY_MESSAGE_EXPIRY_INTERVAL)) {
        will->has_expiry = true;
        will->expiry_s = p->message_expiry_interval_s;
    }
    session->will = will;
    return true;
}

/* The connection that the client had before, if it is still there [MQTT-3.1.4-3]. */
static void take_over(struct session *session, const struct conn *by)
{
    if (session->conn == NULL) {
        return;
    }
    char former[CONN_ADDRESS_TEXT];
    char fresh[CONN_ADDRESS_TEXT];
    log_event(LOG_INFO, "session_taken_over", LOG_BYTES("client_id", session_client_id(session)),
              LOG_TEXT("peer", conn_address(session->conn, former, sizeof former)),
              LOG_TEXT("by", conn_address(by, fresh, sizeof fresh)));
    shard_count(session->shard, METRIC_sessions_taken_over);
    conn_close(session->conn, MQTT_REASON_SESSION_TAKEN_OVER, SESSION_WILL_PUBLISH);
}

/* The session to go on with, or a new one; NULL and *reason: neither. */
static struct session *enter_session(const struct conn *c, struct bytes client_id, bool clean_start,
                                     bool *resumed, enum mqtt_reason *reason)
{
    struct shard *const s = c->shard;
    const uint64_t hash = client_hash_of(s->node, client_id);
    struct session *session = session_find(s, client_id);
    if (session != NULL) {
        take_over(session, c); /* which may have been the end of it */
        session = session_find(s, client_id);
    }
    if (session != NULL && clean_start) {
        session_end(session); /* [MQTT-3.1.2-4] */
        session = NULL;
    }
    *resumed = session != NULL;
    if (session != NULL) {
        shard_count(s, METRIC_sessions_resumed);
        return session;
    }
    if (atomic_load_explicit(&s->node->sessions, memory_order_relaxed) >=
        (int64_t)s->config->limits.sessions_max) {
        shard_count(s, METRIC_sessions_refused);
        *reason = MQTT_REASON_QUOTA_EXCEEDED;
        return NULL;
    }
    *reason = MQTT_REASON_SERVER_BUSY;
    return session_open(s, client_id, hash);
}

/*
 * A client that gave up on a connection and made another: the two may arrive by different shards,
 * the earlier one last. It must not take over from the later one, where its client waits.
 */
static bool is_ghost(const struct conn *c, struct bytes client_id)
{
    const struct session *session = session_find(c->shard, client_id);
    return session != NULL && session->conn != NULL && !c->more_input && conn_peer_has_gone(c);
}

static void log_connected(const struct conn *c, struct bytes client_id, bool resumed)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_DEBUG, "client_connected", LOG_BYTES("client_id", client_id),
              LOG_BYTES("user_name", login_user_name(c->user)),
              LOG_TEXT("peer", conn_address(c, address, sizeof address)),
              LOG_NUMBER("protocol_level", c->version), LOG_BOOL("resumed", resumed));
}

/* The user name is told: whose device it is, one has to find out. Never the password. */
static void log_refused(const struct conn *c, const struct mqtt_connect *m, struct bytes client_id,
                        uint8_t reason)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_WARNING, "connect_refused", LOG_BYTES("client_id", client_id),
              LOG_BYTES("user_name", m->user_name),
              LOG_TEXT("peer", conn_address(c, address, sizeof address)),
              LOG_TEXT("reason", mqtt_reason_text(reason)));
}

/* It outlives the process if it outlives the connection, or if its queue is on disk. false: no
 * memory. */
static bool keep(struct session *session)
{
    if (session->kept != NULL && session->expiry_s == 0 && session->kept->backlog == NULL) {
        kept_end(session);
    }
    if (session->shard->store == NULL || (session->expiry_s == 0 && session->kept == NULL)) {
        return true;
    }
    return (session->kept != NULL || kept_begin(session)) && kept_attach(session);
}

/* With other nodes: that it is connected to none of them, either. false: no memory. */
static bool claim_id(struct conn *c, const struct mqtt_connect *m)
{
    return c->shard->ownership == NULL || ownership_come(c, m->clean_start);
}

/* Where several nodes have a session, it is at the one that leads its partition. */
static bool may_keep(const struct conn *c, const struct mqtt_connect *m, struct bytes client_id)
{
    struct shard *const s = c->shard;
    const struct session *const there = s->ledger == NULL ? NULL : session_find(s, client_id);
    if (there != NULL && partition_revives(there)) {
        return false; /* not even a client that would end it */
    }
    return s->ledger == NULL || (m->clean_start && session_expiry(c, m) == 0) ||
           partition_term(s, (unsigned)(client_hash_of(s->node, client_id) % PARTITIONS)) != 0;
}

enum mqtt_reason on_connect(struct conn *c, const struct mqtt_packet *packet)
{
    const struct mqtt_connect *m = &packet->connect;
    struct shard *s = c->shard;
    char text[ASSIGNED_ID_LEN + 1];

    if (is_ghost(c, m->client_id)) {
        conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_FORGET);
        return MQTT_REASON_SUCCESS;
    }
    const uint64_t position = s->store == NULL ? 0 : ledger_last(s);
    enum mqtt_reason reason = check(c, m);
    struct session *session = NULL;
    bool resumed = false;
    bool assigned = false;
    struct bytes client_id = m->client_id;
    if (reason == MQTT_REASON_SUCCESS) {
        assigned = client_id.len == 0;
        client_id = assigned ? assign_id(s, text) : client_id;
        reason = may_publish_will(c, m, client_id);
    }
    if (reason == MQTT_REASON_SUCCESS && !may_keep(c, m, client_id)) {
        reason = MQTT_REASON_SERVER_UNAVAILABLE; /* another node leads its partition by now */
    }
    if (reason == MQTT_REASON_SUCCESS) {
        session = enter_session(c, client_id, m->clean_start, &resumed, &reason);
    }
    c->packet_bytes_max = connect_packet_bytes_max(m);
    if (session == NULL) {
        log_refused(c, m, client_id, (uint8_t)reason);
        connect_refuse(c, m->version, (uint8_t)reason);
        return MQTT_REASON_SUCCESS;
    }
    take_terms(c, m);
    session->expiry_s = session_expiry(c, m);
    if (!keep(session)) {
        conn_doom(c, MQTT_REASON_SERVER_BUSY);
    }
    session_attach(session, c);
    c->session = session;
    access_changed(c);
    c->received_before = session_received(session);
    c->phase = CONN_CONNECTED;
    if (session->pending != NULL &&
        session->pending->retaining !=
            NULL) { /* what an earlier connection sent comes first (P2) */
        c->blocked |= BLOCKED_RETAIN;
    }
    atomic_fetch_add_explicit(&s->node->clients, 1, memory_order_relaxed);
    login_begin(c);
    log_connected(c, client_id, resumed);

    c->last_packet_ms = c->since_ms = s->now_ms;
    wheel_cancel(s->wheel, &c->timer);
    if (c->keep_alive_ms > 0) {
        wheel_set(s->wheel, &c->timer, s->now_ms + c->keep_alive_ms);
    }
    if (c->doomed || !make_will(session, m) || !claim_id(c, m)) {
        conn_doom(c, MQTT_REASON_SERVER_BUSY);
    } else {
        kept_opened(session);
        if (s->store != NULL && ledger_last(s) > position) { /* this CONNECT has to be kept */
            owed_hold(c, ledger_last(s));
        }
        answer(c, m, assigned || c->named ? client_id : bytes_of(NULL, 0), resumed);
    }
    if (c->doomed) { /* no memory, or it takes no packet as large as its CONNACK */
        log_refused(c, m, client_id, c->doom);
        shard_count(s, METRIC_connect_refused);
        conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_FORGET); /* silently [MQTT-3.14.0-1] */
        return MQTT_REASON_SUCCESS;
    }
    shard_count(s, METRIC_connect_accepted);
    record_named(c, client_id);
    session_pump(session);
    replay_pump(session);
    return MQTT_REASON_SUCCESS;
}
