/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/load/options.h"
#include "bench/load/socket.h"
#include "bench/load/worker.h"
#include "bench/relay/hello.h"

#define PACKET_IDS    65535u
#define CONTROL_BYTES 1024u /* CONNECT, SUBSCRIBE */

#define UNSENT_BYTES_MAX (256u << 10) /* in a closed loop; then the kernel's room is waited for */

/* Payloads from here on are not copied, but sent from the filler; QoS 2 is copied, for there PUBREL
 * would come between. */
#define COPIED_PAYLOAD_MAX 8192u

static enum mqtt_version version_of(const struct worker *w)
{
    return (enum mqtt_version)w->run->options->version;
}

/* ---- what is sent */

static void send_bytes(struct worker *w, struct client *c, const void *bytes, size_t len)
{
    uint8_t *const at = outgoing_reserve(&c->out, len);
    if (at == NULL) {
        client_close(w, c);
        return;
    }
    memcpy(at, bytes, len);
    worker_mark_dirty(w, c);
}

static void send_packet(struct worker *w, struct client *c, const struct mqtt_packet *packet)
{
    uint8_t bytes[CONTROL_BYTES];
    size_t len;
    const enum mqtt_err err = mqtt_encode(packet, version_of(w), bytes, sizeof bytes, &len);
    assert(err == MQTT_OK); /* options_parse() bounds what goes into it */
    if (err == MQTT_OK) {
        send_bytes(w, c, bytes, len);
    }
}

static void send_connect(struct worker *w, struct client *c)
{
    const struct options *const o = w->run->options;
    char client_id[128];
    snprintf(client_id, sizeof client_id, "%s-%u", o->client_id, c->number);
    struct mqtt_packet packet = {.type = MQTT_CONNECT,
                                 .connect = {.version = version_of(w),
                                             .clean_start = true,
                                             .client_id = bytes_text(client_id),
                                             .has_user_name = o->user_name != NULL,
                                             .has_password = o->password != NULL}};
    if (o->user_name != NULL) {
        packet.connect.user_name = bytes_text(o->user_name);
    }
    if (o->password != NULL) {
        packet.connect.password = bytes_text(o->password);
    }
    send_packet(w, c, &packet);
}

static void send_hello(struct worker *w, struct client *c)
{
    const struct options *const o = w->run->options;
    const bool is_source = c->plan->publisher != PLAN_NONE;
    const struct hello hello = {
        .magic = HELLO_MAGIC,
        .role = is_source ? HELLO_SOURCE : HELLO_SINK,
        .channel = c->plan->channel,
        .message_bytes = is_source ? c->head.len + (uint32_t)o->payload - STAMP_BYTES : 0,
        .ack_bytes = is_source && o->qos > 0 ? HELLO_ACK_BYTES : 0,
    };
    send_bytes(w, c, &hello, sizeof hello);
}

static void send_subscribe(struct worker *w, struct client *c)
{
    uint8_t filter[CONTROL_BYTES / 2];
    const size_t len = strlen(c->plan->filter);
    assert(len + 3 <= sizeof filter);
    filter[0] = (uint8_t)(len >> 8);
    filter[1] = (uint8_t)len;
    memcpy(filter + 2, c->plan->filter, len);
    filter[2 + len] = (uint8_t)w->run->options->qos;
    const struct mqtt_packet packet = {
        .type = MQTT_SUBSCRIBE,
        .subscribe = {.packet_id = 1, .filters = bytes_of(filter, len + 3), .count = 1}};
    send_packet(w, c, &packet);
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP: without a reason code, which all versions have. */
static void send_ack(struct worker *w, struct client *c, enum mqtt_type type, uint16_t packet_id)
{
    const uint8_t flags = type == MQTT_PUBREL ? 2 : 0;
    const uint8_t ack[4] = {(uint8_t)(type << 4 | flags), 2, (uint8_t)(packet_id >> 8),
                            (uint8_t)packet_id};
    send_bytes(w, c, ack, sizeof ack);
}

static bool make_head(const struct worker *w, struct client *c)
{
    const struct options *const o = w->run->options;
    const struct mqtt_publish publish = {
        .qos = (uint8_t)o->qos,
        .retain = o->retain,
        .packet_id = o->qos > 0,
        .topic = bytes_text(w->run->plan.publishers[c->plan->publisher].topic),
        .payload.len = o->payload,
    };
    const size_t size = mqtt_publish_head_bound(&publish) + STAMP_BYTES;
    struct message_head *const head = &c->head;
    head->bytes = calloc(1, size);
    if (head->bytes == NULL) {
        return false;
    }
    size_t len;
    const enum mqtt_err err =
        mqtt_publish_head_encode(&publish, version_of(w), head->bytes, size, &len);
    assert(err == MQTT_OK);
    (void)err;
    head->stamp_at = (uint32_t)len;
    head->len = head->stamp_at + STAMP_BYTES;
    if (o->qos > 0) {
        head->packet_id_at = head->stamp_at - 2 - (o->version == MQTT_V5 ? 1 : 0);
    }
    return true;
}

uint64_t client_room(const struct worker *w, const struct client *c)
{
    const struct options *const o = w->run->options;
    const struct publisher *const p = &w->run->plan.publishers[c->plan->publisher];
    if (c->phase != CLIENT_READY || c->body_left > 0) {
        return 0;
    }
    uint64_t limit = o->count > 0 ? o->count : STAMP_SEQUENCE_MAX;
    if (o->qos > 0 && c->acknowledged + PACKET_IDS < limit) {
        limit = c->acknowledged + PACKET_IDS;
    }
    if (o->rate <= 0) { /* closed loop */
        if (outgoing_len(&c->out) > UNSENT_BYTES_MAX) {
            return 0;
        }
        const uint64_t done =
            p->copies > 0 ? atomic_load_explicit(&p->delivered, memory_order_relaxed) / p->copies
                          : p->sent;
        const uint64_t slowest = o->qos > 0 && c->acknowledged < done ? c->acknowledged : done;
        if (slowest + o->window < limit) {
            limit = slowest + o->window;
        }
    }
    return limit > p->sent ? limit - p->sent : 0;
}

bool client_publish(struct worker *w, struct client *c, uint64_t intended_ns)
{
    const struct options *const o = w->run->options;
    struct publisher *const p = &w->run->plan.publishers[c->plan->publisher];
    const size_t rest = o->payload - STAMP_BYTES;
    const bool copied = rest <= COPIED_PAYLOAD_MAX || o->qos == 2;
    uint8_t *const at = outgoing_reserve(&c->out, c->head.len + (copied ? rest : 0));
    if (at == NULL) {
        return false;
    }
    const struct stamp stamp = {
        .intended_ns = intended_ns, .publisher = c->plan->publisher, .sequence = p->sent};
    memcpy(at, c->head.bytes, c->head.stamp_at);
    stamp_write(at + c->head.stamp_at, &stamp);
    if (c->head.packet_id_at > 0) {
        const uint16_t id = (uint16_t)(p->sent % PACKET_IDS + 1);
        at[c->head.packet_id_at] = (uint8_t)(id >> 8);
        at[c->head.packet_id_at + 1] = (uint8_t)id;
    }
    if (copied) {
        memcpy(at + c->head.len, w->filler, rest);
    } else {
        c->body_left = rest;
    }
    p->sent++;
    counts_add(&w->counts.sent, 1);
    worker_mark_dirty(w, c);
    return true;
}

/* ---- what arrives */

static void become_ready(struct worker *w, struct client *c)
{
    c->phase = CLIENT_READY;
    worker_on_ready(w, c);
}

static void on_connack(struct worker *w, struct client *c, const struct arrival *a)
{
    if (c->phase != CLIENT_AWAIT_CONNACK || a->reason != 0) {
        counts_add(&w->counts.refused, 1);
        client_close(w, c);
        return;
    }
    counts_add(&w->counts.connected, 1);
    if (c->plan->filter != NULL && !w->run->options->relay) {
        c->phase = CLIENT_AWAIT_SUBACK;
        send_subscribe(w, c);
    } else {
        become_ready(w, c);
    }
}

static void on_suback(struct worker *w, struct client *c, const struct arrival *a)
{
    const bool granted = a->rest.len > 0 && a->rest.at[a->rest.len - 1] <= 2;
    if (c->phase != CLIENT_AWAIT_SUBACK || !granted) {
        counts_add(&w->counts.refused, 1);
        client_close(w, c);
        return;
    }
    become_ready(w, c);
}

static void on_publish(struct worker *w, struct client *c, const struct arrival *a)
{
    const unsigned qos = a->flags >> 1 & 3u;
    if (a->is_stamped) {
        worker_on_message(w, c, &a->stamp);
    }
    if (qos > 0) {
        send_ack(w, c, qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, a->packet_id);
    }
}

/* The end of a message's exchange, from a publisher's view. */
static void on_done(struct worker *w, struct client *c, const struct arrival *a)
{
    c->acknowledged++;
    counts_add(&w->counts.acknowledged, 1);
    if (a->reason >= 0x80) {
        counts_add(&w->counts.refused, 1);
    }
}

static void on_arrival(struct worker *w, struct client *c, const struct arrival *a)
{
    switch (a->type) {
    case MQTT_CONNACK:
        on_connack(w, c, a);
        break;
    case MQTT_SUBACK:
        on_suback(w, c, a);
        break;
    case MQTT_PUBLISH:
        on_publish(w, c, a);
        break;
    case MQTT_PUBACK:
    case MQTT_PUBCOMP:
        on_done(w, c, a);
        break;
    case MQTT_PUBREC:
        if (a->reason >= 0x80) {
            on_done(w, c, a);
        } else {
            send_ack(w, c, MQTT_PUBREL, a->packet_id);
        }
        break;
    case MQTT_PUBREL:
        send_ack(w, c, MQTT_PUBCOMP, a->packet_id);
        break;
    default: /* DISCONNECT, or what no server sends */
        client_close(w, c);
        break;
    }
}

static void take_packets(struct worker *w, struct client *c, struct bytes in)
{
    struct arrival arrival;
    while (c->fd >= 0) {
        switch (reader_next(&c->reader, &in, version_of(w), &arrival)) {
        case READER_PACKET:
            on_arrival(w, c, &arrival);
            break;
        case READER_MORE:
            return;
        case READER_BAD:
            client_close(w, c);
            return;
        }
    }
}

static void receive(struct worker *w, struct client *c)
{
    const ssize_t len = recv(c->fd, w->receive, WORKER_RECEIVE_BYTES, 0);
    counts_add(&w->counts.reads, 1);
    if (len > 0) {
        take_packets(w, c, bytes_of(w->receive, (size_t)len));
    } else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
        client_close(w, c);
    }
}

/* ---- the connection */

static void watch(struct worker *w, struct client *c, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(w->epoll, operation, c->fd, &event) != 0) {
        client_close(w, c);
    }
}

void client_open(struct worker *w, struct client *c, uint64_t now_ns)
{
    const struct options *const o = w->run->options;
    const uint32_t source = o->sources > 0 ? 1 + c->number % (uint32_t)o->sources : 0;
    c->begun_ns = now_ns;
    if (c->plan->publisher != PLAN_NONE && c->head.bytes == NULL && !make_head(w, c)) {
        client_close(w, c);
        return;
    }
    c->fd = socket_connect(&o->url, source);
    if (c->fd < 0) {
        client_close(w, c);
        return;
    }
    c->phase = CLIENT_CONNECTING;
    watch(w, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void on_connected(struct worker *w, struct client *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        client_close(w, c);
        return;
    }
    c->phase = CLIENT_AWAIT_CONNACK;
    c->awaits_room = true; /* until the flush */
    if (w->run->options->relay) {
        send_hello(w, c);
    } else {
        send_connect(w, c);
    }
}

static void await_room(struct worker *w, struct client *c, bool awaits)
{
    if (c->awaits_room != awaits) {
        c->awaits_room = awaits;
        watch(w, c, EPOLL_CTL_MOD, awaits ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

void client_flush(struct worker *w, struct client *c)
{
    const size_t buffered = outgoing_len(&c->out);
    if (c->fd < 0 || buffered + c->body_left == 0) {
        return;
    }
    const struct iovec iov[2] = {
        {.iov_base = c->out.bytes + c->out.begin, .iov_len = buffered},
        {.iov_base = (void *)(uintptr_t)w->filler, .iov_len = c->body_left},
    };
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                                   .msg_iovlen = c->body_left > 0 ? 2 : 1};
    const ssize_t sent = c->body_left > 0
                             ? sendmsg(c->fd, &message, MSG_NOSIGNAL)
                             : send(c->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    counts_add(&w->counts.writes, 1);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            await_room(w, c, true);
        } else {
            client_close(w, c);
        }
        return;
    }
    const size_t of_buffer = (size_t)sent < buffered ? (size_t)sent : buffered;
    outgoing_sent(&c->out, of_buffer);
    c->body_left -= (size_t)sent - of_buffer;
    await_room(w, c, outgoing_len(&c->out) + c->body_left > 0);
}

void client_on_events(struct worker *w, struct client *c, uint32_t events)
{
    if (c->phase == CLIENT_CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        on_connected(w, c);
        return;
    }
    if (c->fd >= 0 && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
        receive(w, c);
    }
    if (c->fd >= 0 && (events & EPOLLOUT) != 0) {
        worker_mark_dirty(w, c);
    }
}

void client_close(struct worker *w, struct client *c)
{
    if (c->phase == CLIENT_CLOSED) {
        return;
    }
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    worker_on_closed(w, c);
    c->phase = CLIENT_CLOSED;
}

void client_free(struct client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    outgoing_free(&c->out);
    free(c->head.bytes);
}
