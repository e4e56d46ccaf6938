/* SPDX-License-Identifier: Apache-2.0 */
/* The side that has the socket: what the client sends goes to the other node, and what that says,
 * to the client. */
#include <assert.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/conn/socket.h"
#include "broker/conn/trust.h"
#include "broker/log/log.h"
#include "broker/relay/relay_parts.h"
#include "broker/transport/listener.h"
#include "proto/node_hello.h"
#include "proto/reason.h"
#include "proto/utf8.h"

/* On top of the time that the other node gives for CONNECT. */
#define ANSWER_MS 2000u

/* ---- beginning */

static enum mqtt_reason may_begin(struct conn *c, const struct mqtt_connect *connect,
                                  const struct relay_place *place)
{
    struct shard *const s = c->shard;
    struct node *const node = s->node;
    if (s->ending || s->leaving) {
        return MQTT_REASON_SERVER_UNAVAILABLE;
    }
    if (place->home == RELAY_NOWHERE ||
        (peers_features(s, place->home - RELAY_PEER) & NODE_FEATURE_RELAY) == 0) {
        shard_count(s, METRIC_relays_refused);
        return MQTT_REASON_SERVER_UNAVAILABLE;
    }
    if (!trust_has(c, connect->client_id)) {
        return MQTT_REASON_NOT_AUTHORIZED;
    }
    const int64_t clients = atomic_load_explicit(&node->clients, memory_order_relaxed) +
                            atomic_load_explicit(&node->relays_near, memory_order_relaxed);
    if (clients >= (int64_t)s->config->limits.connections_max ||
        listener_is_over(&node->listeners[c->listener], 0)) {
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    return MQTT_REASON_SUCCESS;
}

/* It must not make a frame that is refused. */
static struct bytes name_of(const struct conn *c, enum config_name_from from)
{
    const struct bytes name = socket_name(c, from);
    return name.len <= NODE_RELAY_NAME_MAX && utf8_valid(name) ? name : bytes_of(NULL, 0);
}

static void say_open(struct shard *s, const struct conn *c, const struct relay *r)
{
    static const enum config_name_from kinds[NODE_RELAY_NAMES] = {
        [NODE_RELAY_COMMON_NAME] = CONFIG_FROM_COMMON_NAME,
        [NODE_RELAY_DNS] = CONFIG_FROM_SAN_DNS,
        [NODE_RELAY_URI] = CONFIG_FROM_SAN_URI,
        [NODE_RELAY_EMAIL] = CONFIG_FROM_SAN_EMAIL,
    };
    struct node_relay open = {.type = NODE_FRAME_RELAY_OPEN,
                              .listener = c->listener,
                              .port = c->port,
                              .flags = c->local ? NODE_RELAY_LOCAL : 0};
    if (c->local) {
        open.uid = c->at.peer.uid;
        open.gid = c->at.peer.gid;
        open.pid = (uint32_t)c->at.peer.pid;
    } else {
        memcpy(open.address, &c->at.address, sizeof open.address);
    }
    for (unsigned i = 0; i < NODE_RELAY_NAMES; i++) {
        open.names[i] = name_of(c, kinds[i]);
    }
    relay_say(s, r, &open);
}

static void log_begun(const struct conn *c, struct bytes client_id, unsigned peer)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_DEBUG, "client_relayed", LOG_BYTES("client_id", client_id),
              LOG_TEXT("peer", conn_address(c, address, sizeof address)),
              LOG_BYTES("node", peers_name(c->shard, peer)));
}

enum mqtt_reason relay_begin(struct conn *c, const struct mqtt_connect *connect,
                             const struct relay_place *place)
{
    struct shard *const s = c->shard;
    ASSERT_OWNED(s);
    assert(place->shard == s->id);
    assert(c->relay == NULL);

    const struct bytes id = connect->client_id;
    const enum mqtt_reason reason = may_begin(c, connect, place);
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    const unsigned peer = place->home - RELAY_PEER;
    struct relay *const r =
        relay_make(s, false, peer, s->id,
                   relays_of(s)->next_id++ * NODE_RELAY_PARTITIONS + place->partition, id.len);
    if (r == NULL) {
        return MQTT_REASON_SERVER_BUSY;
    }
    if (id.len > 0) {
        memcpy(r->text, id.at, id.len);
    }
    r->conn = c;
    c->relay = r;
    c->phase = CONN_RELAYED;
    c->version = (uint8_t)connect->version;
    c->packet_bytes_max = connect_packet_bytes_max(connect);
    shard_count(s, METRIC_relays_begun);
    log_begun(c, id, peer);
    wheel_set(s->wheel, &c->timer,
              s->now_ms + (uint64_t)s->config->limits.connect_timeout_s * 1000 + ANSWER_MS);
    say_open(s, c, r);
    return MQTT_REASON_SUCCESS;
}

struct bytes relay_client_id(const struct conn *c)
{
    return bytes_of(c->relay->text, c->relay->text_len);
}

/* ---- from the client */

size_t relay_take(struct conn *c, const uint8_t *data, size_t len)
{
    bool stalled;
    const size_t taken = relay_say_data(c->shard, c->relay, bytes_of(data, len), &stalled);
    if (stalled) {
        relay_list_add(c->shard, c->relay, RELAY_STALLED);
    }
    return taken;
}

static void say_left(struct shard *s, struct relay *r)
{
    const struct node_relay end = {.type = NODE_FRAME_RELAY_END, .why = NODE_RELAY_ENDED};
    r->left_said = true;
    relay_say(s, r, &end);
}

void relay_read_on(struct conn *c)
{
    struct relay *const r = c->relay;
    const bool wanted = c->in_len == 0 && !r->left && !c->doomed;
    if (r->left && !r->left_said && c->in_len == 0) {
        say_left(c->shard, r);
    }
    if (c->peer_ended || wanted == c->receiving) {
        return;
    }
    c->receiving = wanted;
    if (wanted) {
        socket_receive_start(c);
    } else {
        socket_receive_stop(c);
    }
}

void relay_client_left(struct conn *c)
{
    c->relay->left = true;
    relay_read_on(c);
}

void near_go_on(struct shard *s, struct relay *r)
{
    (void)s;
    input_relay_on(r->conn);
}

/* ---- to the client */

bool relay_may_tell(const struct conn *c)
{
    const struct boundary *const b = &c->relay->boundary;
    return b->connected && boundary_is_between(b);
}

void relay_sent(struct conn *c, size_t bytes)
{
    relay_give_credit(c->shard, c->relay, bytes);
}

/* A client that has been answered, but is not connected, has heard already. */
static void tell(struct conn *c, uint8_t reason)
{
    if (!c->relay->boundary.begun) {
        connect_refuse(c, (enum mqtt_version)c->version, reason);
    } else {
        conn_close(c, relay_may_tell(c) ? reason : MQTT_REASON_SUCCESS, SESSION_WILL_FORGET);
    }
}

static void broken(struct shard *s, const struct relay *r)
{
    shard_count(s, METRIC_relays_broken);
    log_event(LOG_WARNING, "relay_broken", LOG_BYTES("node", peers_name(s, r->peer)),
              LOG_BYTES("client_id", relay_client_id(r->conn)));
    conn_close(r->conn, MQTT_REASON_SUCCESS, SESSION_WILL_FORGET);
}

static void on_data(struct shard *s, struct relay *r, struct bytes data)
{
    struct conn *const c = r->conn;
    if (!relay_take_room(r, data.len)) {
        broken(s, r);
        return;
    }
    if (!r->boundary.begun) {
        wheel_cancel(s->wheel, &c->timer);
    }
    boundary_pass(&r->boundary, data);
    if (outbuf_put(&c->out, data.at, data.len) != 0) {
        conn_abort(c);
        return;
    }
    s->unsent_bytes += data.len;
    metrics_add(&s->metrics, METRIC_relay_bytes_received, data.len);
    conn_list_add(&s->dirty, c, CONN_DIRTY);
}

static void on_end(struct shard *s, struct relay *r, uint8_t why)
{
    struct conn *const c = r->conn;
    relay_is_over(s, r);
    if (why == NODE_RELAY_REFUSED || why == NODE_RELAY_MOVED) {
        shard_count(s, METRIC_relays_refused);
        tell(c, why == NODE_RELAY_MOVED ? MQTT_REASON_USE_ANOTHER_SERVER
                                        : MQTT_REASON_SERVER_UNAVAILABLE);
    } else {
        conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_FORGET); /* what has come goes first */
    }
}

void near_heard(struct shard *s, struct relay *r, const struct node_relay *words)
{
    switch (words->type) {
    case NODE_FRAME_RELAY_DATA:
        on_data(s, r, words->data);
        break;
    case NODE_FRAME_RELAY_CREDIT:
        if (words->credit > NODE_RELAY_WINDOW - r->credit) {
            broken(s, r);
            return;
        }
        r->credit += words->credit;
        relay_list_add(s, r, RELAY_DUE);
        break;
    default:
        on_end(s, r, words->why);
        break;
    }
}

/* ---- the end */

void near_lost(struct shard *s, struct relay *r)
{
    (void)s;
    tell(r->conn, MQTT_REASON_USE_ANOTHER_SERVER);
}

void relay_timed_out(struct conn *c)
{
    char address[CONN_ADDRESS_TEXT];
    struct shard *const s = c->shard;
    shard_count(s, METRIC_relays_unanswered);
    log_event(LOG_WARNING, "relay_unanswered", LOG_BYTES("node", peers_name(s, c->relay->peer)),
              LOG_BYTES("client_id", relay_client_id(c)),
              LOG_TEXT("peer", conn_address(c, address, sizeof address)));
    tell(c, MQTT_REASON_SERVER_UNAVAILABLE);
}

void relay_close(struct conn *c)
{
    relay_say_end(c->shard, c->relay, NODE_RELAY_GONE);
    relay_forget(c);
}
