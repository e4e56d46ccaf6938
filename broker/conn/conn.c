/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/conn.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/conn/alias.h"
#include "broker/conn/recorded.h"
#include "broker/image.h"
#include "broker/message.h"
#include "broker/relay/relay.h"
#include "broker/session/outqueue.h"
#include "broker/shard/shard.h"

/* Above this a payload is sent from the message itself: copying it would cost more than another
 * entry of the send (bench/). */
#define PAYLOAD_COPIED_MAX 8192u

/* An idle connection is little else; a larger one is of jemalloc's next class, 128 bytes more. */
_Static_assert(sizeof(struct conn) <= 512, "what an idle connection takes");

/* What each may have when those who do not read have taken all that there is for output. */
#define UNSENT_BYTES_SMALL 8192u

void conn_list_add(struct conn_list *list, struct conn *c, enum conn_listing which)
{
    if (conn_is_listed(c, which)) {
        return;
    }
    c->listed |= (uint8_t)(1u << which);
    c->links[which] = (struct conn_link){.prev = list->last};
    if (list->last == NULL) {
        list->first = c;
    } else {
        list->last->links[which].next = c;
    }
    list->last = c;
}

void conn_list_remove(struct conn_list *list, struct conn *c, enum conn_listing which)
{
    if (!conn_is_listed(c, which)) {
        return;
    }
    c->listed &= (uint8_t) ~(1u << which);
    const struct conn_link link = c->links[which];
    if (link.prev == NULL) {
        list->first = link.next;
    } else {
        link.prev->links[which].next = link.next;
    }
    if (link.next == NULL) {
        list->last = link.prev;
    } else {
        link.next->links[which].prev = link.prev;
    }
}

struct conn *conn_list_take(struct conn_list *list, enum conn_listing which)
{
    struct conn *c = list->first;
    if (c != NULL) {
        conn_list_remove(list, c, which);
    }
    return c;
}

uint64_t conn_output_max(const struct conn *c)
{
    const struct shard *s = c->shard;
    const uint64_t max = s->config->limits.output_bytes_max;
    return s->unsent_bytes >= s->memory_share && max > UNSENT_BYTES_SMALL ? UNSENT_BYTES_SMALL
                                                                          : max;
}

bool conn_output_full(const struct conn *c)
{
    return outbuf_bytes(&c->out) >= conn_output_max(c);
}

void conn_output_sent(struct conn *c, size_t bytes)
{
    c->shard->unsent_bytes -= bytes;
    outbuf_consume(&c->out, bytes);
}

bool conn_peer_has_gone(const struct conn *c)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (c->far) {
        return relay_client_has_gone(c);
    }
    return getsockopt(c->socket.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_state != TCP_ESTABLISHED;
}

void conn_doom(struct conn *c, uint8_t reason)
{
    if (!c->doomed) {
        c->doomed = true;
        c->doom = reason;
        conn_list_add(&c->shard->ready, c, CONN_READY);
    }
}

static void committed(struct conn *c, size_t len)
{
    outbuf_commit(&c->out, len);
    c->shard->unsent_bytes += len;
    shard_count(c->shard, METRIC_packets_sent);
    conn_flow(c, FLOW_BYTES_OUT, (uint32_t)len);
    conn_list_add(&c->shard->dirty, c, CONN_DIRTY);
}

/* Without memory for an answer the client could only wait for it forever. */
static void no_memory(struct conn *c)
{
    conn_doom(c, MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR);
}

/* ---- PUBLISH */

/* 5.0: what goes before the properties as they came from the publisher. */
#define OWN_PROPERTIES_BYTES (5u + 3u) /* message expiry interval, topic alias */
#define IDENTIFIER_BYTES     5u
#define PUBLISH_BYTES_MIN    5u /* around the properties: 1 + 1, topic 2, their length 1 */

static void put_own_properties(struct property_writer *w, struct conn *c,
                               const struct delivery *delivery, uint16_t alias)
{
    const struct message *m = delivery->message;
    if (m->has_expiry) {
        const uint64_t now_ms = c->shard->now_ms;
        const uint64_t left_ms = m->expires_ms > now_ms ? m->expires_ms - now_ms : 0;
        property_put_number(w, PROPERTY_MESSAGE_EXPIRY_INTERVAL,
                            (uint32_t)((left_ms + 999) / 1000));
    }
    if (alias != 0) {
        property_put_number(w, PROPERTY_TOPIC_ALIAS, alias);
    }
    if (delivery->identifier != 0) {
        property_put_number(w, PROPERTY_SUBSCRIPTION_IDENTIFIER, delivery->identifier);
    }
    const struct delivery_more *more = delivery_more(delivery);
    for (uint32_t i = 0; more != NULL && i < more->identifier_count; i++) {
        property_put_number(w, PROPERTY_SUBSCRIPTION_IDENTIFIER, more->identifiers[i]);
    }
    property_put_whole(w, message_properties(m));
}

static size_t properties_bound(const struct delivery *delivery)
{
    const struct delivery_more *more = delivery_more(delivery);
    const size_t identifiers = 1 + (size_t)(more == NULL ? 0 : more->identifier_count);
    return OWN_PROPERTIES_BYTES + IDENTIFIER_BYTES * identifiers +
           delivery->message->properties_len;
}

static void count_publish(struct conn *c, const struct message *m)
{
    conn_flow(c, FLOW_MESSAGES_OUT, 1);
    shard_count(c->shard, METRIC_publish_sent);
    metrics_add(&c->shard->metrics, METRIC_publish_bytes_sent, m->payload_len);
}

static enum conn_send put_publish(struct conn *c, const struct mqtt_publish *publish,
                                  struct message *m)
{
    const bool copied = publish->payload.len <= PAYLOAD_COPIED_MAX;
    const size_t room = mqtt_publish_head_bound(publish) + (copied ? publish->payload.len : 0);
    uint8_t *out = outbuf_reserve(&c->out, room);
    if (out == NULL) {
        return CONN_NO_MEMORY;
    }
    size_t used;
    const enum mqtt_err err = mqtt_publish_head_encode(publish, c->version, out, room, &used);
    assert(err == MQTT_OK); /* mqtt_publish_head_bound() is enough */
    if (copied && publish->payload.len > 0) {
        memcpy(out + used, publish->payload.at, publish->payload.len);
        used += publish->payload.len;
    }
    record_publish_sent(c, bytes_of(out, used), used + (copied ? 0 : publish->payload.len), m);
    committed(c, used);
    if (copied) {
        return CONN_SENT;
    }
    if (outbuf_add_payload(&c->out, m) != 0) {
        no_memory(c); /* half a packet is out: the stream cannot go on */
        return CONN_NO_MEMORY;
    }
    c->shard->unsent_bytes += publish->payload.len;
    conn_flow(c, FLOW_BYTES_OUT, (uint32_t)publish->payload.len);
    return CONN_SENT;
}

/* Is there nothing of this client's own in the packet, so that others get the same one? */
static bool has_image(const struct conn *c, const struct delivery *delivery, bool dup)
{
    const bool plain =
        c->version != MQTT_V5 || (delivery->identifier == 0 && delivery_more(delivery) == NULL &&
                                  !delivery->message->has_expiry && c->topic_alias_maximum == 0);
    return plain && !dup &&
           image_is_of(&c->shard->image, delivery->message, (enum mqtt_version)c->version,
                       delivery->qos, delivery->retain);
}

static enum conn_send put_image(struct conn *c, const struct message *m, uint16_t packet_id)
{
    const struct image *image = &c->shard->image;
    if (image->len > c->packet_bytes_max) {
        return CONN_TOO_LARGE;
    }
    uint8_t *out = outbuf_reserve(&c->out, image->len);
    if (out == NULL) {
        return CONN_NO_MEMORY;
    }
    image_write(image, packet_id, out);
    record_publish_sent(c, bytes_of(out, image->len), image->len, m);
    committed(c, image->len);
    count_publish(c, m);
    return CONN_SENT;
}

enum conn_send conn_send_publish(struct conn *c, const struct delivery *delivery,
                                 uint16_t packet_id, bool dup)
{
    ASSERT_OWNED(c->shard);

    if (has_image(c, delivery, dup)) {
        return put_image(c, delivery->message, packet_id);
    }
    struct message *m = delivery->message;
    struct mqtt_publish publish = {
        .dup = dup,
        .qos = delivery->qos,
        .retain = delivery->retain,
        .packet_id = packet_id,
        .topic = message_topic(m),
        .payload = message_payload(m),
    };
    uint8_t small[256];
    uint8_t *properties = small;
    if (c->version == MQTT_V5) {
        const size_t bound = properties_bound(delivery);
        if (bound > sizeof small && (properties = malloc(bound)) == NULL) {
            return CONN_NO_MEMORY;
        }
        struct property_writer w = {.at = properties, .size = bound};
        const uint16_t alias = alias_out_use(c, m, &publish.topic);
        put_own_properties(&w, c, delivery, alias);
        assert(!w.overflow);
        publish.properties.raw = bytes_of(properties, w.len);
    }
    enum conn_send sent = CONN_TOO_LARGE;
    if (publish.properties.raw.len + PUBLISH_BYTES_MIN <= c->packet_bytes_max &&
        mqtt_publish_size(&publish, c->version) <= c->packet_bytes_max) {
        sent = put_publish(c, &publish, m);
    }
    if (sent != CONN_SENT && c->version == MQTT_V5) {
        alias_out_forget(c, m); /* a mapping that the client will not have seen */
    }
    if (properties != small) {
        free(properties);
    }
    if (sent == CONN_SENT) {
        count_publish(c, m);
    }
    return sent;
}

/* ---- everything else */

void conn_send_ack(struct conn *c, enum mqtt_type type, uint16_t packet_id, uint8_t reason)
{
    struct mqtt_packet packet = {.type = type, .ack = {.packet_id = packet_id, .reason = reason}};
    uint8_t *out = outbuf_reserve(&c->out, 8);
    size_t used;
    if (out == NULL || mqtt_encode(&packet, c->version, out, 8, &used) != MQTT_OK) {
        no_memory(c);
        return;
    }
    record_sent(c, bytes_of(out, used));
    committed(c, used);
}

static struct mqtt_properties *properties_of(struct mqtt_packet *packet)
{
    switch (packet->type) {
    case MQTT_CONNACK:
        return &packet->connack.properties;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        return &packet->suback.properties;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        return &packet->disconnect.properties;
    default:
        return NULL;
    }
}

static bool try_packet(struct conn *c, const struct mqtt_packet *packet, size_t bound)
{
    uint8_t *out = outbuf_reserve(&c->out, bound);
    size_t used;
    if (out == NULL || mqtt_encode(packet, c->version, out, bound, &used) != MQTT_OK) {
        return false;
    }
    if (used > c->packet_bytes_max) {
        return false;
    }
    record_sent(c, bytes_of(out, used));
    committed(c, used);
    return true;
}

void conn_send_packet(struct conn *c, struct mqtt_packet *packet, struct bytes courtesy)
{
    ASSERT_OWNED(c->shard);

    struct mqtt_properties *properties = properties_of(packet);
    const bool list = packet->type == MQTT_SUBACK || packet->type == MQTT_UNSUBACK;
    const struct bytes own = properties == NULL ? bytes_of(NULL, 0) : properties->raw;
    const size_t bound = 32 + own.len + courtesy.len + (list ? packet->suback.reasons.len : 0);

    /* A failed CONNACK and a DISCONNECT may explain themselves even without Request Problem
     * Information [MQTT-3.1.2-29]. */
    const bool explain = c->version == MQTT_V5 && courtesy.len > 0 && properties != NULL &&
                         (c->problem_information || !list);
    uint8_t both[1024];
    if (explain && own.len + courtesy.len <= sizeof both) {
        if (own.len > 0) {
            memcpy(both, own.at, own.len);
        }
        memcpy(both + own.len, courtesy.at, courtesy.len);
        properties->raw = bytes_of(both, own.len + courtesy.len);
        if (try_packet(c, packet, bound)) {
            return;
        }
        properties->raw = own;
    }
    if (!try_packet(c, packet, bound)) {
        no_memory(c); /* or larger than the client takes: it cannot be told anything */
    }
}

const char *conn_address(const struct conn *c, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN];
    if (c->local && c->at.peer.uid == UNIX_ID_UNKNOWN) {
        snprintf(text, size, "unix");
    } else if (c->local) {
        snprintf(text, size, "unix:uid=%" PRIu32 ",pid=%" PRId32, c->at.peer.uid, c->at.peer.pid);
    } else if (IN6_IS_ADDR_V4MAPPED(&c->at.address)) {
        inet_ntop(AF_INET, &c->at.address.s6_addr[12], host, sizeof host);
        snprintf(text, size, "%s:%u", host, c->port);
    } else {
        inet_ntop(AF_INET6, &c->at.address, host, sizeof host);
        snprintf(text, size, "[%s]:%u", host, c->port);
    }
    return text;
}
