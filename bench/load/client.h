/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: one MQTT client: what it says when.
 *
 *   CONNECTING ── it is open ───▶ AWAIT_CONNACK ── CONNACK ─▶ AWAIT_SUBACK ── SUBACK ─▶ READY
 *        │                             └─ nothing to subscribe to ─────────────────────▶ │
 *        └───────────── the connection ends, or is refused ─────────────────▶ CLOSED ◀───┤
 *                                                 NEW ◀── the broker closes ─ LEAVING ◀───┘
 * DISCONNECT
 *
 * Towards the relay the same, but a hello stands for CONNECT, and there is nothing to subscribe to.
 *
 * Owner: its worker. Ends: client_close() from any state.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/load/outgoing.h"
#include "bench/load/plan.h"
#include "bench/load/reader.h"
#include "bench/load/subscribe.h"
#include "bench/load/transport.h"

struct worker;

#define CLIENT_FILTER_BYTES_MAX 128u /* of plan_client.filter */

enum client_phase {
    CLIENT_NEW,
    CLIENT_CONNECTING,
    CLIENT_OPENING, /* TLS and WebSocket, where the URL says so */
    CLIENT_AWAIT_CONNACK,
    CLIENT_AWAIT_SUBACK,
    CLIENT_READY,
    CLIENT_LEAVING,
    CLIENT_CLOSED,
};

/* What one publisher sends again and again: a PUBLISH up to the end of the stamp. */
struct message_head {
    uint8_t *bytes;
    uint32_t len;
    uint32_t packet_id_at; /* 0: QoS 0 */
    uint32_t stamp_at;
    uint32_t digits_at; /* with --topics: where the last level is; else 0 */
};

struct client {
    const struct plan_client *plan;
    uint32_t number;
    int fd; /* -1: none */
    enum client_phase phase;
    bool is_dirty;     /* in the worker's list of those that have something to send */
    bool awaits_room;  /* EPOLLOUT is asked for */
    uint64_t begun_ns; /* when connecting was meant to begin */
    struct client *next_dirty;
    struct client *next_to_open; /* in one of the worker's lists */
    struct outgoing out;
    size_t body_left; /* after `out`, so much of the filler is to be sent */
    struct transport transport;
    struct reader reader;
    struct subscribing subscribing;

    struct message_head head; /* of a publisher */
    uint64_t forgiven;        /* messages that it waits for no longer */
    uint64_t filled_ns;       /* when it last had room for some */
    uint64_t acknowledged;    /* of its messages */
    bool was_ready;           /* at an earlier time; it may be NEW again */
};

/* Begins to connect. */
void client_open(struct worker *w, struct client *c, uint64_t now_ns);

void client_on_events(struct worker *w, struct client *c, uint32_t events);

/* Room in flight for so many more messages of its own, over what was sent; 0 when not connected. */
uint64_t client_room(const struct worker *w, const struct client *c);

/* Takes all that it waits for as lost: else nothing would ever be sent again. */
void client_forgive(const struct worker *w, struct client *c);

/* Puts one message into the output buffer: false when it has no room. */
bool client_publish(struct worker *w, struct client *c, uint64_t intended_ns);

/* Says DISCONNECT; it becomes NEW when the broker has closed. */
void client_leave(struct worker *w, struct client *c);

/* For subscribe.c. */
void client_send_packet(struct worker *w, struct client *c, const struct mqtt_packet *packet);

/* Sends what there is to send, as far as the kernel takes it. */
void client_flush(struct worker *w, struct client *c);

void client_close(struct worker *w, struct client *c);
void client_free(struct client *c);
