/* SPDX-License-Identifier: Apache-2.0 */
/* PINGREQ, DISCONNECT, AUTH, and a CONNECT too many (3.12, 3.14, 3.15, 3.1). */
#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/conn/life.h"
#include "broker/conn/owed.h"
#include "broker/login/exchange.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

static void answer_ping(struct conn *c, void *context)
{
    (void)context;
    struct mqtt_packet answer = {.type = MQTT_PINGRESP};
    if (c->phase == CONN_CONNECTED) {
        conn_send_packet(c, &answer, bytes_of(NULL, 0));
    }
}

static void answer_ping_after_replies(struct conn *c, void *context)
{
    owed_call(c, answer_ping, context);
}

/* Clients take PINGRESP for a sign that all before it was dealt with: so it does not overtake what
 * they are owed. */
enum mqtt_reason on_pingreq(struct conn *c, const struct mqtt_packet *packet)
{
    (void)packet;
    const bool disk_works =
        atomic_load_explicit(&c->shard->node->disk_troubles, memory_order_relaxed) == 0;
    if (c->owed > 0 && disk_works) {
        owed_after(c, answer_ping_after_replies, NULL);
    } else {
        answer_ping(c, NULL);
    }
    return MQTT_REASON_SUCCESS;
}

enum mqtt_reason on_second_connect(struct conn *c, const struct mqtt_packet *packet)
{
    (void)c;
    (void)packet;
    return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-3.1.0-2] */
}

enum mqtt_reason on_auth(struct conn *c, const struct mqtt_packet *packet)
{
    return exchange_again(c, &packet->auth);
}

enum mqtt_reason on_disconnect(struct conn *c, const struct mqtt_packet *packet)
{
    const struct mqtt_disconnect *m = &packet->disconnect;
    struct session *session = c->session;
    tally_reason(&c->shard->tally, TALLY_disconnect_received, m->reason);
    if (c->version == MQTT_V5 && property_has(&m->properties, PROPERTY_SESSION_EXPIRY_INTERVAL)) {
        const uint32_t asked_s = m->properties.session_expiry_interval_s;
        const uint32_t max_s = c->shard->config->limits.session_expiry_max_s;
        if (session->expiry_s == 0 && asked_s != 0) {
            return MQTT_REASON_PROTOCOL_ERROR; /* (3.14.2.2.2) */
        }
        session->expiry_s = asked_s < max_s ? asked_s : max_s;
    }
    /* 0x00 takes the will back; any other reason has it published (3.14.4). */
    const bool forget = c->version != MQTT_V5 || m->reason == MQTT_REASON_SUCCESS;
    conn_close(c, MQTT_REASON_SUCCESS, forget ? SESSION_WILL_FORGET : SESSION_WILL_PUBLISH);
    return MQTT_REASON_SUCCESS;
}
