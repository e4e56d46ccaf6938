/* SPDX-License-Identifier: Apache-2.0 */
/* The four acknowledgements (3.4 to 3.7): of what was sent to the client, and, PUBREL, of what it
 * sent. */
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/session/replay.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

/* A delivery has come to its end, or a step further: the window may be open again. */
static void go_on(struct session *session)
{
    session_pump(session);
    replay_pump(session);
}

static void done(struct session *session, struct delivery *d, uint8_t reason)
{
    if (reason >= MQTT_REASON_UNSPECIFIED_ERROR && d->of_group) {
        shard_count(session->shard, METRIC_drop_shared_refused); /* [MQTT-4.8.2-6] */
    }
    shard_count(session->shard, METRIC_deliveries_acknowledged);
    outqueue_done(&session->out, d);
    go_on(session);
}

enum mqtt_reason on_puback(struct conn *c, const struct mqtt_packet *packet)
{
    struct delivery *d = outqueue_find(&c->session->out, packet->ack.packet_id);
    if (d == NULL) {
        return MQTT_REASON_SUCCESS; /* of an earlier life: nothing hangs on it */
    }
    if (d->qos != 1) {
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    done(c->session, d, packet->ack.reason);
    return MQTT_REASON_SUCCESS;
}

enum mqtt_reason on_pubrec(struct conn *c, const struct mqtt_packet *packet)
{
    const uint16_t packet_id = packet->ack.packet_id;
    struct delivery *d = outqueue_find(&c->session->out, packet_id);
    if (d == NULL) {
        conn_send_ack(c, MQTT_PUBREL, packet_id, MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND);
        return MQTT_REASON_SUCCESS;
    }
    if (d->qos != 2) {
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    if (packet->ack.reason >= MQTT_REASON_UNSPECIFIED_ERROR) {
        done(c->session, d, packet->ack.reason);
        return MQTT_REASON_SUCCESS;
    }
    outqueue_release(&c->session->out, d);
    conn_send_ack(c, MQTT_PUBREL, packet_id, MQTT_REASON_SUCCESS);
    return MQTT_REASON_SUCCESS;
}

enum mqtt_reason on_pubcomp(struct conn *c, const struct mqtt_packet *packet)
{
    struct delivery *d = outqueue_find(&c->session->out, packet->ack.packet_id);
    if (d == NULL) {
        return MQTT_REASON_SUCCESS;
    }
    if (d->qos != 2 || d->state != DELIVERY_RELEASED) {
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    done(c->session, d, MQTT_REASON_SUCCESS);
    return MQTT_REASON_SUCCESS;
}

enum mqtt_reason on_pubrel(struct conn *c, const struct mqtt_packet *packet)
{
    const bool known = packet_ids_remove(&c->session->received, packet->ack.packet_id);
    conn_send_ack(c, MQTT_PUBCOMP, packet->ack.packet_id,
                  known ? MQTT_REASON_SUCCESS : MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND);
    return MQTT_REASON_SUCCESS;
}
