/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/fake_client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "tests/fake/io_fake.h"

#define PROPERTIES_BYTES 512u
#define HEARD_BYTES      65536u

/* ---- writing */

struct fake_client *client_open(struct fake_node *n, unsigned shard)
{
    struct fake_client *c = calloc(1, sizeof *c);
    assert(c != NULL);
    c->n = n;
    c->fd = io_fake_connect(n->node->shards[shard]->io, 0);
    assert(c->fd >= 0);
    c->version = MQTT_V5;
    c->next_packet_id = 1;
    c->acks = true;
    c->next = n->clients;
    n->clients = c;
    return c;
}

void client_send_bytes(struct fake_client *c, const void *bytes, size_t len)
{
    io_fake_client_write(c->n->net, c->fd, bytes, len);
}

void client_send(struct fake_client *c, const struct mqtt_packet *packet)
{
    size_t size = 1024;
    size += packet->type == MQTT_PUBLISH ? packet->publish.payload.len : 0;
    uint8_t *out = malloc(size);
    size_t used;
    assert(out != NULL);
    const enum mqtt_err err = mqtt_encode(packet, c->version, out, size, &used);
    assert(err == MQTT_OK);
    client_send_bytes(c, out, used);
    free(out);
}

static void put_if(struct property_writer *w, enum property_id id, uint32_t value)
{
    if (value != 0) {
        property_put_number(w, id, value);
    }
}

static void put_will(struct mqtt_will *will, struct property_writer *w, const struct terms *t)
{
    put_if(w, PROPERTY_WILL_DELAY_INTERVAL, t->will_delay_s);
    put_if(w, PROPERTY_MESSAGE_EXPIRY_INTERVAL, t->will_expiry_s);
    will->qos = t->will_qos;
    will->retain = t->will_retain;
    will->topic = bytes_text(t->will_topic);
    will->payload = bytes_text(t->will_payload == NULL ? "" : t->will_payload);
    will->properties.raw = bytes_of(w->at, w->len);
}

void client_send_connect(struct fake_client *c, const char *id, const struct terms *t)
{
    uint8_t own[PROPERTIES_BYTES], of_will[PROPERTIES_BYTES];
    struct property_writer w = {.at = own, .size = sizeof own};
    struct property_writer will = {.at = of_will, .size = sizeof of_will};
    struct mqtt_packet packet = {.type = MQTT_CONNECT};
    struct mqtt_connect *m = &packet.connect;
    c->version = t->version == MQTT_VERSION_UNKNOWN ? MQTT_V5 : t->version;
    m->version = c->version;
    m->clean_start = t->clean_start;
    m->keep_alive_s = t->keep_alive_s;
    m->client_id = bytes_text(id);
    put_if(&w, PROPERTY_SESSION_EXPIRY_INTERVAL, t->session_expiry_s);
    put_if(&w, PROPERTY_RECEIVE_MAXIMUM, t->receive_maximum);
    put_if(&w, PROPERTY_MAXIMUM_PACKET_SIZE, t->maximum_packet_size);
    put_if(&w, PROPERTY_TOPIC_ALIAS_MAXIMUM, t->topic_alias_maximum);
    put_if(&w, PROPERTY_REQUEST_RESPONSE_INFORMATION, t->request_response_information);
    if (t->no_problem_information) {
        property_put_number(&w, PROPERTY_REQUEST_PROBLEM_INFORMATION, 0);
    }
    m->properties.raw = bytes_of(own, w.len);
    if (t->will_topic != NULL) {
        m->has_will = true;
        put_will(&m->will, &will, t);
    }
    client_send(c, &packet);
}

struct fake_client *client_connect(struct fake_node *n, unsigned shard, const char *id,
                                   const struct terms *terms)
{
    struct fake_client *c = client_open(n, shard);
    c->acks = !terms->silent;
    client_send_connect(c, id, terms);
    fake_node_settle(n);
    const struct got *connack = client_take(c, MQTT_CONNACK);
    if (connack != NULL) {
        c->connack = *connack;
    }
    return c;
}

void client_send_ack(struct fake_client *c, enum mqtt_type type, uint16_t packet_id, uint8_t reason)
{
    client_send(
        c, &(struct mqtt_packet){.type = type, .ack = {.packet_id = packet_id, .reason = reason}});
}

void client_send_disconnect(struct fake_client *c, uint8_t reason)
{
    client_send(c, &(struct mqtt_packet){.type = MQTT_DISCONNECT, .disconnect.reason = reason});
}

static uint16_t take_packet_id(struct fake_client *c)
{
    const uint16_t id = c->next_packet_id;
    c->next_packet_id = id == UINT16_MAX ? 1 : (uint16_t)(id + 1);
    return id;
}

uint16_t client_send_publish(struct fake_client *c, const struct say *say)
{
    uint8_t own[PROPERTIES_BYTES];
    struct property_writer w = {.at = own, .size = sizeof own};
    const char *text = say->payload == NULL ? "" : say->payload;
    const size_t len = say->payload_len == 0 ? strlen(text) : say->payload_len;
    uint8_t *payload = malloc(len + 1);
    assert(payload != NULL);
    memset(payload, '.', len);
    memcpy(payload, text, strlen(text) < len ? strlen(text) : len);
    struct mqtt_packet packet = {.type = MQTT_PUBLISH};
    struct mqtt_publish *m = &packet.publish;
    m->qos = say->qos;
    m->retain = say->retain;
    m->dup = say->dup;
    if (say->qos > 0) {
        m->packet_id = say->packet_id != 0 ? say->packet_id : take_packet_id(c);
    }
    m->topic = bytes_text(say->topic);
    m->payload = bytes_of(payload, len);
    if (say->has_expiry) {
        property_put_number(&w, PROPERTY_MESSAGE_EXPIRY_INTERVAL, say->expiry_s);
    }
    put_if(&w, PROPERTY_TOPIC_ALIAS, say->alias);
    m->properties.raw = bytes_of(own, w.len);
    client_send(c, &packet);
    free(payload);
    return m->packet_id;
}

uint16_t client_say(struct fake_client *c, const char *topic, const char *payload, uint8_t qos)
{
    return client_send_publish(c, SAY(.topic = topic, .payload = payload, .qos = qos));
}

static uint16_t send_filter(struct fake_client *c, enum mqtt_type type, const struct ask *ask)
{
    uint8_t filter[2048], own[16];
    const size_t len = strlen(ask->filter);
    assert(len + 3 <= sizeof filter);
    filter[0] = (uint8_t)(len >> 8);
    filter[1] = (uint8_t)len;
    memcpy(filter + 2, ask->filter, len);
    filter[2 + len] = (uint8_t)(ask->qos | ask->no_local << 2 | ask->retain_as_published << 3 |
                                ask->retain_handling << 4);
    struct property_writer w = {.at = own, .size = sizeof own};
    put_if(&w, PROPERTY_SUBSCRIPTION_IDENTIFIER, ask->identifier);
    struct mqtt_packet packet = {.type = type};
    packet.subscribe.packet_id = take_packet_id(c);
    packet.subscribe.count = 1;
    packet.subscribe.filters = bytes_of(filter, len + (type == MQTT_SUBSCRIBE ? 3 : 2));
    packet.subscribe.properties.raw = bytes_of(own, w.len);
    client_send(c, &packet);
    return packet.subscribe.packet_id;
}

uint16_t client_send_subscribe(struct fake_client *c, const struct ask *ask)
{
    return send_filter(c, MQTT_SUBSCRIBE, ask);
}

uint16_t client_send_unsubscribe(struct fake_client *c, const char *filter)
{
    return send_filter(c, MQTT_UNSUBSCRIBE, ASK(.filter = filter));
}

uint8_t client_subscribe_as(struct fake_client *c, const struct ask *ask)
{
    const uint16_t packet_id = client_send_subscribe(c, ask);
    fake_node_settle(c->n);
    const struct got *suback = client_take(c, MQTT_SUBACK);
    assert(suback != NULL && suback->packet_id == packet_id && suback->reason_count == 1);
    return suback->reason;
}

uint8_t client_subscribe(struct fake_client *c, const char *filter, uint8_t qos)
{
    return client_subscribe_as(c, ASK(.filter = filter, .qos = qos));
}

uint8_t client_unsubscribe(struct fake_client *c, const char *filter)
{
    const uint16_t packet_id = client_send_unsubscribe(c, filter);
    fake_node_settle(c->n);
    const struct got *unsuback = client_take(c, MQTT_UNSUBACK);
    assert(unsuback != NULL && unsuback->packet_id == packet_id);
    return unsuback->reason;
}

/* ---- reading */

static void text_of(char *out, size_t size, struct bytes text)
{
    const size_t len = text.len < size - 1 ? text.len : size - 1;
    if (len > 0) {
        memcpy(out, text.at, len);
    }
    out[len] = '\0';
}

static void note_identifiers(struct got *g, const struct mqtt_properties *p)
{
    struct bytes rest = p->raw;
    struct property property;
    while (property_next(&rest, &property)) {
        if (property.id == PROPERTY_SUBSCRIPTION_IDENTIFIER &&
            g->identifier_count < sizeof g->identifiers / sizeof g->identifiers[0]) {
            g->identifiers[g->identifier_count++] = property.number;
        }
    }
}

static void note_publish(struct got *g, const struct mqtt_publish *m)
{
    const struct mqtt_properties *p = &m->properties;
    g->packet_id = m->packet_id;
    g->qos = m->qos;
    g->dup = m->dup;
    g->retain = m->retain;
    assert(m->topic.len < sizeof g->topic);
    text_of(g->topic, sizeof g->topic, m->topic);
    text_of(g->payload, sizeof g->payload, m->payload);
    g->payload_len = m->payload.len;
    g->present = p->present;
    if (property_has(p, PROPERTY_TOPIC_ALIAS)) {
        g->topic_alias = p->topic_alias;
    }
    if (property_has(p, PROPERTY_MESSAGE_EXPIRY_INTERVAL)) {
        g->message_expiry_interval_s = p->message_expiry_interval_s;
    }
    note_identifiers(g, p);
}

static void note_connack(struct got *g, const struct mqtt_connack *m)
{
    const struct mqtt_properties *p = &m->properties;
    g->session_present = m->session_present;
    g->reason = m->reason;
    g->present = p->present;
    if (property_has(p, PROPERTY_SESSION_EXPIRY_INTERVAL)) {
        g->session_expiry_interval_s = p->session_expiry_interval_s;
    }
    if (property_has(p, PROPERTY_MAXIMUM_PACKET_SIZE)) {
        g->maximum_packet_size = p->maximum_packet_size;
    }
    if (property_has(p, PROPERTY_RECEIVE_MAXIMUM)) {
        g->receive_maximum = p->receive_maximum;
    }
    if (property_has(p, PROPERTY_TOPIC_ALIAS_MAXIMUM)) {
        g->topic_alias_maximum = p->topic_alias_maximum;
    }
    if (property_has(p, PROPERTY_SERVER_KEEP_ALIVE)) {
        g->server_keep_alive_s = p->server_keep_alive_s;
    }
    if (property_has(p, PROPERTY_ASSIGNED_CLIENT_IDENTIFIER)) {
        text_of(g->assigned_id, sizeof g->assigned_id, p->assigned_client_identifier);
    }
    if (property_has(p, PROPERTY_RESPONSE_INFORMATION)) {
        text_of(g->response_information, sizeof g->response_information, p->response_information);
    }
}

static void note(struct got *g, const struct mqtt_packet *packet)
{
    *g = (struct got){.type = packet->type};
    switch (packet->type) {
    case MQTT_CONNACK:
        note_connack(g, &packet->connack);
        break;
    case MQTT_PUBLISH:
        note_publish(g, &packet->publish);
        break;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        g->packet_id = packet->suback.packet_id;
        g->reason_count = (uint32_t)packet->suback.reasons.len;
        for (uint32_t i = 0; i < g->reason_count && i < sizeof g->reasons; i++) {
            g->reasons[i] = packet->suback.reasons.at[i];
        }
        g->reason = g->reasons[0];
        break;
    case MQTT_DISCONNECT:
        g->reason = packet->disconnect.reason;
        break;
    case MQTT_AUTH:
        g->reason = packet->auth.reason;
        if (property_has(&packet->auth.properties, PROPERTY_AUTHENTICATION_DATA)) {
            text_of(g->authentication_data, sizeof g->authentication_data,
                    packet->auth.properties.authentication_data);
        }
        break;
    case MQTT_PINGRESP:
        break;
    default:
        g->packet_id = packet->ack.packet_id;
        g->reason = packet->ack.reason;
    }
}

static struct got *next_place(struct fake_client *c)
{
    if (c->got_first == c->got_count) {
        c->got_first = c->got_count = 0;
    }
    if (c->got_count == c->got_capacity) {
        c->got_capacity = c->got_capacity == 0 ? 16 : 2 * c->got_capacity;
        c->got = realloc(c->got, c->got_capacity * sizeof *c->got);
        assert(c->got != NULL);
    }
    return &c->got[c->got_count++];
}

static void acknowledge(struct fake_client *c, const struct got *g)
{
    if (g->type == MQTT_PUBLISH && g->qos == 1) {
        client_send_ack(c, MQTT_PUBACK, g->packet_id, 0);
    } else if (g->type == MQTT_PUBLISH && g->qos == 2) {
        client_send_ack(c, MQTT_PUBREC, g->packet_id, 0);
    } else if (g->type == MQTT_PUBREL) {
        client_send_ack(c, MQTT_PUBCOMP, g->packet_id, 0);
    } else if (g->type == MQTT_PUBREC && g->reason < 0x80) {
        client_send_ack(c, MQTT_PUBREL, g->packet_id, 0);
    }
}

static void take_in(struct fake_client *c)
{
    const size_t more = io_fake_client_readable(c->n->net, c->fd);
    if (c->in_len + more > c->in_capacity) {
        c->in_capacity = 2 * (c->in_len + more);
        c->in = realloc(c->in, c->in_capacity);
        assert(c->in != NULL);
    }
    if (more > 0) {
        c->in_len += io_fake_client_read(c->n->net, c->fd, c->in + c->in_len, more);
    }
}

void client_read(struct fake_client *c)
{
    const struct mqtt_params params = {.version = c->version, .from_server = true};
    size_t at = 0, used;
    struct mqtt_packet packet;
    take_in(c);
    while (at < c->in_len && !c->broken) {
        const enum mqtt_err err = mqtt_decode(&packet, c->in + at, c->in_len - at, &params, &used);
        if (err == MQTT_ERR_NEED_MORE) {
            break;
        }
        c->broken = err != MQTT_OK;
        assert(!c->broken);
        struct got *g = next_place(c);
        note(g, &packet);
        if (c->acks && !io_fake_client_sees_close(c->n->net, c->fd)) {
            acknowledge(c, g);
        }
        at += used;
    }
    c->in_len -= at;
    if (at > 0) {
        memmove(c->in, c->in + at, c->in_len);
    }
}

/* What is read makes room for more, and what is acknowledged too. */
static void read_all(struct fake_client *c)
{
    fake_node_settle(c->n);
    while (io_fake_client_readable(c->n->net, c->fd) > 0) {
        client_read(c);
        fake_node_settle(c->n);
    }
}

const struct got *client_next(struct fake_client *c)
{
    read_all(c);
    return c->got_first == c->got_count ? NULL : &c->got[c->got_first++];
}

const struct got *client_take(struct fake_client *c, enum mqtt_type type)
{
    read_all(c);
    for (size_t i = c->got_first; i < c->got_count; i++) {
        if (c->got[i].type == type) {
            const struct got taken = c->got[i];
            memmove(&c->got[c->got_first + 1], &c->got[c->got_first],
                    (i - c->got_first) * sizeof taken);
            c->got[c->got_first] = taken;
            return &c->got[c->got_first++];
        }
    }
    return NULL;
}

const char *client_heard(struct fake_client *c)
{
    static char text[HEARD_BYTES];
    size_t len = 0;
    text[0] = '\0';
    for (const struct got *g; (g = client_take(c, MQTT_PUBLISH)) != NULL;) {
        const int n =
            snprintf(text + len, sizeof text - len, "%s%s=%s/%u%s%s", len == 0 ? "" : " ", g->topic,
                     g->payload, g->qos, g->retain ? "r" : "", g->dup ? "d" : "");
        len += (size_t)n;
        assert(len < sizeof text);
    }
    return text;
}

unsigned client_heard_count(struct fake_client *c)
{
    unsigned count = 0;
    while (client_take(c, MQTT_PUBLISH) != NULL) {
        count++;
    }
    return count;
}

void client_finish(struct fake_client *c)
{
    io_fake_client_finish(c->n->net, c->fd);
}

void client_reset(struct fake_client *c)
{
    io_fake_client_reset(c->n->net, c->fd);
}

void client_set_window(struct fake_client *c, size_t bytes)
{
    io_fake_client_set_window(c->n->net, c->fd, bytes);
}

bool client_is_ended(struct fake_client *c)
{
    read_all(c);
    return io_fake_client_sees_end(c->n->net, c->fd);
}
