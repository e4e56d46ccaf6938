/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/input.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/conn/life.h"
#include "broker/conn/recorded.h"
#include "broker/conn/socket.h"
#include "broker/conn/wire.h"
#include "broker/guard/guard.h"
#include "broker/guard/publish_rate.h"
#include "broker/log/log.h"
#include "broker/login/exchange.h"
#include "broker/login/login.h"
#include "broker/relay/relay.h"
#include "broker/remote/forward.h"
#include "broker/session/replay.h"
#include "broker/shard/shard.h"

/* A blocked connection that has sent this much more is not read from. */
#define WAITING_BYTES_MAX 65536u

/* Work (shard.h) that a connection may cause before the others go on: about a millisecond. A
 * PUBLISH of 40 bytes can match a hundred thousand filters, and hundreds come in one read. Less
 * would cut a stream to a hundred subscribers into smaller sends: at a quarter of it each delivery
 * costs 0.124 us instead of 0.070. */
#define WORK_PER_VISIT 16384u

/* Who holds more than this may have to go when unread input takes too much. */
#define UNREAD_BYTES_SMALL 4096u

/* An empty cell is a packet that the client may not send in that phase [MQTT-3.1.0-1, 3.1.0-2]. */
static packet_fn *const handlers[][MQTT_TYPES] = {
    [CONN_AWAIT_CONNECT] = {[MQTT_CONNECT] = on_connect},
    [CONN_CONNECTED] =
        {
            [MQTT_CONNECT] = on_second_connect,
            [MQTT_PUBLISH] = on_publish,
            [MQTT_PUBACK] = on_puback,
            [MQTT_PUBREC] = on_pubrec,
            [MQTT_PUBREL] = on_pubrel,
            [MQTT_PUBCOMP] = on_pubcomp,
            [MQTT_SUBSCRIBE] = on_subscribe,
            [MQTT_UNSUBSCRIBE] = on_unsubscribe,
            [MQTT_PINGREQ] = on_pingreq,
            [MQTT_DISCONNECT] = on_disconnect,
            [MQTT_AUTH] = on_auth,
        },
};

static bool is_open(const struct conn *c)
{
    return (c->phase == CONN_AWAIT_CONNECT || c->phase == CONN_CONNECTED) && !c->doomed;
}

/* ---- reasons to wait */

static bool memory_is_short(struct conn *c, const struct mqtt_publish *publish)
{
    struct shard *s = c->shard;
    if (!s->memory_full) {
        c->stalled_ms = 0;
        return false;
    }
    if (publish->qos == 0) {
        return false; /* dropped and counted by on_publish() */
    }
    if (c->stalled_ms == 0) {
        c->stalled_ms = s->now_ms;
    }
    /* After a while waiting is given up, and on_publish() refuses. */
    return s->now_ms - c->stalled_ms < (uint64_t)s->config->limits.message_stall_s * 1000;
}

/* Must this packet wait? */
static bool must_wait(struct conn *c, const struct mqtt_packet *packet)
{
    struct shard *s = c->shard;
    if (outbuf_bytes(&c->out) >= 2 * conn_output_max(c)) {
        c->blocked |= BLOCKED_OUTPUT;
        shard_count(s, METRIC_output_stalled);
        return true;
    }
    if (packet->type == MQTT_PUBLISH &&
        (shard_congested(s) || memory_is_short(c, &packet->publish) ||
         (c->forwarded != 0 && forward_is_slow(s, &c->forwarded)))) {
        c->blocked |= BLOCKED_ROOM;
        conn_list_add(&s->stalled, c, CONN_STALLED);
        shard_count(s, METRIC_publish_stalled);
        return true;
    }
    return packet->type == MQTT_PUBLISH && publish_rate_is_set(s) &&
           publish_rate_is_over(c, &packet->publish);
}

/* ---- packets */

/*
 * The version that a CONNECT which could not be decoded asked for, as far as its bytes tell, so
 * that the answer has the right form; UNKNOWN: no answer.
 */
static enum mqtt_version version_asked_for(const uint8_t *data, size_t len)
{
    static const uint8_t name_and_level[] = {0, 4, 'M', 'Q', 'T', 'T', MQTT_V5};
    size_t at = 1;
    while (at < len && at < 5 && (data[at] & 0x80) != 0) {
        at++;
    }
    at++;
    return len > at && len - at >= sizeof name_and_level &&
                   memcmp(data + at, name_and_level, sizeof name_and_level) == 0
               ? MQTT_V5
               : MQTT_VERSION_UNKNOWN;
}

static void bad_input(struct conn *c, enum mqtt_err err, const struct mqtt_packet *packet,
                      const uint8_t *data, size_t len)
{
    struct shard *s = c->shard;
    char address[CONN_ADDRESS_TEXT];
    const uint8_t reason = (uint8_t)mqtt_err_reason(err);
    shard_count(s, METRIC_protocol_errors);
    if (c->phase == CONN_CONNECTED) {
        conn_close(c, reason, SESSION_WILL_PUBLISH);
        return;
    }
    log_event(LOG_WARNING, "connect_malformed",
              LOG_TEXT("peer", conn_address(c, address, sizeof address)),
              LOG_TEXT("reason", mqtt_reason_text(reason)));
    if (c->aside != NULL) {
        connect_refuse(c, MQTT_V5, reason);
    } else if (err ==
               MQTT_ERR_VERSION) { /* [MQTT-3.1.2-2]: in the form that an older client reads too */
        connect_refuse(c, packet->connect.version == MQTT_V5 ? MQTT_V5 : MQTT_V311, reason);
    } else if (err == MQTT_ERR_CLIENT_ID) {
        connect_refuse(c, MQTT_V31, reason);
    } else {
        connect_refuse(c, version_asked_for(data, len), reason);
    }
}

/* Who holds much of what is not dealt with yet is known. */
static void list_unread(struct conn *c)
{
    struct shard *s = c->shard;
    if (c->in_capacity + c->aside_len > UNREAD_BYTES_SMALL) {
        conn_list_add(&s->unread, c, CONN_UNREAD);
    } else {
        conn_list_remove(&s->unread, c, CONN_UNREAD);
    }
}

/* What one packet leads to. */
enum step { STEP_ON, STEP_STOP, STEP_MOVE };

/* CONNECT's bytes are wanted again when the exchange is over. */
static enum step set_aside(struct conn *c, struct bytes packet)
{
    c->aside = malloc(packet.len);
    if (c->aside == NULL) {
        connect_refuse(c, MQTT_V5, MQTT_REASON_SERVER_BUSY);
        return STEP_ON;
    }
    memcpy(c->aside, packet.at, packet.len);
    c->aside_len = (uint32_t)packet.len;
    c->shard->unread_bytes += packet.len;
    list_unread(c);
    return STEP_ON;
}

static void received(struct conn *c, const struct mqtt_packet *packet, struct bytes bytes)
{
    shard_count(c->shard, METRIC_packets_received);
    conn_flow(c, FLOW_BYTES_IN, (uint32_t)bytes.len);
    record_received(c, packet, bytes);
}

/* Between CONNECT and CONNACK. */
static enum step hear(struct conn *c, const struct mqtt_packet *packet, struct bytes bytes)
{
    received(c, packet, bytes);
    const enum mqtt_reason reason = exchange_hear(c, packet);
    if (reason >= MQTT_REASON_UNSPECIFIED_ERROR) {
        shard_count(c->shard, METRIC_protocol_errors);
        connect_refuse(c, MQTT_V5, (uint8_t)reason);
    }
    return STEP_ON;
}

/* Is it known who it is, so that CONNECT can be answered? Otherwise *step says what to do. */
static bool is_settled(struct conn *c, const struct mqtt_packet *packet, struct bytes bytes,
                       enum step *step)
{
    const struct mqtt_connect *const m = &packet->connect;
    if (exchange_is_asked_for(c, m)) {
        if (exchange_begin(c, m)) {
            return true;
        }
        received(c, packet, bytes);
        *step = set_aside(c, bytes);
        return false;
    }
    *step = STEP_STOP; /* until its verdict */
    return login_is_settled(c, m);
}

/* Is CONNECT dealt with by another shard, or another node? *step says what to do then. */
static bool is_elsewhere(struct conn *c, const struct mqtt_packet *packet, struct bytes bytes,
                         enum step *step)
{
    const struct mqtt_connect *const m = &packet->connect;
    const struct relay_place place = connect_place(c, m);
    const bool is_here = place.shard == c->shard->id;
    if (is_here && place.home == RELAY_HERE) {
        return false;
    }
    if (!c->far && !is_here) {
        c->blocked |= wire_is_busy(c) ? BLOCKED_MOVE : 0; /* until wire_sent() */
        *step = wire_is_busy(c) ? STEP_STOP : STEP_MOVE;
        return true;
    }
    /* It has come here as to its home: it does not go from node to node. */
    const enum mqtt_reason reason =
        c->far ? MQTT_REASON_USE_ANOTHER_SERVER : relay_begin(c, m, &place);
    *step = STEP_STOP;
    if (reason != MQTT_REASON_SUCCESS) {
        received(c, packet, bytes);
        connect_refuse(c, m->version, (uint8_t)reason);
        *step = STEP_ON;
    }
    return true;
}

static enum step handle(struct conn *c, const struct mqtt_packet *packet, struct bytes bytes)
{
    enum step step;
    if (c->aside != NULL) {
        return hear(c, packet, bytes);
    }
    if (c->phase == CONN_AWAIT_CONNECT && packet->type == MQTT_CONNECT &&
        is_elsewhere(c, packet, bytes, &step)) {
        return step;
    }
    if (must_wait(c, packet)) {
        return STEP_STOP;
    }
    if (c->phase == CONN_AWAIT_CONNECT && packet->type == MQTT_CONNECT) {
        guard_judge(c, &packet->connect);
        if (!is_settled(c, packet, bytes, &step)) {
            return step;
        }
    }
    received(c, packet, bytes);
    packet_fn *const handler = handlers[c->phase][packet->type];
    const enum mqtt_reason reason =
        handler == NULL ? MQTT_REASON_PROTOCOL_ERROR : handler(c, packet);
    if (reason >= MQTT_REASON_UNSPECIFIED_ERROR) {
        shard_count(c->shard, METRIC_protocol_errors);
        conn_close(c, (uint8_t)reason, SESSION_WILL_PUBLISH);
    }
    return STEP_ON;
}

struct consumed {
    size_t len;    /* dealt with */
    size_t wanted; /* the size of the packet that begins there; 0: it is there already */
    bool move;
    unsigned to;
};

static void wait_for_turn(struct conn *c)
{
    c->blocked |= BLOCKED_TURN;
    shard_count(c->shard, METRIC_input_deferred);
    conn_list_add(&c->shard->ready, c, CONN_READY);
}

static struct consumed consume(struct conn *c, const uint8_t *data, size_t len)
{
    struct consumed done = {0};
    const struct mqtt_params fixed = {.packet_bytes_max = c->server_packet_bytes_max};
    const uint64_t work_before = c->shard->work;
    while (is_open(c) && c->blocked == 0 && done.len < len) {
        if (c->shard->work - work_before >= WORK_PER_VISIT) {
            wait_for_turn(c);
            break;
        }
        struct mqtt_params params = fixed;
        params.version = c->version;
        struct mqtt_packet packet;
        size_t used = 0;
        const uint8_t *const at = data + done.len;
        const enum mqtt_err err = mqtt_decode(&packet, at, len - done.len, &params, &used);
        if (err == MQTT_ERR_NEED_MORE) {
            done.wanted = used;
            break;
        }
        if (err != MQTT_OK) {
            record_malformed(c, bytes_of(at, len - done.len), (uint8_t)mqtt_err_reason(err));
            bad_input(c, err, &packet, at, len - done.len);
            break;
        }
        c->more_input = done.len + used < len;
        if (c->phase == CONN_AWAIT_CONNECT && packet.type == MQTT_CONNECT) {
            connect_complete(c, &packet.connect);
        }
        const enum step step = handle(c, &packet, bytes_of(at, used));
        if (step == STEP_MOVE) {
            done.move = true;
            done.to = connect_place(c, &packet.connect).shard;
            break;
        }
        if (step == STEP_STOP) {
            break;
        }
        done.len += used;
    }
    return done;
}

/* ---- bytes */

/* The buffer has that capacity from now on. */
static void hold(struct conn *c, size_t capacity)
{
    c->shard->unread_bytes += capacity - c->in_capacity;
    c->in_capacity = (uint32_t)capacity; /* a packet and a receive buffer at most */
    list_unread(c);
}

/* A password among it is nowhere in our memory when CONNECT has been dealt with
 * (docs/hardening.md). */
static void wipe(void *at, size_t len)
{
    if (len > 0) {
        explicit_bzero(at, len);
    }
}

static bool may_have_secrets(const struct conn *c)
{
    return c->phase == CONN_AWAIT_CONNECT || c->phase == CONN_RELAYED || exchange_has_secrets(c);
}

static void release(struct conn *c)
{
    wipe(c->in, c->in_secret ? c->in_capacity : 0);
    c->in_secret = false;
    free(c->in);
    c->in = NULL;
    c->in_len = 0;
    hold(c, 0);
}

void input_take_back(struct conn *c)
{
    c->shard->unread_bytes -= c->aside_len;
    wipe(c->aside, c->aside_len);
    free(c->aside);
    c->aside = NULL;
    c->aside_len = 0;
    list_unread(c);
}

void input_forget(struct conn *c)
{
    release(c);
    input_take_back(c);
}

/*
 * A packet that never ends costs its sender little and us its whole size: too much of that, and
 * whoever has been longest without one that did goes first. One alone may take what it needs.
 */
static void limit_unread(struct shard *s)
{
    while (s->unread_bytes > s->memory_share && s->unread.first != s->unread.last) {
        struct conn *c = s->unread.first;
        shard_count(s, METRIC_unread_refused);
        input_forget(c); /* which takes it off the list */
        conn_doom(c, MQTT_REASON_QUOTA_EXCEEDED);
    }
}

/* The same for what has been set aside without having been kept before. */
static void limit_aside(const struct conn *c)
{
    if (c->aside != NULL) {
        limit_unread(c->shard);
    }
}

/* false: no memory. */
static bool grow(struct conn *c, size_t capacity)
{
    if (!c->in_secret || c->in == NULL) {
        uint8_t *const in = realloc(c->in, capacity);
        c->in = in == NULL ? c->in : in;
        return in != NULL;
    }
    uint8_t *const in = malloc(capacity);
    if (in != NULL) {
        memcpy(in, c->in, c->in_len);
        wipe(c->in, c->in_capacity);
        free(c->in);
        c->in = in;
    }
    return in != NULL;
}

/* The connection may be doomed, and its input forgotten, when this returns. */
static bool keep(struct conn *c, const uint8_t *data, size_t len)
{
    if (c->in_len + len > c->in_capacity || c->in == NULL) {
        size_t capacity = c->in_capacity == 0 ? 64 : c->in_capacity;
        while (capacity < c->in_len + len) {
            capacity *= 2;
        }
        if (!grow(c, capacity)) {
            return false;
        }
        hold(c, capacity);
    }
    c->in_secret = c->in_secret || may_have_secrets(c);
    memcpy(c->in + c->in_len, data, len);
    c->in_len += (uint32_t)len;
    limit_unread(c->shard);
    return true;
}

static void discard(struct conn *c, size_t len)
{
    if (len == c->in_len) {
        release(c);
    } else if (len > 0) {
        c->in_len -= (uint32_t)len;
        memmove(c->in, c->in + len, c->in_len);
        wipe(c->in + c->in_len, c->in_secret ? len : 0);
        conn_list_remove(&c->shard->unread, c, CONN_UNREAD); /* it has got on: to the end */
        hold(c, c->in_capacity);
    }
}

/* What a client sends whose packets are another node's; what cannot go at once waits here. */
static bool relay(struct conn *c, const uint8_t *data, size_t len)
{
    if (c->doomed) { /* what was before it may be forgotten */
        return true;
    }
    const size_t taken = c->in_len == 0 ? relay_take(c, data, len) : 0;
    if (taken < len && !keep(c, data + taken, len - taken)) {
        conn_close(c, MQTT_REASON_SERVER_BUSY, SESSION_WILL_FORGET);
        return true;
    }
    relay_read_on(c);
    return true;
}

void input_relay_on(struct conn *c)
{
    if (c->in_len > 0) {
        discard(c, relay_take(c, c->in, c->in_len));
    }
    relay_read_on(c);
}

/* While it is blocked up to some bytes may wait; but what is over its rate waits in the client. */
static bool wants_input(const struct conn *c)
{
    return c->blocked == 0 || (c->in_len < WAITING_BYTES_MAX && (c->blocked & BLOCKED_RATE) == 0);
}

/* Reads on, or not: one receive at a time before CONNECT, so that the connection can move at once.
 */
void input_read_on(struct conn *c)
{
    if (!is_open(c) || c->peer_ended) {
        return;
    }
    if (c->phase == CONN_AWAIT_CONNECT) {
        if ((c->blocked & (BLOCKED_MOVE | BLOCKED_LOGIN)) == 0) {
            socket_receive_once(c);
        }
    } else if (c->receiving && !wants_input(c)) {
        c->receiving = false;
        socket_receive_stop(c);
    } else if (!c->receiving && wants_input(c)) {
        c->receiving = true;
        socket_receive_start(c);
    }
}

static bool receive(struct conn *c, const uint8_t *data, size_t len)
{
    if (c->phase == CONN_RELAYED) {
        return relay(c, data, len);
    }
    if (c->in_len == 0 && c->blocked == 0) { /* the common case: nothing is copied */
        const struct consumed done = consume(c, data, len);
        if (done.move) {
            conn_move(c, done.to, data + done.len, len - done.len);
            return false;
        }
        if (c->phase == CONN_RELAYED) {
            return relay(c, data + done.len, len - done.len);
        }
        c->in_wanted = (uint32_t)done.wanted;
        limit_aside(c);
        if (is_open(c) && done.len < len && !keep(c, data + done.len, len - done.len)) {
            conn_close(c, MQTT_REASON_SERVER_BUSY, SESSION_WILL_PUBLISH);
            return true;
        }
        input_read_on(c);
        return true;
    }
    if (!keep(c, data, len)) {
        conn_close(c, MQTT_REASON_SERVER_BUSY, SESSION_WILL_PUBLISH);
        return true;
    }
    if ((c->blocked & BLOCKED_TURN) == 0) {
        return input_resume(c);
    }
    input_read_on(c);
    return true;
}

bool input_received(struct conn *c, const uint8_t *data, size_t len)
{
    ASSERT_OWNED(c->shard);
    assert(len > 0);

    const bool secret = may_have_secrets(c);
    const bool is_here = receive(c, data, len);
    wipe((void *)(uintptr_t)data, secret ? len : 0); /* a buffer that others write, too */
    return is_here;
}

bool input_resume(struct conn *c)
{
    struct shard *s = c->shard;
    ASSERT_OWNED(s);

    if (c->doomed && c->phase < CONN_LINGERING) {
        conn_close(c, c->doom, SESSION_WILL_PUBLISH);
        return true;
    }
    if (c->phase == CONN_RELAYED) {
        input_relay_on(c);
        return true;
    }
    c->blocked &= (uint16_t)~BLOCKED_TURN;
    if (is_open(c) && c->blocked == 0 && c->in_len > 0 && c->in_len >= c->in_wanted) {
        const struct consumed done = consume(c, c->in, c->in_len);
        if (done.move) {
            conn_move(c, done.to, c->in + done.len, c->in_len - done.len);
            return false;
        }
        if (c->in != NULL) { /* conn_close() has taken it away otherwise */
            c->in_wanted = (uint32_t)done.wanted;
            discard(c, done.len);
        }
        if (c->phase == CONN_RELAYED) {
            input_relay_on(c);
            return true;
        }
        limit_aside(c);
    }
    if (c->session != NULL) {
        replay_pump(c->session);
    }
    if (c->peer_ended && c->blocked == 0) {
        conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_PUBLISH);
        return true;
    }
    input_read_on(c);
    return true;
}

void input_unblock(struct conn *c, unsigned why)
{
    c->blocked &= (uint16_t)~why;
    if (c->blocked == 0) {
        conn_list_add(&c->shard->ready, c, CONN_READY);
    }
}
