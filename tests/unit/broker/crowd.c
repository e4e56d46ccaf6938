/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/crowd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/topic.h"
#include "tests/fake/io_fake.h"
#include "tests/unit/broker/crowd_parts.h"
#include "tests/unit/broker/fake_client.h"
#include "tests/unit/broker/ledger.h"

static const char *const filters[FILTERS] = {"a/b",   "a/+", "a/#", "+/c",          "b/c",
                                             "d",     "d/#", "r/+", "$share/g/s/#", "w/#",
                                             "+/b/#", "r/x", "r/#"};

const char *const crowd_topics[LEDGER_TOPICS] = {"a/b", "a/c", "b/c", "d",
                                                 "r/x", "s/x", "w/x", "r/y"};
#define TOPIC_IS_SHARED(topic) ((topic) == 5u)

__attribute__((format(printf, 2, 3), noreturn)) void crowd_broken(const struct member *m,
                                                                  const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "a promise is broken: client %u: ", m->number);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

__attribute__((format(printf, 2, 3))) void crowd_trace(const struct member *m, const char *format,
                                                       ...)
{
    static int on = -1;
    if (on < 0) {
        on = getenv("CROWD_TRACE") != NULL;
    }
    if (on > 0) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(stderr, "%llu client %u: ", (unsigned long long)fake_node_now_ms(), m->number);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
}

uint32_t crowd_choose(struct crowd *w, uint32_t bound)
{
    return w->chooser->below(w->chooser, bound);
}

static bool bit_get(const uint8_t *bits, uint16_t id)
{
    return (bits[id / 8] >> id % 8 & 1) != 0;
}

static void bit_set(uint8_t *bits, uint16_t id)
{
    bits[id / 8] = (uint8_t)(bits[id / 8] | 1u << id % 8);
}

static void bit_clear(uint8_t *bits, uint16_t id)
{
    bits[id / 8] = (uint8_t)(bits[id / 8] & ~(1u << id % 8));
}

/* ---- who is owed what */

static bool is_owed(const struct member *m, unsigned topic, const struct member *publisher)
{
    for (unsigned i = 0; i < FILTERS; i++) {
        const struct subscribed *s = &m->subscribed[i];
        const bool mine = s->no_local && m == publisher;
        if (s->is == YES && s->qos > 0 && !mine && !topic_is_share(bytes_text(filters[i])) &&
            topic_matches(bytes_text(filters[i]), bytes_text(crowd_topics[topic]))) {
            return true;
        }
    }
    return false;
}

static uint32_t owed(const struct crowd *w, unsigned topic, const struct member *publisher)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        bits |= (uint32_t)is_owed(&w->members[i], topic, publisher) << i;
    }
    return bits;
}

/* Its session has ended, or may have: nothing that depends on it is promised any longer. */
static void forget_session(struct crowd *w, struct member *m, enum certainty subscribed)
{
    ledger_forgive(w->ledger, m->number);
    for (unsigned i = 0; i < FILTERS; i++) {
        m->subscribed[i].is = m->subscribed[i].is == NO ? NO : subscribed;
        m->subscribed[i].packet_id = 0;
    }
}

/* The client's part of the session ends as the broker's does (4.1). */
static void forget_own(struct member *m)
{
    memset(m->received, 0, sizeof m->received);
    m->out_count = 0;
    m->forgot = true;
}

/* ---- speaking */

static void send_outgoing(struct member *m, const struct outgoing *o, bool dup)
{
    char payload[16];
    crowd_trace(m, "PUBLISH %u to %s qos=%u id=%u dup=%d retain=%d", o->message,
                crowd_topics[o->topic], o->qos, o->packet_id, dup, o->retain);
    snprintf(payload, sizeof payload, "%u", o->message);
    client_send_publish(m->client, SAY(.topic = crowd_topics[o->topic], .payload = payload,
                                       .qos = o->qos, .retain = o->retain, .dup = dup,
                                       .packet_id = o->packet_id, .payload_len = o->payload_len));
}

static void speak(struct crowd *w, struct member *m)
{
    if (!m->connected || m->out_count == OPEN_MAX) {
        return;
    }
    struct outgoing o = {.topic = (uint8_t)crowd_choose(w, LEDGER_TOPICS),
                         .qos = (uint8_t)crowd_choose(w, 3)};
    if (o.topic == WILL_TOPIC) {
        return;
    }
    o.retain = crowd_topics[o.topic][0] == 'r' && crowd_choose(w, 2) == 0;
    o.message = ledger_say(w->ledger, m->number, o.topic, o.qos, owed(w, o.topic, m));
    if (o.qos > 0) {
        o.packet_id = m->client->next_packet_id++;
        m->out[m->out_count++] = o;
    }
    if (w->processes.disk != NULL && crowd_choose(w, 16) == 0) { /* so that journals grow */
        o.payload_len = 10000 + crowd_choose(w, 50000);
    }
    if (o.retain) {
        ledger_say_retained(w->ledger, o.message);
        if (w->processes.disk != NULL && !m->surely_kept) {
            ledger_any_order(w->ledger, o.message); /* its session may end while the disk is slow */
        }
    }
    w->figures.said++;
    send_outgoing(m, &o, false);
}

static struct outgoing *find_outgoing(struct member *m, uint16_t packet_id)
{
    for (unsigned i = 0; i < m->out_count; i++) {
        if (m->out[i].packet_id == packet_id) {
            return &m->out[i];
        }
    }
    return NULL;
}

static void outgoing_done(struct member *m, struct outgoing *o)
{
    const size_t after = (size_t)(&m->out[--m->out_count] - o);
    memmove(o, o + 1, after * sizeof *o);
}

static void on_answer(struct crowd *w, struct member *m, const struct got *g)
{
    struct outgoing *o = find_outgoing(m, g->packet_id);
    if (o == NULL) {
        crowd_broken(m, "%s for packet %u, which is not open", mqtt_type_name(g->type),
                     g->packet_id);
    }
    if (g->reason >= 0x80 && g->type != MQTT_PUBCOMP) { /* there: it has been released before */
        crowd_broken(m, "%s with 0x%x", mqtt_type_name(g->type), g->reason);
    }
    if ((g->type == MQTT_PUBACK) != (o->qos == 1) || (g->type == MQTT_PUBCOMP && !o->released)) {
        crowd_broken(m, "%s for packet %u at QoS %u", mqtt_type_name(g->type), g->packet_id,
                     o->qos);
    }
    if (g->type != MQTT_PUBCOMP) {
        ledger_accepted(w->ledger, o->message, g->reason != MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    }
    if (g->type == MQTT_PUBREC) {
        o->released = true;
        client_send_ack(m->client, MQTT_PUBREL, o->packet_id, 0);
    } else {
        outgoing_done(m, o);
    }
}

/* [MQTT-4.4.0-1] */
static void send_again(struct crowd *w, struct member *m)
{
    for (unsigned i = 0; i < m->out_count; i++) {
        const struct outgoing *o = &m->out[i];
        w->figures.repeated++;
        if (o->released) {
            client_send_ack(m->client, MQTT_PUBREL, o->packet_id, 0);
            continue;
        }
        if (o->qos == 1) {
            ledger_say_again(w->ledger, o->message);
        }
        send_outgoing(m, o, true);
    }
}

/* ---- subscribing */

static void subscribe(struct crowd *w, struct member *m)
{
    const uint32_t which = crowd_choose(w, FILTERS);
    struct subscribed *s = &m->subscribed[which];
    if (!m->connected || s->packet_id != 0) {
        return;
    }
    const struct ask ask = {
        .filter = filters[which],
        .qos = (uint8_t)crowd_choose(w, 3),
        .no_local = m->version == MQTT_V5 && !topic_is_share(bytes_text(filters[which])) &&
                    crowd_choose(w, 4) == 0,
        .retain_handling = m->version == MQTT_V5 ? (uint8_t)crowd_choose(w, 3) : 0};
    s->packet_id = client_send_subscribe(m->client, &ask);
    s->leaving = false;
    crowd_trace(m, "SUBSCRIBE %s qos=%u no_local=%d", ask.filter, ask.qos, ask.no_local);
    if (ask.qos == 0 || ask.no_local) { /* a message on its way may come under these terms */
        ledger_forgive(w->ledger, m->number);
    }
    if (s->is == YES) { /* nothing is lost when it is replaced (3.8.4) */
        s->qos = ask.qos < s->qos ? ask.qos : s->qos;
        s->no_local = s->no_local || ask.no_local;
    } else {
        s->is = PERHAPS;
        s->qos = ask.qos;
        s->no_local = ask.no_local;
    }
}

static void unsubscribe(struct crowd *w, struct member *m)
{
    const uint32_t which = crowd_choose(w, FILTERS);
    struct subscribed *s = &m->subscribed[which];
    if (!m->connected || s->packet_id != 0) {
        return;
    }
    ledger_forgive(w->ledger, m->number);
    s->packet_id = client_send_unsubscribe(m->client, filters[which]);
    s->leaving = true;
    crowd_trace(m, "UNSUBSCRIBE %s", filters[which]);
    s->is = s->is == NO ? NO : PERHAPS;
}

static void on_suback(struct member *m, const struct got *g)
{
    for (unsigned i = 0; i < FILTERS; i++) {
        struct subscribed *s = &m->subscribed[i];
        if (s->packet_id == g->packet_id && s->leaving == (g->type == MQTT_UNSUBACK)) {
            s->packet_id = 0;
            s->is = s->leaving ? NO : YES;
            if (!s->leaving && g->reason > 2) {
                crowd_broken(m, "SUBSCRIBE to %s refused: 0x%x", filters[i], g->reason);
            }
            return;
        }
    }
    crowd_broken(m, "%s %u was not asked for", mqtt_type_name(g->type), g->packet_id);
}

/* ---- hearing */

static void owe_answer(struct member *m, enum mqtt_type type, uint16_t packet_id)
{
    if (m->answer_count == sizeof m->answers / sizeof m->answers[0]) {
        crowd_broken(m, "more answers are owed than messages can be in flight");
    }
    m->answers[m->answer_count++] = (struct answer){.type = type, .packet_id = packet_id};
}

static unsigned topic_number(const struct member *m, const char *topic)
{
    for (unsigned i = 0; i < LEDGER_TOPICS; i++) {
        if (strcmp(crowd_topics[i], topic) == 0) {
            return i;
        }
    }
    crowd_broken(m, "heard of topic '%s'", topic);
}

static void hear(struct crowd *w, struct member *m, const struct got *g)
{
    const unsigned topic = topic_number(m, g->topic);
    w->figures.heard++;
    if (g->retain) {
        return; /* an old one, for a new subscription: heard before, perhaps */
    }
    const struct heard heard = {.message = (uint32_t)strtoul(g->payload, NULL, 10),
                                .client = m->number,
                                .qos = g->qos,
                                .ordered = !TOPIC_IS_SHARED(topic),
                                .shared = TOPIC_IS_SHARED(topic)};
    ledger_heard(w->ledger, &heard);
}

static void on_publish(struct crowd *w, struct member *m, const struct got *g)
{
    if (g->qos == 0) {
        hear(w, m, g);
        return;
    }
    const unsigned window = m->receive_maximum != 0 && m->receive_maximum < w->inflight_max
                                ? m->receive_maximum
                                : w->inflight_max;
    if (bit_get(m->open, g->packet_id)) {
        crowd_broken(m, "packet identifier %u came twice", g->packet_id);
    }
    if (++m->in_flight > window) {
        crowd_broken(m, "%u in flight, over %u", m->in_flight, window);
    }
    bit_set(m->open, g->packet_id);
    if (g->qos == 1) {
        owe_answer(m, MQTT_PUBACK, g->packet_id);
        hear(w, m, g);
        return;
    }
    owe_answer(m, MQTT_PUBREC, g->packet_id);
    if (bit_get(m->received, g->packet_id)) {
        if (!g->dup) {
            crowd_broken(m, "packet identifier %u was used again before PUBREL", g->packet_id);
        }
        return;
    }
    bit_set(m->received, g->packet_id);
    hear(w, m, g);
}

static void on_connack(struct crowd *w, struct member *m, const struct got *g)
{
    if (g->reason != 0) {
        crowd_broken(m, "refused: 0x%x", g->reason);
    }
    if (m->surely_kept && !m->clean_start && !g->session_present) {
        crowd_broken(m, "the session is gone");
    }
    if (m->clean_start && g->session_present) {
        crowd_broken(m, "a session is present after Clean Start");
    }
    m->connected = true;
    if (g->session_present) {
        w->figures.resumed++;
        send_again(w, m);
    } else {
        forget_session(w, m, NO);
        forget_own(m);
    }
    m->forgot = false;
    m->surely_kept = m->expiry_s == MQTT_NO_EXPIRY;
}

static void on_packet(struct crowd *w, struct member *m, const struct got *g)
{
    crowd_trace(m, "<- %s id=%u 0x%x %s=%s qos=%u%s%s%s", mqtt_type_name(g->type), g->packet_id,
                g->reason, g->topic, g->payload, g->qos, g->dup ? " dup" : "",
                g->retain ? " retain" : "", g->session_present ? " present" : "");
    switch (g->type) {
    case MQTT_CONNACK:
        on_connack(w, m, g);
        break;
    case MQTT_PUBLISH:
        on_publish(w, m, g);
        break;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBCOMP:
        on_answer(w, m, g);
        break;
    case MQTT_PUBREL:
        bit_clear(m->received, g->packet_id);
        owe_answer(m, MQTT_PUBCOMP, g->packet_id);
        break;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        on_suback(m, g);
        break;
    case MQTT_PINGRESP:
        break;
    default:
        crowd_broken(m, "%s 0x%x", mqtt_type_name(g->type), g->reason);
    }
}

void crowd_listen_to(struct crowd *w, struct member *m)
{
    if (m->client == NULL) {
        return;
    }
    client_read(m->client);
    while (m->client->got_first < m->client->got_count) {
        const struct got g = m->client->got[m->client->got_first++];
        on_packet(w, m, &g);
    }
    if (io_fake_client_sees_end(w->n->net, m->client->fd)) {
        crowd_broken(m, "disconnected for nothing");
    }
}

/* The oldest so many answers that are owed. */
static void give_answers(struct member *m, unsigned count)
{
    if (m->client == NULL) {
        return;
    }
    count = count < m->answer_count ? count : m->answer_count;
    for (unsigned i = 0; i < count; i++) {
        const struct answer a = m->answers[i];
        crowd_trace(m, "%s %u", mqtt_type_name(a.type), a.packet_id);
        client_send_ack(m->client, a.type, a.packet_id, 0);
        if (a.type != MQTT_PUBREC && bit_get(m->open, a.packet_id)) {
            bit_clear(m->open, a.packet_id);
            m->in_flight--;
        }
    }
    m->answer_count -= count;
    memmove(m->answers, m->answers + count, m->answer_count * sizeof m->answers[0]);
}

/* ---- coming and going */

void crowd_lose_connection(struct crowd *w, struct member *m)
{
    if (m->connected) {
        m->left_ms = fake_node_now_ms();
    }
    m->client = NULL;
    m->connected = false;
    m->answer_count = 0;
    m->in_flight = 0;
    memset(m->open, 0, sizeof m->open);
    for (unsigned i = 0; i < FILTERS; i++) { /* what was asked for may have been done, or not */
        struct subscribed *s = &m->subscribed[i];
        if (s->packet_id != 0) {
            s->packet_id = 0;
            s->is = PERHAPS;
        }
    }
    if (m->expiry_s != MQTT_NO_EXPIRY) { /* whether it is still there, CONNACK will tell */
        forget_session(w, m, PERHAPS);
    }
    if (m->expiry_s == 0) {
        forget_own(m);
    }
}

static void give_up_connection(struct crowd *w, struct member *m)
{
    if (!m->connected) {
        fake_node_settle(w->n); /* or this CONNECT might be the one that is heard last */
    }
    crowd_lose_connection(w, m);
}

void crowd_come(struct crowd *w, struct member *m, bool clean_start, uint32_t expiry_s)
{
    const uint16_t next_id = m->client == NULL ? 1 : m->client->next_packet_id;
    if (m->client != NULL) { /* a takeover */
        crowd_listen_to(w, m);
        give_up_connection(w, m);
    }
    if (!m->surely_kept && fake_node_now_ms() - m->left_ms >= SHORT_EXPIRY * 1000) {
        forget_own(m);
    }
    if (m->version == MQTT_V31 || m->forgot) {
        clean_start = true; /* 3.1 does not tell whether the session is still there */
    }
    if (m->version != MQTT_V5) {
        expiry_s = clean_start ? 0 : MQTT_NO_EXPIRY;
    }
    if (clean_start) {
        forget_own(m);
    }
    m->clean_start = clean_start;
    m->expiry_s = expiry_s;
    m->surely_kept = m->surely_kept && !clean_start && expiry_s == MQTT_NO_EXPIRY;
    if (!m->surely_kept) {
        forget_session(w, m, PERHAPS);
    }
    ledger_reconnected(w->ledger, m->number);
    struct terms terms = {.version = m->version,
                          .clean_start = clean_start,
                          .session_expiry_s = expiry_s,
                          .receive_maximum = m->receive_maximum};
    char payload[16];
    if (crowd_choose(w, 4) == 0) {
        const uint8_t qos = (uint8_t)crowd_choose(w, 3);
        const uint32_t will = ledger_say(w->ledger, m->number, WILL_TOPIC, qos, 0);
        if (w->processes.disk != NULL) {
            ledger_any_order(w->ledger, will); /* a later one's session may be none that waits */
        }
        snprintf(payload, sizeof payload, "%u", will);
        terms.will_topic = crowd_topics[WILL_TOPIC];
        terms.will_payload = payload;
        terms.will_qos = qos;
    }
    m->client = client_open(w->n, crowd_choose(w, w->shards));
    m->client->acks = false;
    m->client->next_packet_id = next_id;
    for (unsigned i = 0; i < m->out_count; i++) { /* beyond what is open */
        const uint16_t id = m->out[i].packet_id;
        m->client->next_packet_id =
            id >= m->client->next_packet_id ? (uint16_t)(id + 1) : m->client->next_packet_id;
    }
    crowd_trace(m, "CONNECT version=%u clean=%d expiry=%u window=%u", m->version, clean_start,
                expiry_s, m->receive_maximum);
    client_send_connect(m->client, m->id, &terms);
}

static void leave(struct crowd *w, struct member *m)
{
    if (m->client == NULL) {
        return;
    }
    const uint32_t how = crowd_choose(w, 3);
    crowd_listen_to(w, m);
    crowd_trace(m, "leaves: %s", how == 0 ? "DISCONNECT" : how == 1 ? "end" : "reset");
    if (how == 0 && m->connected) {
        client_send_disconnect(m->client, 0);
        client_finish(m->client);
    } else if (how == 1) {
        client_finish(m->client);
    } else {
        client_reset(m->client);
    }
    give_up_connection(w, m);
}

/* ---- what happens */

struct session *crowd_session_of(struct crowd *w, const struct member *m)
{
    return session_find(fake_node_enter(w->n, fake_node_home(w->n, m->id)), bytes_text(m->id));
}

/* What the broker itself believes, whether or not the client has heard of it. */
static void check_session(struct crowd *w, const struct member *m)
{
    const struct session *session = crowd_session_of(w, m);
    if (session == NULL) {
        return;
    }
    outqueue_check(&session->out);
    if (session->conn == NULL) {
        return;
    }
    const uint32_t window = session->conn->receive_maximum < w->inflight_max
                                ? session->conn->receive_maximum
                                : w->inflight_max;
    if (outqueue_in_flight(&session->out) > window) {
        crowd_broken(m, "the broker has %u in flight, over %u", outqueue_in_flight(&session->out),
                     window);
    }
    if (session_received(session) > OPEN_MAX) {
        crowd_broken(m, "%u packets are not released, of %u that were open at most",
                     session_received(session), OPEN_MAX);
    }
}

/* All was heard and answered: nothing may be left in the session of one who is there. */
static void check_finished(struct crowd *w, const struct member *m)
{
    if (!m->connected) {
        return;
    }
    const struct session *session = crowd_session_of(w, m);
    if (session == NULL) {
        crowd_broken(m, "it is connected, and has no session");
    }
    if (!outqueue_is_empty(&session->out) || outqueue_in_flight(&session->out) > 0) {
        crowd_broken(m, "%llu deliveries are left in the session",
                     (unsigned long long)outqueue_waiting(&session->out) +
                         outqueue_in_flight(&session->out));
    }
    if (m->out_count == 0 && session_received(session) > 0) {
        crowd_broken(m, "%u packet identifiers are left in the session", session_received(session));
    }
}

static void act(struct crowd *w)
{
    struct member *m = &w->members[crowd_choose(w, MEMBERS)];
    static const uint32_t expiries[] = {0, SHORT_EXPIRY, MQTT_NO_EXPIRY, MQTT_NO_EXPIRY};
    switch (crowd_choose(w, 16)) {
    case 0:
        crowd_come(w, m, crowd_choose(w, 8) == 0, expiries[crowd_choose(w, 4)]);
        break;
    case 1:
        if (crowd_choose(w, 3) == 0) {
            leave(w, m);
        }
        break;
    case 2:
    case 3:
        subscribe(w, m);
        break;
    case 4:
        if (crowd_choose(w, 4) == 0) {
            unsubscribe(w, m);
        }
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        speak(w, m);
        break;
    case 9:
        crowd_listen_to(w, m);
        give_answers(m, 1 + crowd_choose(w, 4));
        break;
    case 10:
        crowd_listen_to(w, m);
        give_answers(m, UINT32_MAX);
        break;
    case 11:
    case 12:
        fake_node_step(w->n, crowd_choose(w, w->shards));
        break;
    case 13:
        fake_node_settle(w->n);
        break;
    case 14:
        fake_node_advance(w->n, 1 + crowd_choose(w, 4) * 3000u);
        break;
    default:
        if (m->client != NULL) {
            client_set_window(m->client, crowd_choose(w, 3) == 0 ? crowd_choose(w, 200) : SIZE_MAX);
        }
    }
}

/* Everybody who has a session that lasts comes back, and answers until nothing more comes. */
static void hear_the_rest(struct crowd *w)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *m = &w->members[i];
        if (m->client == NULL && m->surely_kept) {
            crowd_come(w, m, false, MQTT_NO_EXPIRY);
        } else if (m->client != NULL) {
            client_set_window(m->client, SIZE_MAX);
        }
    }
    bool busy = true;
    for (unsigned rounds = 0; busy; rounds++) {
        busy = false;
        fake_node_settle(w->n);
        crowd_let_disk_work(w);
        for (unsigned i = 0; i < MEMBERS; i++) {
            crowd_listen_to(w, &w->members[i]);
            busy = busy || w->members[i].answer_count > 0;
            give_answers(&w->members[i], UINT32_MAX);
        }
        busy = busy || fake_node_is_busy(w->n);
        if (rounds == 100000) {
            crowd_broken(&w->members[0], "it never ends");
        }
    }
    ledger_settle(w->ledger);
}

/* Nothing may be dropped for want of room or members here, but what had no session to go to. */
void crowd_check_drops(const struct crowd *w)
{
    static const enum metric never[] = {
        METRIC_drop_queue_full_oldest, METRIC_drop_queue_full_newest, METRIC_drop_expired,
        METRIC_drop_too_large,         METRIC_drop_shared_refused,    METRIC_drop_message_memory,
        METRIC_drop_refused,           METRIC_drop_not_allowed,       METRIC_drop_no_memory,
        METRIC_drop_will_shutdown,     METRIC_protocol_errors,        METRIC_connect_refused,
    };
    for (unsigned i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (fake_node_count(w->n, never[i]) > 0) {
            crowd_broken(&w->members[0], "%s", metrics_name(never[i]));
        }
    }
}

struct fake_node *crowd_new_node(const struct crowd *w, unsigned shards, const char *data_dir)
{
    const char *const settings[] = {w->strategy,
                                    w->inflight,
                                    w->output,
                                    "limits.session_expiry_max_s=4294967295",
                                    data_dir, /* NULL: none, and no more settings */
                                    "limits.packet_bytes_max=65536",
                                    "data.checkpoint_interval_s=5",
                                    "data.journal_segment_bytes=1MiB",
                                    NULL};
    return fake_node_create_again(shards, settings);
}

static void make_node(struct crowd *w)
{
    static const char *const strategies[] = {"round_robin", "random", "sticky", "hash_client",
                                             "hash_topic"};
    w->shards = 1 + crowd_choose(w, 3);
    w->inflight_max = crowd_choose(w, 2) == 0 ? 64 : 1 + crowd_choose(w, 8);
    snprintf(w->strategy, sizeof w->strategy, "shared_subscriptions.strategy=%s",
             strategies[crowd_choose(w, 5)]);
    snprintf(w->inflight, sizeof w->inflight, "limits.inflight_max=%u", w->inflight_max);
    w->output =
        crowd_choose(w, 2) == 0 ? "limits.output_bytes_max=1024" : "limits.output_bytes_max=1MiB";
    fake_node_set_clock();
    if (w->processes.disk != NULL) {
        crowd_open_disk(w);
    } else {
        w->n = crowd_new_node(w, w->shards, NULL);
    }
    if (w->shards > 1 && crowd_choose(w, 3) == 0) {
        fake_node_shrink_mail(w->n, 1024);
    }
    if (crowd_choose(w, 3) == 0) {
        io_fake_set_chunk(w->n->net, 1 + crowd_choose(w, 40));
    }
}

static void make_members(struct crowd *w)
{
    static const enum mqtt_version versions[] = {MQTT_V5, MQTT_V5, MQTT_V311, MQTT_V31};
    const uint32_t count = w->processes.disk == NULL ? 4 : 3; /* 3.1 has no lasting sessions here */
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *m = &w->members[i];
        m->number = i;
        snprintf(m->id, sizeof m->id, "m%u", i);
        m->version = versions[crowd_choose(w, count)];
        m->receive_maximum = m->version == MQTT_V5 ? (uint16_t)crowd_choose(w, 6) : 0;
    }
}

void crowd_run_on(struct crowd *w, struct chooser *chooser)
{
    w->chooser = chooser;
    w->ledger = ledger_create();
    make_node(w);
    make_members(w);
    while (chooser->has_more(chooser)) {
        if (!crowd_act_on_disk(w)) {
            act(w);
        }
        w->figures.actions++;
        for (unsigned i = 0; i < MEMBERS; i++) {
            check_session(w, &w->members[i]);
        }
    }
    hear_the_rest(w);
    for (unsigned i = 0; i < MEMBERS; i++) {
        check_finished(w, &w->members[i]);
    }
    crowd_check_drops(w);
}

void crowd_run(struct chooser *chooser, struct crowd_figures *figures)
{
    struct crowd *w = calloc(1, sizeof *w);
    if (w == NULL) {
        abort();
    }
    crowd_run_on(w, chooser);
    *figures = w->figures;
    fake_node_destroy(w->n);
    ledger_destroy(w->ledger);
    free(w);
}
