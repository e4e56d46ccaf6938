/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/wire.h"

#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/guard/guard.h"
#include "broker/histogram.h"
#include "broker/log/log.h"
#include "broker/relay/relay.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/transport/listener.h"
#include "broker/transport/transport.h"

/*
 * TLS hellos that are answered in one turn of the loop: the others of the shard wait that long. A
 * whole handshake is 0.6 ms (ECDSA P-256) to 2.4 ms (RSA 2048), one that resumes half a millisecond
 * or less (docs/performance.md).
 */
#define FULL_PER_TURN      1u
#define RETURNING_PER_TURN 4u

/*
 * With so many waiting, TLS listeners are left alone until half of them are answered: who comes
 * waits in the kernel, where no time-out runs, and not among those who would wait longer than
 * theirs. As many as this wait less than a second; among them those who come back go first.
 */
#define HELLOS_WAITING_MAX 256u

/* ---- beginning and end */

static const struct listener *listener_of(const struct conn *c)
{
    return &c->shard->node->listeners[c->listener];
}

static void log_refused(const struct conn *c, const char *event, const char *why)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_WARNING, event, LOG_TEXT("peer", conn_address(c, address, sizeof address)),
              LOG_TEXT("listener", listener_of(c)->settings.url), LOG_TEXT("reason", why));
}

/* Where it stands among those at a handshake. */
static struct conn_list *list_of(const struct conn *c)
{
    struct shard *s = c->shard;
    if (!c->hello_waits) {
        return &s->silent;
    }
    return transport_resumes(c->transport) ? &s->returning : &s->costly;
}

static void set_turn(struct conn *c, bool ours)
{
    conn_list_remove(list_of(c), c, CONN_HANDSHAKE);
    c->shard->hellos += (unsigned)ours - (unsigned)c->hello_waits;
    c->hello_waits = ours;
    conn_list_add(list_of(c), c, CONN_HANDSHAKE);
}

static void handshake_begins(struct conn *c)
{
    c->handshaking = true;
    atomic_fetch_add_explicit(&c->shard->node->handshakes, 1, memory_order_relaxed);
    conn_list_add(list_of(c), c, CONN_HANDSHAKE);
}

static void handshake_over(struct conn *c)
{
    if (c->handshaking) {
        set_turn(c, false);
        conn_list_remove(&c->shard->silent, c, CONN_HANDSHAKE);
        c->handshaking = false;
        atomic_fetch_sub_explicit(&c->shard->node->handshakes, 1, memory_order_relaxed);
    }
}

/* A client needs moments for its part of a handshake; who wants to shut others out, all the time
 * there is. So who has been silent for longest goes when there is no room for another. */
static bool make_room(struct shard *s)
{
    if (atomic_load_explicit(&s->node->handshakes, memory_order_relaxed) <
        (int64_t)s->config->limits.handshakes_max) {
        return true;
    }
    struct conn *const c = s->silent.first;
    if (c == NULL) {
        return false;
    }
    shard_count(s, METRIC_handshakes_displaced);
    log_refused(c, "handshake_displaced", "handshakes_max; no other has been silent for longer");
    handshake_over(c);
    conn_abort(c);
    return true;
}

static void handshake_failed(struct conn *c)
{
    shard_count(c->shard, METRIC_handshakes_failed);
    tally_listener(&c->shard->tally, c->listener, TALLY_handshakes_failed, 1);
}

bool wire_open(struct conn *c)
{
    struct shard *s = c->shard;
    const struct listener *l = listener_of(c);
    if (!listener_has_layers(l)) {
        return true;
    }
    if (l->proxy && !address_ranges_have(&l->proxy_from, &c->at.address)) {
        handshake_failed(c);
        log_refused(c, "proxy_header_refused", "its address is none of proxy_from");
        return false;
    }
    if (!make_room(s)) {
        shard_count(s, METRIC_handshakes_refused);
        log_refused(c, "connection_refused", "handshakes_max");
        return false;
    }
    c->transport = transport_create(l);
    if (c->transport == NULL) {
        log_refused(c, "connection_refused", "out of memory");
        return false;
    }
    handshake_begins(c);
    return true;
}

void wire_close(struct conn *c)
{
    handshake_over(c);
    c->shard->unsent_bytes -= c->wire_bytes;
    c->wire_bytes = 0;
    transport_destroy(c->transport);
    c->transport = NULL;
}

bool wire_is_handshaking(const struct conn *c)
{
    return c->handshaking;
}

/* ---- receiving */

/* The wire's bytes are unsent output as the others are. */
static void account(struct conn *c)
{
    const size_t bytes = outbuf_bytes(transport_wire(c->transport));
    c->shard->unsent_bytes += bytes - c->wire_bytes;
    c->wire_bytes = bytes;
}

/* false: who it turns out to be is not let in. */
static bool take_address(struct conn *c)
{
    const struct transport_peer *peer = transport_peer(c->transport);
    if (!peer->told || c->admitted) {
        return true;
    }
    c->local = false;
    c->at.address = peer->address;
    c->port = peer->port;
    return guard_admits(c);
}

static void opened(struct conn *c)
{
    handshake_over(c);
    if (listener_of(c)->url.tls) {
        struct shard *const s = c->shard;
        const bool resumed = transport_resumed(c->transport);
        shard_count(s, resumed ? METRIC_handshakes_resumed : METRIC_handshakes_full);
        histogram_add(&s->histograms,
                      resumed ? HISTOGRAM_handshake_resumed : HISTOGRAM_handshake_full,
                      s->node->clock_us() - c->accepted_us, 1);
    }
    conn_await_connect(c);
    if (transport_is_plain(c->transport)) {
        wire_close(c);
    }
}

static void failed(struct conn *c)
{
    const struct transport_refusal refusal = transport_refusal(c->transport);
    if (c->handshaking) {
        handshake_failed(c);
    } else {
        shard_count(c->shard, METRIC_transport_failed);
    }
    log_refused(c, refusal.event, refusal.why);
    handshake_over(c);
    conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_PUBLISH);
}

/* MQTT's bytes, which are in the scratch, are dealt with before what has ended the stream behind
 * them. The connection may have moved away, and be gone, when this returns. */
static void go_on(struct conn *c, enum transport_step step)
{
    const struct transport_scratch *scratch = &c->shard->scratch;
    if (!take_address(c)) {
        handshake_over(c);
        conn_abort(c);
        return;
    }
    if (step == TRANSPORT_COSTLY) {
        shard_count(c->shard, METRIC_handshakes_deferred);
        set_turn(c, true);
        return;
    }
    account(c);
    if (wire_is_busy(c)) {
        conn_list_add(&c->shard->dirty, c, CONN_DIRTY);
    }
    if (c->handshaking && transport_is_open(c->transport)) {
        opened(c);
    }
    if (scratch->len > 0) {
        if (!input_received(c, scratch->at, scratch->len)) {
            return;
        }
    } else if (step == TRANSPORT_ON) {
        input_read_on(c);
    }
    wire_resume(c);
}

void wire_resume(struct conn *c)
{
    if (c->transport == NULL) {
        return;
    }
    if (transport_is_refused(c->transport)) {
        failed(c);
    } else if (transport_has_ended(c->transport)) {
        conn_peer_left(c);
    }
}

void wire_received(struct conn *c, const uint8_t *data, size_t len)
{
    go_on(c, transport_receive(c->transport, bytes_of(data, len), &c->shard->scratch));
}

static void answer_hellos(struct shard *s, struct conn_list *list, unsigned most)
{
    unsigned answered = 0;
    for (struct conn *c; answered < most && (c = list->first) != NULL; answered++) {
        set_turn(c, false);
        if (c->phase == CONN_AWAIT_CONNECT) {
            go_on(c, transport_go_on(c->transport, &s->scratch));
        }
    }
}

static void pace(struct shard *s)
{
    const bool paused = s->hellos >= (s->tls_paused ? HELLOS_WAITING_MAX / 2 : HELLOS_WAITING_MAX);
    if (paused == s->tls_paused || s->ending) {
        return;
    }
    s->tls_paused = paused;
    for (unsigned i = 0; i < s->listener_count; i++) {
        if (s->node->listeners[i].url.tls) {
            shard_pause(s, i, PAUSED_HELLOS, paused);
        }
    }
}

void wire_handshakes(struct shard *s)
{
    answer_hellos(s, &s->returning, RETURNING_PER_TURN);
    answer_hellos(s, &s->costly, FULL_PER_TURN);
    pace(s);
}

/* ---- sending */

bool wire_is_busy(const struct conn *c)
{
    return c->transport != NULL && outbuf_bytes(transport_wire(c->transport)) > 0;
}

/* MQTT's bytes are on their way. */
static void output_left(struct conn *c, size_t bytes)
{
    conn_output_sent(c, bytes);
    if (c->phase == CONN_RELAYED) {
        relay_sent(c, bytes);
        return;
    }
    /* Before what waits fills the room again, or the client would not be heard until all of it is
     * sent. */
    if ((c->blocked & BLOCKED_OUTPUT) != 0 && !conn_output_full(c)) {
        input_unblock(c, BLOCKED_OUTPUT);
    }
    if (c->session != NULL) {
        session_pump(c->session);
    }
}

bool wire_fill(struct conn *c, const struct outbuf **out)
{
    *out = &c->out;
    if (c->transport == NULL) {
        return true;
    }
    *out = transport_wire(c->transport);
    if (outbuf_bytes(*out) > 0 || outbuf_bytes(&c->out) == 0) {
        return true;
    }
    struct iovec iov[IO_IOV_MAX];
    size_t bytes, taken;
    const unsigned n = outbuf_gather(&c->out, iov, IO_IOV_MAX, &bytes);
    if (!transport_send(c->transport, iov, n, &c->shard->scratch, &taken)) {
        return false;
    }
    account(c);
    output_left(c, taken);
    return true;
}

void wire_sent(struct conn *c, size_t bytes)
{
    metrics_add(&c->shard->metrics, METRIC_bytes_sent, bytes);
    tally_listener(&c->shard->tally, c->listener, TALLY_bytes_sent, bytes);
    if (c->transport == NULL) {
        output_left(c, bytes);
        return;
    }
    outbuf_consume(transport_wire(c->transport), bytes);
    account(c);
    if ((c->blocked & BLOCKED_MOVE) != 0 && !wire_is_busy(c)) {
        input_unblock(c, BLOCKED_MOVE);
    }
}

bool wire_goodbye(struct conn *c)
{
    if (c->transport == NULL || c->goodbye) {
        return false;
    }
    c->goodbye = true;
    transport_goodbye(c->transport);
    account(c);
    return wire_is_busy(c);
}
