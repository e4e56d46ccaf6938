/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/load/options.h"
#include "bench/load/socket.h"
#include "bench/load/worker.h"
#include "bench/relay/hello.h"

#define TOPIC_DIGITS     7u /* of the last level, with --topics */
#define SESSION_EXPIRY_S 3600u
#define PACKET_IDS       65535u
#define CONTROL_BYTES    4096u /* CONNECT, SUBSCRIBE */

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

void client_send_packet(struct worker *w, struct client *c, const struct mqtt_packet *packet)
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
    const bool outlives = c->plan->was_before || (o->keep_sessions && c->plan->track != PLAN_NONE);
    struct mqtt_packet packet = {.type = MQTT_CONNECT,
                                 .connect = {.version = version_of(w),
                                             .clean_start = !outlives,
                                             .client_id = bytes_text(client_id),
                                             .has_user_name = o->user_name != NULL,
                                             .has_password = o->password != NULL}};
    uint8_t expiry[8];
    if (outlives && o->version == MQTT_V5) {
        struct property_writer writer = {.at = expiry, .size = sizeof expiry};
        property_put_number(&writer, PROPERTY_SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_S);
        packet.connect.properties.raw = bytes_of(expiry, writer.len);
    }
    if (o->user_name != NULL) {
        packet.connect.user_name = bytes_text(o->user_name);
    }
    if (o->password != NULL) {
        packet.connect.password = bytes_text(o->password);
    }
    client_send_packet(w, c, &packet);
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

/* PUBACK, PUBREC, PUBREL, PUBCOMP: without a reason code, which all versions have. */
static void send_ack(struct worker *w, struct client *c, enum mqtt_type type, uint16_t packet_id)
{
    const uint8_t flags = type == MQTT_PUBREL ? 2 : 0;
    const uint8_t ack[4] = {(uint8_t)(type << 4 | flags), 2, (uint8_t)(packet_id >> 8),
                            (uint8_t)packet_id};
    send_bytes(w, c, ack, sizeof ack);
}

static void write_digits(uint8_t *at, uint64_t number)
{
    for (unsigned i = TOPIC_DIGITS; i > 0; i--) {
        at[i - 1] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}

static bool make_head(const struct worker *w, struct client *c)
{
    const struct options *const o = w->run->options;
    char topic[CLIENT_FILTER_BYTES_MAX];
    const int topic_len =
        snprintf(topic, sizeof topic, "%s%s", w->run->plan.publishers[c->plan->publisher].topic,
                 o->topics > 1 ? "/0000000" : "");
    const struct mqtt_publish publish = {
        .qos = (uint8_t)o->qos,
        .retain = o->retain,
        .packet_id = o->qos > 0,
        .topic = bytes_of(topic, (size_t)topic_len),
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
    const uint32_t topic_end =
        head->stamp_at - (o->version == MQTT_V5 ? 1 : 0) - (o->qos > 0 ? 2 : 0);
    head->packet_id_at = o->qos > 0 ? topic_end : 0;
    head->digits_at = o->topics > 1 ? topic_end - TOPIC_DIGITS : 0;
    return true;
}

/* How many of its messages are not under way any more. */
static uint64_t done(const struct worker *w, const struct client *c, uint64_t sent)
{
    const struct options *const o = w->run->options;
    const struct publisher *const p = &w->run->plan.publishers[c->plan->publisher];
    uint64_t count = sent;
    if (p->copies > 0 && o->scenario->kind != SCENARIO_LATE) {
        count = atomic_load_explicit(&p->delivered, memory_order_relaxed) / p->copies;
        count += c->forgiven;
        count = count < sent ? count : sent; /* they may have come after all */
    }
    return o->qos > 0 && c->acknowledged < count ? c->acknowledged : count;
}

uint64_t client_room(const struct worker *w, const struct client *c)
{
    const struct options *const o = w->run->options;
    const struct publisher *const p = &w->run->plan.publishers[c->plan->publisher];
    const uint64_t sent = atomic_load_explicit(&p->sent, memory_order_relaxed);
    const bool is_closed_loop = o->rate <= 0;
    if (c->phase != CLIENT_READY || c->body_left > 0 ||
        (is_closed_loop && outgoing_len(&c->out) > UNSENT_BYTES_MAX)) {
        return 0;
    }
    uint64_t end = o->count > 0 ? o->count : STAMP_SEQUENCE_MAX;
    if (o->qos > 0 && c->acknowledged + PACKET_IDS < end) {
        end = c->acknowledged + PACKET_IDS;
    }
    if (is_closed_loop && done(w, c, sent) + o->window < end) {
        end = done(w, c, sent) + o->window;
    }
    return end > sent ? end - sent : 0;
}

void client_forgive(const struct worker *w, struct client *c)
{
    const struct publisher *const p = &w->run->plan.publishers[c->plan->publisher];
    const uint64_t sent = atomic_load_explicit(&p->sent, memory_order_relaxed);
    if (p->copies > 0) {
        const uint64_t came = atomic_load_explicit(&p->delivered, memory_order_relaxed) / p->copies;
        c->forgiven = came < sent ? sent - came : 0;
    }
}

bool client_publish(struct worker *w, struct client *c, uint64_t intended_ns)
{
    const struct options *const o = w->run->options;
    struct publisher *const p = &w->run->plan.publishers[c->plan->publisher];
    const uint64_t number = atomic_load_explicit(&p->sent, memory_order_relaxed);
    const size_t rest = o->payload - STAMP_BYTES;
    const bool copied = rest <= COPIED_PAYLOAD_MAX || o->qos == 2 || transport_copies(w);
    uint8_t *const at = outgoing_reserve(&c->out, c->head.len + (copied ? rest : 0));
    if (at == NULL) {
        return false;
    }
    const struct stamp stamp = {
        .intended_ns = intended_ns, .publisher = c->plan->publisher, .sequence = number};
    memcpy(at, c->head.bytes, c->head.stamp_at);
    stamp_write(at + c->head.stamp_at, &stamp);
    if (c->head.digits_at > 0) {
        write_digits(at + c->head.digits_at, number % o->topics);
    }
    if (c->head.packet_id_at > 0) {
        const uint16_t id = (uint16_t)(number % PACKET_IDS + 1);
        at[c->head.packet_id_at] = (uint8_t)(id >> 8);
        at[c->head.packet_id_at + 1] = (uint8_t)id;
    }
    if (copied) {
        memcpy(at + c->head.len, w->filler, rest);
    } else {
        c->body_left = rest;
    }
    counts_add(&p->sent, 1);
    counts_add(&w->counts.sent, 1);
    worker_mark_dirty(w, c);
    return true;
}

/* ---- what arrives */

static void become_ready(struct worker *w, struct client *c)
{
    c->phase = CLIENT_READY;
    worker_on_ready(w, c);
    c->was_ready = true;
}

static void on_connack(struct worker *w, struct client *c, const struct arrival *a)
{
    if (c->phase != CLIENT_AWAIT_CONNACK || a->reason != 0) {
        counts_add(&w->counts.refused, 1);
        client_close(w, c);
        return;
    }
    counts_add(&w->counts.connected, 1);
    const bool has_them = c->was_ready && a->session_present;
    if (subscribe_is_wanted(c) && !has_them && !w->run->options->relay) {
        c->phase = CLIENT_AWAIT_SUBACK;
        subscribe_begin(w, c);
    } else {
        become_ready(w, c);
    }
}

static void on_suback(struct worker *w, struct client *c, const struct arrival *a)
{
    switch (subscribe_on_suback(w, c, a)) {
    case SUBSCRIBE_REFUSED:
        counts_add(&w->counts.refused, 1);
        client_close(w, c);
        break;
    case SUBSCRIBE_DONE:
        if (c->phase == CLIENT_AWAIT_SUBACK) {
            become_ready(w, c);
        }
        break;
    case SUBSCRIBE_GOES_ON:
        break;
    }
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
    case MQTT_UNSUBACK:
        c->subscribing.awaited -= c->subscribing.awaited > 0;
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
    const ssize_t len = transport_receive(w, c);
    if (len > 0) {
        take_packets(w, c, bytes_of(w->receive, (size_t)len));
    } else if (len < 0 && errno != EAGAIN && errno != EINTR) {
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
    c->fd = socket_connect(c->plan->publisher == PLAN_NONE ? &o->subscribe_url : &o->url, source);
    if (c->fd < 0) {
        client_close(w, c);
        return;
    }
    c->phase = CLIENT_CONNECTING;
    c->awaits_room = true;
    watch(w, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void await_room(struct worker *w, struct client *c, bool awaits)
{
    if (c->awaits_room != awaits) {
        c->awaits_room = awaits;
        watch(w, c, EPOLL_CTL_MOD, awaits ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static void open_transport(struct worker *w, struct client *c)
{
    switch (transport_open(w, c)) {
    case TRANSPORT_OPEN:
        c->phase = CLIENT_AWAIT_CONNACK;
        if (w->run->options->relay) {
            send_hello(w, c);
        } else {
            send_connect(w, c);
        }
        break;
    case TRANSPORT_WANTS_READ:
        await_room(w, c, false);
        break;
    case TRANSPORT_WANTS_WRITE:
        await_room(w, c, true);
        break;
    case TRANSPORT_FAILED:
        client_close(w, c);
        break;
    }
}

static void on_connected(struct worker *w, struct client *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0 ||
        !transport_begin(w, c)) {
        client_close(w, c);
        return;
    }
    c->phase = CLIENT_OPENING;
    open_transport(w, c);
}

void client_flush(struct worker *w, struct client *c)
{
    if (c->fd < 0 || outgoing_len(&c->out) + c->body_left == 0) {
        return;
    }
    if (transport_send(w, c) == 0) {
        await_room(w, c, outgoing_len(&c->out) + c->body_left > 0);
    } else if (errno == EAGAIN || errno == EINTR) {
        await_room(w, c, true);
    } else {
        client_close(w, c);
    }
}

void client_on_events(struct worker *w, struct client *c, uint32_t events)
{
    if (c->phase == CLIENT_CONNECTING) {
        if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
            on_connected(w, c);
        }
        return;
    }
    if (c->phase == CLIENT_OPENING) {
        open_transport(w, c);
        return;
    }
    if (c->fd >= 0 && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
        receive(w, c);
    }
    if (c->fd >= 0 && (events & EPOLLOUT) != 0) {
        worker_mark_dirty(w, c);
    }
}

void client_leave(struct worker *w, struct client *c)
{
    static const uint8_t disconnect[] = {0xe0, 0x00};
    send_bytes(w, c, disconnect, sizeof disconnect);
    c->phase = CLIENT_LEAVING;
}

void client_close(struct worker *w, struct client *c)
{
    if (c->phase == CLIENT_CLOSED) {
        return;
    }
    transport_end(c);
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    if (c->phase == CLIENT_LEAVING) {
        c->phase = CLIENT_NEW;
        c->out.begin = c->out.end = 0;
        c->reader = (struct reader){0};
        worker_on_left(w, c);
    } else {
        worker_on_closed(w, c);
        c->phase = CLIENT_CLOSED;
    }
}

void client_free(struct client *c)
{
    transport_end(c);
    if (c->fd >= 0) {
        close(c->fd);
    }
    outgoing_free(&c->out);
    free(c->head.bytes);
}
