/* SPDX-License-Identifier: Apache-2.0 */
/* The four acknowledgements (3.4 to 3.7): of what was sent to the client, and, PUBREL, of what it
 * sent. */
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/conn/owed.h"
#include "broker/message.h"
#include "broker/session/kept.h"
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
        shard_drop(session->shard, METRIC_drop_shared_refused, session_client_id(session),
                   d->message == NULL ? bytes_of(NULL, 0)
                                      : message_topic(d->message)); /* [MQTT-4.8.2-6] */
    }
    shard_count(session->shard, METRIC_deliveries_acknowledged);
    kept_done(session, d);
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
    if (d->state != DELIVERY_RELEASED) {
        kept_released(c->session, d);
    }
    outqueue_release(&c->session->out, d);
    owed_reply(c, MQTT_PUBREL, packet_id, MQTT_REASON_SUCCESS);
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

static void complete(struct conn *c, void *context)
{
    const uint16_t packet_id = (uint16_t)(uintptr_t)context;
    if (c->phase != CONN_CONNECTED) {
        return;
    }
    const bool known = session_release(c->session, packet_id);
    if (known) {
        kept_freed(c->session, packet_id);
    }
    owed_reply(c, MQTT_PUBCOMP, packet_id,
               known ? MQTT_REASON_SUCCESS : MQTT_REASON_PACKET_IDENTIFIER_NOT_FOUND);
}

/* PUBREC first, where it is still owed. */
enum mqtt_reason on_pubrel(struct conn *c, const struct mqtt_packet *packet)
{
    void *const packet_id = (void *)(uintptr_t)packet->ack.packet_id;
    if (session_has_open(c->session, packet->ack.packet_id)) {
        owed_after_all(c, complete, packet_id);
    } else {
        complete(c, packet_id);
    }
    return MQTT_REASON_SUCCESS;
}
