/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/life.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/conn/access.h"
#include "broker/conn/alias.h"
#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/conn/trust.h"
#include "broker/conn/recorded.h"
#include "broker/conn/socket.h"
#include "broker/conn/wire.h"
#include "broker/guard/guard.h"
#include "broker/guard/pace.h"
#include "broker/guard/publish_rate.h"
#include "broker/log/log.h"
#include "broker/login/exchange.h"
#include "broker/login/login.h"
#include "broker/ownership/ownership.h"
#include "broker/session/replay.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/transport/listener.h"
#include "broker/transport/transport.h"
#include "broker/unix_socket.h"

#define LINGER_MS       1000u
#define WORDS_BYTES_MAX 200u /* of a reason string */

/* Connections over connections_max that are still let in, to be told so in a CONNACK. */
#define REFUSED_AT_A_TIME 100u

static void on_timer(struct timer *timer, uint64_t now_ms);

static struct conn *conn_of(struct io_socket *socket)
{
    return table_object(socket, struct conn, socket);
}

/* ---- beginning */

static struct conn *conn_create(struct shard *s, unsigned listener)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->shard = s;
    c->listener = (uint8_t)listener;
    c->accepted_us = s->began_us;
    c->packet_bytes_max = MQTT_PACKET_BYTES_MAX;
    c->server_packet_bytes_max = s->config->limits.packet_bytes_max;
    if (s->node->packet_bytes_kept != 0 &&
        c->server_packet_bytes_max > s->node->packet_bytes_kept) {
        c->server_packet_bytes_max = s->node->packet_bytes_kept;
    }
    c->problem_information = true;
    timer_init(&c->timer, on_timer);
    conn_list_add(&s->all, c, CONN_ALL);
    c->socket.fd = -1;
    return c;
}

/* false: who connected has gone again, as those do who only look whether somebody listens. */
static bool read_address(struct conn *c, int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer = {0};
    socklen_t len = sizeof peer;
    if (getpeername(fd, &peer.any, &len) != 0) {
        return errno != ENOTCONN;
    }
    if (peer.any.sa_family == AF_INET) {
        c->at.address.s6_addr[10] = 0xff;
        c->at.address.s6_addr[11] = 0xff;
        memcpy(&c->at.address.s6_addr[12], &peer.v4.sin_addr, sizeof peer.v4.sin_addr);
        c->port = ntohs(peer.v4.sin_port);
    } else if (peer.any.sa_family == AF_INET6) {
        c->at.address = peer.v6.sin6_addr;
        c->port = ntohs(peer.v6.sin6_port);
    } else {
        c->local = true;
        unix_peer_read(fd, &c->at.peer);
    }
    return true;
}

static void finish(struct conn *c)
{
    if (c->phase != CONN_CLOSED) {
        c->phase = CONN_CLOSED;
        wheel_cancel(c->shard->wheel, &c->timer);
        socket_close(c);
    }
}

void conn_await_connect(struct conn *c)
{
    const struct config_limits *limits = &c->shard->config->limits;
    const uint64_t s =
        wire_is_handshaking(c) ? limits->handshake_timeout_s : limits->connect_timeout_s;
    wheel_set(c->shard->wheel, &c->timer, c->shard->now_ms + s * 1000);
}

/* One connection more, or less. Returns how many there were. */
static int64_t count_connection(const struct shard *s, unsigned listener, int64_t more)
{
    struct listener *const l = &s->node->listeners[listener];
    atomic_fetch_add_explicit(&l->connections, more, memory_order_relaxed);
    return atomic_fetch_add_explicit(&s->node->connections, more, memory_order_relaxed);
}

/* NULL: it is not let in; that was told and counted. */
static struct conn *admit(struct shard *s, unsigned listener)
{
    shard_count(s, METRIC_connections_accepted);
    tally_listener(&s->tally, listener, TALLY_connections_accepted, 1);
    const int64_t held = count_connection(s, listener, 1);
    const int64_t most = (int64_t)s->config->limits.connections_max + REFUSED_AT_A_TIME;
    const bool over =
        held >= most || listener_is_over(&s->node->listeners[listener], REFUSED_AT_A_TIME);
    struct conn *c = s->ending || over ? NULL : conn_create(s, listener);
    if (c == NULL) {
        count_connection(s, listener, -1);
        shard_count(s, METRIC_connections_refused);
        log_event(LOG_WARNING, "connection_refused",
                  LOG_TEXT("listener", s->node->listeners[listener].settings.url),
                  LOG_TEXT("reason", s->ending ? "the broker is ending"
                                     : over    ? "connections_max"
                                               : "out of memory"),
                  LOG_NUMBER("connections", held));
    }
    return c;
}

static void accepted(void *context, unsigned listener, int fd)
{
    struct shard *s = context;
    shard_enter(s);
    pace_accepted(s, listener);
    struct conn *const c = admit(s, listener);
    if (c == NULL) {
        close(fd);
        return;
    }
    io_attach(s->io, &c->socket, fd);
    const bool true_address = !s->node->listeners[listener].proxy;
    if (!read_address(c, fd) || (true_address && !guard_admits(c)) || !wire_open(c)) {
        finish(c);
        return;
    }
    record_accepted(c);
    conn_await_connect(c);
    socket_receive_once(c);
}

struct conn *conn_open_far(struct shard *s, const struct conn_from *from, struct relay *relay)
{
    ASSERT_OWNED(s);
    assert(from->listener < s->listener_count);

    struct conn *const c = admit(s, from->listener);
    if (c == NULL) {
        return NULL;
    }
    c->far = true;
    c->relay = relay;
    c->local = from->local;
    c->at = from->at;
    c->port = from->port;
    c->admitted = true; /* by who has the socket */
    record_accepted(c);
    conn_await_connect(c);
    socket_receive_once(c);
    return c;
}

/* ---- moving to the session's shard */

struct arrival { /* on the heap; the receiver's */
    int fd;
    unsigned listener;
    uint16_t port;
    bool local;
    union conn_origin at;
    struct transport *transport; /* its wire is empty; NULL: none */
    uint64_t connect_by_ms;
    size_t len;
    uint8_t data[];
};

struct post_connection {
    struct post_head head;
    struct arrival *arrival;
};

static void conn_free(struct conn *c)
{
    struct shard *s = c->shard;
    assert(c->session == NULL);
    assert(c->waiting == 0);
    wheel_cancel(s->wheel, &c->timer);
    trust_forget(c);
    conn_list_remove(&s->all, c, CONN_ALL);
    conn_list_remove(&s->dirty, c, CONN_DIRTY);
    conn_list_remove(&s->ready, c, CONN_READY);
    conn_list_remove(&s->stalled, c, CONN_STALLED);
    s->unsent_bytes -= outbuf_bytes(&c->out);
    outbuf_fini(&c->out);
    wire_close(c);
    alias_fini(c);
    input_forget(c);
    access_forget(c);
    publish_rate_forget(c);
    exchange_forget(c);
    login_forget(c);
    relay_forget(c);
    free(c->flow_marks);
    free(c);
}

void conn_move(struct conn *c, unsigned to, const uint8_t *data, size_t len)
{
    struct shard *s = c->shard;
    ASSERT_OWNED(s);
    assert(c->phase == CONN_AWAIT_CONNECT);

    struct arrival *a = malloc(sizeof *a + len);
    if (a == NULL) {
        conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_FORGET);
        return;
    }
    *a = (struct arrival){.fd = c->socket.fd,
                          .listener = c->listener,
                          .port = c->port,
                          .local = c->local,
                          .at = c->at,
                          .transport = c->transport,
                          .connect_by_ms = c->timer.due_ms,
                          .len = len};
    c->transport = NULL;
    const int detached = io_detach(s->io, &c->socket);
    assert(detached == 0);      /* receiving one at a time before CONNECT: nothing is under way */
    memcpy(a->data, data, len); /* wiped by who gets it; `data` by who called us */
    struct post_connection *p = post_reserve(s, to, POST_CONNECTION, sizeof *p);
    p->arrival = a;
    post_commit(s, to);
    shard_count(s, METRIC_connections_moved);
    conn_free(c);
}

void conn_on_arrival(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    struct arrival *a = ((const struct post_connection *)(const void *)record)->arrival;
    struct conn *c = s->ending ? NULL : conn_create(s, a->listener);
    if (c == NULL) {
        count_connection(s, a->listener, -1);
        shard_count(s, METRIC_connections_closed);
        close(a->fd);
        transport_destroy(a->transport);
        explicit_bzero(a->data, a->len);
        free(a);
        return;
    }
    io_attach(s->io, &c->socket, a->fd);
    c->local = a->local;
    c->at = a->at;
    c->port = a->port;
    c->admitted = true;
    c->transport = a->transport;
    wheel_set(s->wheel, &c->timer, a->connect_by_ms);
    if (input_received(c, a->data, a->len)) { /* else its home has moved meanwhile */
        wire_resume(c);
    }
    free(a);
}

/* ---- end */

static void log_end(const struct conn *c, uint8_t reason)
{
    char address[CONN_ADDRESS_TEXT];
    const struct bytes client_id = session_client_id(c->session);
    switch (reason) {
    case MQTT_REASON_SUCCESS:
    case MQTT_REASON_SESSION_TAKEN_OVER:
    case MQTT_REASON_SERVER_SHUTTING_DOWN:
    case MQTT_REASON_KEEP_ALIVE_TIMEOUT:
        log_event(LOG_DEBUG, "client_disconnected", LOG_BYTES("client_id", client_id),
                  LOG_TEXT("peer", conn_address(c, address, sizeof address)),
                  LOG_TEXT("reason", mqtt_reason_text(reason)));
        break;
    default:
        log_event(LOG_WARNING, "client_disconnected", LOG_BYTES("client_id", client_id),
                  LOG_TEXT("peer", conn_address(c, address, sizeof address)),
                  LOG_TEXT("reason", mqtt_reason_text(reason)));
    }
}

/* As of now, and not of CONNECT: that may be long ago. */
static bool may_publish_will(struct conn *c)
{
    const struct will *const will = c->session->will;
    if (will == NULL || access_may_publish(c, bytes_of(NULL, 0), message_topic(will->message),
                                           will->message->qos, will->message->retain)) {
        return true;
    }
    shard_drop(c->shard, METRIC_drop_not_allowed, session_client_id(c->session),
               message_topic(will->message));
    return false;
}

static void leave_session(struct conn *c, uint8_t reason, enum session_will will)
{
    struct session *session = c->session;
    if (session == NULL) {
        return;
    }
    log_end(c, reason);
    if (will == SESSION_WILL_PUBLISH && !may_publish_will(c)) {
        will = SESSION_WILL_FORGET;
    }
    if (c->tenure != NULL) {
        will = ownership_end(c, will);
    }
    c->session = NULL;
    atomic_fetch_sub_explicit(&c->shard->node->clients, 1, memory_order_relaxed);
    session_detach(session, will);
}

static void send_disconnect(struct conn *c, uint8_t reason, const char *words)
{
    struct mqtt_packet packet = {.type = MQTT_DISCONNECT, .disconnect = {.reason = reason}};
    uint8_t property[3 + WORDS_BYTES_MAX] = {PROPERTY_REASON_STRING};
    const size_t len = strlen(words);
    assert(len <= WORDS_BYTES_MAX);
    property[1] = (uint8_t)(len >> 8);
    property[2] = (uint8_t)len;
    memcpy(property + 3, words, len);
    tally_reason(&c->shard->tally, TALLY_disconnect_sent, reason);
    conn_send_packet(c, &packet, bytes_of(property, len > 0 ? 3 + len : 0));
}

void conn_close(struct conn *c, uint8_t reason, enum session_will will)
{
    conn_close_saying(c, reason, "", will);
}

void conn_close_saying(struct conn *c, uint8_t reason, const char *words, enum session_will will)
{
    struct shard *s = c->shard;
    ASSERT_OWNED(s);
    if (c->phase >= CONN_LINGERING) {
        return;
    }
    const bool may_tell =
        c->phase == CONN_CONNECTED || (c->phase == CONN_RELAYED && relay_may_tell(c));
    if (may_tell && c->version == MQTT_V5 && reason != MQTT_REASON_SUCCESS && !c->peer_ended) {
        send_disconnect(c, reason, words);
    }
    record_closed(c, reason);
    if (c->phase == CONN_RELAYED) {
        relay_close(c);
    }
    c->phase = CONN_LINGERING;
    leave_session(c, reason, will);
    input_forget(c);
    if (c->peer_ended) {
        finish(c);
        return;
    }
    if (!c->receiving) {
        c->receiving = true;
        socket_receive_start(c); /* to see the peer's end */
    }
    wheel_set(s->wheel, &c->timer, s->now_ms + LINGER_MS);
    conn_list_add(&s->dirty, c, CONN_DIRTY); /* conn_flush() shuts our side */
}

void conn_abort(struct conn *c)
{
    c->peer_ended = true; /* it is not to be said anything */
    conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_PUBLISH);
    finish(c);
}

void conn_answered(struct conn *c)
{
    assert(c->waiting > 0);
    c->waiting--;
    if (c->waiting == 0 && c->phase == CONN_CLOSED && socket_is_closed(c)) {
        conn_free(c);
    }
}

static void closed(void *context, struct io_socket *socket)
{
    struct shard *s = context;
    struct conn *c = conn_of(socket);
    shard_enter(s);
    count_connection(s, c->listener, -1);
    shard_count(s, METRIC_connections_closed);
    if (c->waiting == 0) {
        conn_free(c);
    }
}

/* ---- receiving and sending */

static void received(void *context, struct io_socket *socket, const uint8_t *data, size_t len)
{
    struct shard *s = context;
    struct conn *c = conn_of(socket);
    shard_enter(s);
    metrics_add(&s->metrics, METRIC_bytes_received, len);
    tally_listener(&s->tally, c->listener, TALLY_bytes_received, len);
    if (c->phase < CONN_LINGERING) {
        c->last_packet_ms = s->now_ms;
        if (c->transport == NULL) {
            input_received(c, data, len);
        } else {
            wire_received(c, data, len);
        }
    }
}

void conn_peer_left(struct conn *c)
{
    if (c->phase == CONN_RELAYED) {
        relay_client_left(c); /* that it has left is for the other node to deal with */
    } else if (c->phase == CONN_CONNECTED && c->in_len > 0 &&
               (c->blocked != 0 || conn_is_listed(c, CONN_READY))) {
        c->peer_ended = true; /* what it sent before it left is still owed a hearing:
                                 input_resume() closes afterwards */
    } else {
        conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_PUBLISH);
    }
}

static void ended(void *context, struct io_socket *socket, int error)
{
    struct conn *c = conn_of(socket);
    (void)error; /* a reset and a plain end are the same to MQTT: no DISCONNECT came */
    shard_enter(context);
    c->peer_ended = true;
    c->receiving = false;
    if (c->phase == CONN_LINGERING) {
        finish(c);
    } else {
        conn_peer_left(c);
    }
}

void conn_flush(struct conn *c)
{
    if (c->sending || c->phase == CONN_CLOSED || (c->held != 0 && c->phase == CONN_CONNECTED)) {
        return;
    }
    const struct outbuf *out;
    if (!wire_fill(c, &out)) {
        conn_abort(c);
        return;
    }
    if (outbuf_bytes(out) > 0) {
        struct iovec iov[IO_IOV_MAX];
        const unsigned n = outbuf_gather(out, iov, IO_IOV_MAX, &c->send_bytes);
        c->sending = true;
        socket_send(c, iov, n);
    } else if (c->phase == CONN_LINGERING && wire_goodbye(c)) {
        conn_flush(c); /* once */
    } else if (c->phase == CONN_LINGERING && !c->write_shut) {
        c->write_shut = true;
        socket_shutdown_write(c);
    }
}

static void sent(void *context, struct io_socket *socket, int error)
{
    struct shard *s = context;
    struct conn *c = conn_of(socket);
    shard_enter(s);
    c->sending = false;
    if (error != 0) {
        conn_abort(c);
        return;
    }
    conn_list_add(&s->dirty, c, CONN_DIRTY);
    wire_sent(c, c->send_bytes);
    if (c->session != NULL) {
        replay_pump(c->session);
    }
}

bool conn_flush_at_once(struct conn *c)
{
    if (c->sending || c->held != 0) {
        return true; /* sent() goes on, or who holds it */
    }
    if (c->phase != CONN_CONNECTED || session_replays(c->session) != NULL) {
        return false;
    }
    const struct outbuf *out;
    while (wire_fill(c, &out)) {
        struct iovec iov[IO_IOV_MAX];
        size_t bytes;
        if (outbuf_bytes(out) == 0) {
            return true;
        }
        const unsigned n = outbuf_gather(out, iov, IO_IOV_MAX, &bytes);
        const size_t taken = socket_send_at_once(c, iov, n);
        wire_sent(c, taken);
        if (taken < bytes) {
            return false;
        }
    }
    return false; /* the stream cannot go on: conn_flush() ends it */
}

/* ---- time */

static void check_keep_alive(struct conn *c, uint64_t now_ms)
{
    struct shard *s = c->shard;
    const unsigned ours =
        BLOCKED_ROOM | BLOCKED_TURN | BLOCKED_LOGIN | BLOCKED_RATE | BLOCKED_CLAIM;
    if ((c->blocked & ours) != 0) {
        c->last_packet_ms = now_ms; /* it is we who do not read */
    }
    const uint64_t due_ms = c->last_packet_ms + c->keep_alive_ms;
    if (due_ms > now_ms) {
        wheel_set(s->wheel, &c->timer, due_ms);
        return;
    }
    shard_count(s, METRIC_keep_alive_timed_out);
    conn_close(c, MQTT_REASON_KEEP_ALIVE_TIMEOUT, SESSION_WILL_PUBLISH);
}

static void on_timer(struct timer *timer, uint64_t now_ms)
{
    struct conn *c = table_object(timer, struct conn, timer);
    struct shard *s = c->shard;
    char address[CONN_ADDRESS_TEXT];
    switch ((enum conn_phase)c->phase) {
    case CONN_AWAIT_CONNECT:
        shard_count(s, wire_is_handshaking(c) ? METRIC_handshakes_timed_out
                                              : METRIC_connect_timed_out);
        log_event(LOG_INFO, wire_is_handshaking(c) ? "handshake_timed_out" : "connect_timed_out",
                  LOG_TEXT("peer", conn_address(c, address, sizeof address)),
                  LOG_TEXT("listener", s->node->listeners[c->listener].settings.url));
        conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_FORGET);
        break;
    case CONN_CONNECTED:
        check_keep_alive(c, now_ms);
        break;
    case CONN_RELAYED:
        relay_timed_out(c);
        break;
    case CONN_LINGERING:
        finish(c);
        break;
    case CONN_CLOSED:
        break;
    }
}

static const char *accept_remedy(int error)
{
    switch (error) {
    case EMFILE:
        return "raise the limit of open files (ulimit -n, LimitNOFILE=)";
    case ENFILE:
        return "raise the system's limit of open files (sysctl fs.file-max)";
    case ENOBUFS:
    case ENOMEM:
        return "the system has no memory for another socket: give it some, or let in fewer";
    default:
        return "none is known; it is tried again";
    }
}

static void accept_failed(void *context, unsigned listener, int error)
{
    const struct shard *const s = context;
    shard_enter(context);
    log_event(LOG_ERROR, "accept_failed",
              LOG_TEXT("listener", s->node->listeners[listener].settings.url),
              LOG_ERRNO("error", error), LOG_TEXT("remedy", accept_remedy(error)));
}

const struct io_handlers conn_io_handlers = {
    .accepted = accepted,
    .received = received,
    .ended = ended,
    .sent = sent,
    .closed = closed,
    .accept_failed = accept_failed,
};
