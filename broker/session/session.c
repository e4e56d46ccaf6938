/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/config/config.h"
#include "broker/conn/access.h"
#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/message.h"
#include "broker/ownership/ownership.h"
#include "broker/route/local.h"
#include "broker/session/backlog.h"
#include "broker/session/kept.h"
#include "broker/session/replay.h"
#include "broker/session/will.h"
#include "broker/shard/latency.h"
#include "broker/shard/shard.h"

#define NEVER UINT64_MAX

/* A start of a node finds the others within that time, or there are none (docs/cluster.md). */
#define JOINED_MS 15000u

/* Of a queue that is longer than it may be, since the limits were lowered, so many go for each that
 * comes, so that it grows shorter and no turn has to drop all of it. */
#define DROPS_AT_ONCE 4u

/* A queue this full lets no replay of retained messages in: live messages go first. */
#define REPLAY_ROOM_DIVISOR 2u

static void on_timer(struct timer *timer, uint64_t now_ms);

/* Seeded, unlike the hash that says which shard: nobody can choose identifiers that fall together.
 */
static uint64_t table_hash(const struct shard *s, struct bytes client_id)
{
    return XXH3_64bits_withSeed(client_id.at, client_id.len, s->node->seed);
}

struct session *session_find(struct shard *s, struct bytes client_id)
{
    ASSERT_OWNED(s);
    struct table_link *link = table_find(&s->sessions, table_hash(s, client_id));
    for (; link != NULL; link = table_find_next(link)) {
        struct session *session = table_object(link, struct session, by_client_id);
        if (bytes_equal(session_client_id(session), client_id)) {
            return session;
        }
    }
    return NULL;
}

/* Of very many sessions: the identifier begins where the last field ends. */
static size_t bytes_with(struct bytes client_id)
{
    const size_t bytes = offsetof(struct session, client_id) + client_id.len;
    return bytes < sizeof(struct session) ? sizeof(struct session) : bytes;
}

struct session *session_open(struct shard *s, struct bytes client_id, uint64_t client_hash)
{
    ASSERT_OWNED(s);
    assert(client_id.len <= UINT16_MAX);

    struct session *session = calloc(1, bytes_with(client_id));
    if (session == NULL) {
        return NULL;
    }
    session->shard = s;
    session->serial = shard_serial(s);
    session->client_hash = client_hash;
    session->ends_ms = NEVER;
    session->client_id_len = (uint16_t)client_id.len;
    memcpy(session->client_id, client_id.at, client_id.len);
    timer_init(&session->timer, on_timer);
    table_insert(&s->sessions, &session->by_client_id, table_hash(s, client_id));
    atomic_fetch_add_explicit(&s->node->sessions, 1, memory_order_relaxed);
    shard_count(s, METRIC_sessions_created);
    return session;
}

/* ---- what is pending */

struct pending *session_pending(struct session *session)
{
    if (session->pending == NULL) {
        session->pending = calloc(1, sizeof *session->pending);
    }
    return session->pending;
}

static void free_pending(struct session *session)
{
    struct pending *const p = session->pending;
    if (p != NULL) {
        packet_ids_fini(&p->received);
        packet_ids_fini(&p->open);
        fifo_fini(&p->begun);
        free(p);
        session->pending = NULL;
    }
}

enum packet_ids_err session_receive(struct session *session, uint16_t packet_id)
{
    struct pending *const p = session_pending(session);
    return p == NULL ? PACKET_IDS_NO_MEMORY : packet_ids_add(&p->received, packet_id);
}

bool session_release(struct session *session, uint16_t packet_id)
{
    return session->pending != NULL && packet_ids_remove(&session->pending->received, packet_id);
}

void session_rest(struct session *session)
{
    const struct pending *const p = session->pending;
    if (session->conn != NULL) {
        return;
    }
    outqueue_rest(&session->out);
    if (p != NULL && session_received(session) == 0 && p->begun.count == 0 && p->replays == NULL &&
        p->retaining == NULL) {
        free_pending(session);
    }
}

/* ---- the will */

void session_will_forget(struct session *session)
{
    if (session->will != NULL) {
        message_put(session->will->message);
        free(session->will);
        session->will = NULL;
    }
}

void session_drop(const struct session *session, enum metric reason, const struct message *m)
{
    shard_drop(session->shard, reason, session_client_id(session), message_topic(m));
}

/* With others it was their business, when this node was gone (broker/ownership). */
static bool leave_to_others(struct session *session)
{
    if (!session->will->is_revived || !ownership_is_elsewhere(session->shard)) {
        return false;
    }
    session_will_forget(session);
    kept_closed(session);
    return true;
}

void session_will_publish(struct session *session)
{
    struct shard *s = session->shard;
    struct will *will = session->will;
    if (will == NULL || leave_to_others(session)) {
        return;
    }
    session->will = NULL;
    if (s->ending) {
        session_drop(session, METRIC_drop_will_shutdown, will->message);
        message_put(will->message);
    } else {
        /* Nobody else has seen the message yet, so that its time may still be set. */
        will->message->has_expiry = will->has_expiry;
        will->message->expires_ms = s->now_ms + (uint64_t)will->expiry_s * 1000;
        latency_stamp(s, will->message);
        shard_count(s, METRIC_wills_published);
        if (session->kept != NULL && s->store != NULL) {
            will_begin(session, will->message);
        } else {
            shard_due(s, will->message, 0, 0, session->client_hash);
        }
    }
    free(will);
}

/* ---- beginning and end of a connection */

/* While this process ends nobody would get the will: that of a session that is kept is left to the
 * next one, which publishes it as soon as it has started (3.1.2.5). */
static bool leaves_will(const struct session *session)
{
    return session->shard->ending && session->kept != NULL && session->shard->store != NULL;
}

static void set_timer(struct session *session)
{
    uint64_t due_ms = session->ends_ms;
    if (session->will != NULL && session->will->due_ms < due_ms && !leaves_will(session)) {
        due_ms = session->will->due_ms;
    }
    if (due_ms == NEVER) {
        wheel_cancel(session->shard->wheel, &session->timer);
    } else {
        wheel_set(session->shard->wheel, &session->timer, due_ms);
    }
}

static void on_timer(struct timer *timer, uint64_t now_ms)
{
    struct session *session = table_object(timer, struct session, timer);
    if (session->will != NULL && session->will->due_ms <= now_ms && !leaves_will(session)) {
        session_will_publish(session);
    }
    if (session->ends_ms <= now_ms) {
        shard_count(session->shard, METRIC_sessions_expired);
        session_end(session);
        return;
    }
    set_timer(session);
}

void session_attach(struct session *session, struct conn *conn)
{
    ASSERT_OWNED(session->shard);
    assert(session->conn == NULL);

    session_will_forget(session); /* [MQTT-3.1.3-9]: reconnected before the delay was over */
    session->conn = conn;
    conn->live_from = session->out.next_number;
    session->ends_ms = NEVER;
    set_timer(session);
    outqueue_rewind(&session->out);
    local_set_online(session, true);
}

void session_detach(struct session *session, enum session_will will)
{
    struct shard *s = session->shard;
    ASSERT_OWNED(s);

    session->conn = NULL;
    local_set_online(session, false);
    replay_rest(session);
    session_rest(session);
    if (will == SESSION_WILL_FORGET) {
        session_will_forget(session);
    } else if (session->will != NULL && session->will->delay_s == 0 && !leaves_will(session)) {
        session_will_publish(session);
    } else if (session->will != NULL) {
        session->will->due_ms = s->now_ms + (uint64_t)session->will->delay_s * 1000;
    }
    if (session->expiry_s == 0) {
        session_end(session);
        return;
    }
    session->ends_ms = session->expiry_s == MQTT_NO_EXPIRY
                           ? NEVER
                           : s->now_ms + (uint64_t)session->expiry_s * 1000;
    set_timer(session);
    kept_closed(session);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void session_revived(struct session *session, uint64_t ends_ms, uint64_t will_due_ms)
{
    ASSERT_OWNED(session->shard);
    assert(session->conn == NULL);

    session->ends_ms = ends_ms;
    if (session->will != NULL) {
        const bool alone = session->shard->config->cluster.listen[0] == '\0';
        const uint64_t least_ms = alone ? 0 : session->shard->now_ms + JOINED_MS;
        session->will->is_revived = true;
        session->will->due_ms = later(will_due_ms, least_ms);
        session->ends_ms = later(ends_ms, least_ms);
    }
    set_timer(session);
    session_rest(session);
}

void session_waits(struct session *session, uint64_t ends_ms, uint64_t will_due_ms)
{
    ASSERT_OWNED(session->shard);
    assert(session->conn == NULL);

    session->ends_ms = ends_ms;
    if (session->will != NULL) {
        session->will->due_ms = will_due_ms;
    }
    set_timer(session);
    session_rest(session);
}

void session_vanish(struct session *session, uint8_t reason)
{
    ASSERT_OWNED(session->shard);
    struct conn *const c = session->conn;
    session_will_forget(session);
    kept_vanish(session);
    outqueue_fini(&session->out);
    session->expiry_s = 0; /* it ends with its connection */
    if (c != NULL) {
        conn_close(c, reason, SESSION_WILL_FORGET);
    } else {
        session_end(session);
    }
}

/* What a member of a shared subscription leaves behind goes to another one; the rest is lost. */
void session_give_up(struct session *session, struct outqueue *q)
{
    struct shard *s = session->shard;
    uint64_t at = 0;
    for (struct delivery *d; (d = outqueue_walk(q, &at)) != NULL;) {
        if (d->message == NULL) {
            continue; /* the client has it: only the handshake was not finished */
        }
        /* QoS 2 that was sent stays with its client, and goes with its session (4.8.2). */
        const bool may_move = d->state == DELIVERY_WAITING || d->qos == 1;
        if (d->of_group && may_move && !s->ending) {
            shard_count(s, METRIC_shared_redispatched);
            shard_due(s, message_take(d->message, 1), d->group_id, 0, 0);
        } else {
            session_drop(session, METRIC_drop_session_ended, d->message);
        }
    }
    outqueue_fini(q);
}

void session_end(struct session *session)
{
    struct shard *s = session->shard;
    ASSERT_OWNED(s);
    assert(session->conn == NULL);

    s->work += session->filters.count;
    session_will_publish(session); /* [MQTT-3.1.3-9]: the session's end, at the latest */
    kept_end(session);
    replay_forget_all(session);
    local_unsubscribe_all(session);
    session_give_up(session, &session->out);
    if (session->pending != NULL && session->pending->retaining != NULL) {
        *session->pending->retaining = NULL;
    }
    free_pending(session);
    wheel_cancel(s->wheel, &session->timer);
    table_remove(&s->sessions, &session->by_client_id);
    atomic_fetch_sub_explicit(&s->node->sessions, 1, memory_order_relaxed);
    shard_count(s, METRIC_sessions_ended);
    free(session);
}

/* ---- messages to the client */

static void drop(const struct session *session, const struct delivery *delivery, enum metric reason)
{
    session_drop(session, reason, delivery->message);
    message_put(delivery->message);
    free(delivery_more(delivery));
}

/* QoS 1 and 2 that cannot be queued: what the configuration says. true: there is room now. */
static bool make_room(struct session *session)
{
    struct shard *s = session->shard;
    switch (s->config->limits.session_queue_full) {
    case CONFIG_DROP_OLDEST:
        if (!backlog_drop_oldest(session)) {
            return false;
        }
        shard_drop(s, METRIC_drop_queue_full_oldest, session_client_id(session), bytes_of(NULL, 0));
        return true;
    case CONFIG_DISCONNECT:
        if (session->conn != NULL) {
            conn_doom(session->conn, MQTT_REASON_QUOTA_EXCEEDED);
        }
        return false;
    case CONFIG_DROP_NEWEST:
        break;
    }
    return false;
}

/* Into the queue, for which room is made; if that was longer than it may be, it has grown shorter.
 */
static enum outqueue_err queue(struct session *session, const struct delivery *delivery)
{
    static const struct outqueue_limits none = {.messages_max = UINT32_MAX,
                                                .bytes_max = UINT64_MAX};
    const struct config_limits *const conf = &session->shard->config->limits;
    const struct outqueue_limits limits = {.messages_max = conf->session_queue_messages_max,
                                           .bytes_max = conf->session_queue_bytes_max};
    const uint64_t bytes_max = backlog_waiting_bytes(session);
    enum outqueue_err err;
    unsigned dropped = 0;
    while ((err = backlog_push(session, delivery, &limits)) == OUTQUEUE_FULL) {
        if (dropped >= DROPS_AT_ONCE &&
            backlog_waiting_bytes(session) + outqueue_delivery_bytes(delivery) <= bytes_max) {
            return backlog_push(session, delivery, &none);
        }
        if (!make_room(session)) {
            break;
        }
        dropped++;
    }
    return err;
}

void session_deliver(struct session *session, const struct delivery *delivery)
{
    struct shard *s = session->shard;
    ASSERT_OWNED(s);

    session_pump(session); /* what waits goes first, and may make room */
    const enum outqueue_err err = queue(session, delivery);
    switch (err) {
    case OUTQUEUE_OK:
        shard_count(s, METRIC_deliveries_queued);
        kept_queued(session, backlog_newest(session));
        session_pump(session);
        break;
    case OUTQUEUE_FULL:
        drop(session, delivery, METRIC_drop_queue_full_newest);
        break;
    case OUTQUEUE_NO_MEMORY:
        drop(session, delivery, METRIC_drop_no_memory);
        break;
    }
}

static void skip(struct session *session, const struct delivery *d)
{
    kept_done(session, d);
    outqueue_skip(&session->out);
}

/* The client may not get the delivery at the queue's cursor, or not any longer; of a group, another
 * member may, unless this one has been sent it before. */
static void hide(struct session *session, const struct delivery *d)
{
    struct shard *s = session->shard;
    if (d->of_group && d->state == DELIVERY_WAITING) {
        shard_count(s, METRIC_shared_redispatched);
        shard_due_again(s, message_take(d->message, 1), d->group_id, 0, 0, 1);
    } else {
        session_drop(session, METRIC_drop_hidden, d->message);
    }
    skip(session, d);
}

/* Sends the delivery at the queue's cursor; false: not now. */
static bool send_next(struct session *session, struct delivery *d, uint16_t packet_id)
{
    struct conn *c = session->conn;
    struct shard *s = session->shard;
    if (d->state == DELIVERY_RELEASED) {
        conn_send_ack(c, MQTT_PUBREL, packet_id, MQTT_REASON_SUCCESS);
        outqueue_sent(&session->out);
        return true;
    }
    if (!access_sees(session, d->message)) {
        hide(session, d);
        return true;
    }
    const bool again = d->state == DELIVERY_SENT;
    if (!again && message_expired(d->message, s->now_ms)) {
        session_drop(session, METRIC_drop_expired, d->message);
        skip(session, d);
        return true;
    }
    switch (conn_send_publish(c, d, packet_id, again)) {
    case CONN_SENT:
        if (again) {
            shard_count(s, METRIC_publish_resent);
        } else if (!d->replayed && d->number >= c->live_from) {
            latency_delivered(s, d->message->came_us, d->qos);
        }
        outqueue_sent(&session->out);
        return true;
    case CONN_TOO_LARGE: /* [MQTT-3.1.2-25]: as if it had been delivered */
        session_drop(session, METRIC_drop_too_large, d->message);
        skip(session, d);
        return true;
    case CONN_NO_MEMORY: /* nothing would make us try again; the session keeps the message */
        conn_doom(c, MQTT_REASON_IMPLEMENTATION_SPECIFIC_ERROR);
        break;
    }
    return false;
}

void session_pump(struct session *session)
{
    struct conn *c = session->conn;
    if (c == NULL || (outqueue_is_empty(&session->out) && !backlog_refill(session))) {
        return;
    }
    uint16_t window = c->receive_maximum;
    if (window > session->shard->config->limits.inflight_max) {
        window = (uint16_t)session->shard->config->limits.inflight_max;
    }
    do {
        while (c->phase == CONN_CONNECTED && !c->doomed && !conn_output_full(c)) {
            uint16_t packet_id;
            struct delivery *d = outqueue_next(&session->out, window, &packet_id);
            if (d == NULL || !kept_may_send(session, d) || !send_next(session, d, packet_id)) {
                break;
            }
        }
    } while (backlog_refill(session));
}

bool session_has_room(const struct session *session)
{
    const struct config_limits *limits = &session->shard->config->limits;
    const uint64_t messages_max = limits->session_queue_messages_max / REPLAY_ROOM_DIVISOR;
    return session->conn != NULL && !session->conn->doomed && !conn_output_full(session->conn) &&
           backlog_waiting(session) <= messages_max &&
           backlog_waiting_bytes(session) <= limits->session_queue_bytes_max / REPLAY_ROOM_DIVISOR;
}
