/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/traced.h"

#include "broker/conn/alias.h"
#include "broker/conn/conn.h"
#include "broker/message.h"
#include "broker/recorder/trace.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/packet_head.h"

struct note_peer traced_peer(const struct conn *c)
{
    struct note_peer peer = {.port = c->port, .listener = c->listener};
    if (!c->local) {
        peer.address = c->at.address;
    }
    return peer;
}

static struct trace_party party_of(const struct conn *c, const struct note_peer *peer,
                                   struct bytes client_id)
{
    return (struct trace_party){.peer = peer, .local = c->local, .client_id = client_id};
}

static struct bytes name_of(const struct conn *c)
{
    return c->session == NULL ? bytes_of("", 0) : session_client_id(c->session);
}

/* Whose CONNECT was refused has no session, but has said who it is: what is known of it stays until
 * somebody begins or ends to watch. */
static void put(struct conn *c, struct bytes client_id, struct trace_event *event)
{
    struct recorder *const r = &c->shard->recorder;
    const struct note_peer peer = traced_peer(c);
    const struct trace_party party = party_of(c, &peer, client_id);
    if (c->traced_generation != r->tracing_generation) {
        c->traced_generation = r->tracing_generation;
        c->traced = tracing_whose(r, &party);
    }
    if (c->traced != 0) {
        event->at_us = c->shard->node->clock_us();
        const unsigned lost = tracing_put(r, c->traced, &party, event);
        metrics_add(&c->shard->metrics, METRIC_trace_events_lost, lost);
    }
}

void traced_anew(struct conn *c)
{
    c->traced_generation = c->shard->recorder.tracing_generation - 1;
}

/* The topic that the client means: an alias may stand for it. */
static struct bytes topic_of(struct conn *c, const struct mqtt_publish *publish)
{
    struct bytes topic = publish->topic;
    if (topic.len == 0 && property_has(&publish->properties, PROPERTY_TOPIC_ALIAS) &&
        alias_in_resolve(c, publish->properties.topic_alias, &topic) != MQTT_REASON_SUCCESS) {
        topic = bytes_of(NULL, 0);
    }
    return topic;
}

void traced_received(struct conn *c, const struct mqtt_packet *packet, struct bytes bytes)
{
    struct trace_event event = {.kind = NOTE_RECEIVED,
                                .version = c->version,
                                .length = (uint32_t)bytes.len,
                                .head = bytes_of(bytes.at, packet_head(bytes))};
    struct bytes client_id = name_of(c);
    if (packet->type == MQTT_CONNECT) {
        client_id = packet->connect.client_id;
        event.version = (uint8_t)packet->connect.version;
        traced_anew(c);
    } else if (packet->type == MQTT_PUBLISH) {
        event.topic = topic_of(c, &packet->publish);
        event.payload = packet->publish.payload;
    }
    put(c, client_id, &event);
}

void traced_sent(struct conn *c, struct bytes begin, size_t len, const struct message *m)
{
    struct trace_event event = {.kind = NOTE_SENT,
                                .version = c->version,
                                .length = (uint32_t)len,
                                .head = bytes_of(begin.at, packet_head(begin))};
    if (m != NULL) {
        event.topic = message_topic(m);
        event.payload = message_payload(m);
    }
    put(c, name_of(c), &event);
}

void traced_event(struct conn *c, enum note_kind kind, uint8_t code, size_t len, struct bytes text)
{
    struct trace_event event = {
        .kind = kind, .code = code, .version = c->version, .length = (uint32_t)len, .head = text};
    put(c, name_of(c), &event);
}

void traced_drop(struct shard *s, enum metric reason, struct bytes client_id, struct bytes topic)
{
    const struct session *const session = client_id.len == 0 ? NULL : session_find(s, client_id);
    const struct conn *const c = session == NULL ? NULL : session->conn;
    const struct note_peer peer = c == NULL ? (struct note_peer){0} : traced_peer(c);
    const struct trace_party party = {
        .peer = c == NULL ? NULL : &peer, .local = c != NULL && c->local, .client_id = client_id};
    const uint8_t whose = tracing_whose(&s->recorder, &party);
    if (whose != 0) {
        const struct trace_event event = {.at_us = s->node->clock_us(),
                                          .kind = NOTE_DROPPED,
                                          .code = (uint16_t)reason,
                                          .topic = topic};
        metrics_add(&s->metrics, METRIC_trace_events_lost,
                    tracing_put(&s->recorder, whose, &party, &event));
    }
}
