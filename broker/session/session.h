/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: what the broker keeps of a client from one connection to the next (4.1): its
 * subscriptions, the QoS 1 and 2 messages on their way in both directions, its will, and its end.
 *
 *   session_open() ──▶ connected ── session_detach() ──▶ waiting ── expiry or Clean Start ──▶ ended
 *                         ▲─────────── session_attach() ─────┘
 *
 * Owner: the shard that the client identifier belongs to; no call may come from another thread.
 * Memory: 170 bytes and the identifier, plus what is queued and pending; of one that waits, and has
 * nothing of those, no more than that. At the bounds: the queue's policy
 * (limits.session_queue_full); subscriptions and sessions are refused. Not here: who is subscribed
 * to what (route/local.h); the packets of the connection (conn/conn.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/fifo.h"
#include "broker/metrics.h"
#include "broker/pointer_set.h"
#include "broker/session/outqueue.h"
#include "broker/session/packet_ids.h"
#include "broker/shard/wheel.h"
#include "cluster/table.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct conn;
struct kept;
struct message;
struct replay;
struct shard;
struct subscription;

/* Stored at CONNECT, published when the connection ends otherwise than by DISCONNECT (3.1.2.5). */
struct will {
    struct message *message; /* a reference */
    uint32_t expiry_s;       /* message expiry interval: counted from publication */
    bool has_expiry;
    uint32_t delay_s;
    uint64_t due_ms; /* when the connection is gone; UINT64_MAX while it is there */
    bool is_revived; /* left by an earlier start of this node: others may have published it */
};

/* What a session has now and then; apart, as very many have nothing of it. */
struct pending {
    struct packet_ids received; /* QoS 2 from the client, not released yet */
    struct packet_ids open;     /* likewise, before those have it that have to keep it */
    struct fifo begun; /* struct begun_exchange: QoS 2 from the client, that others may have of an
                          earlier leader of the session's partition; session/kept.h's */
    struct replay *replays; /* owned by session/replay.h: retained messages still to be sent */
    struct replay *replays_last;
    /* Where a retained PUBLISH of the client's, which its shard has not stored yet, points back
     * here; NULL: there is none. The next connection waits for it, or would overtake it. */
    struct session **retaining;
};

struct begun_exchange {
    uint64_t exchange;
    uint16_t packet_id;
};

struct session {
    struct table_link by_client_id;
    struct shard *shard;
    struct conn *conn; /* borrowed; NULL while not connected */
    uint64_t serial;   /* unique in the process; a message's `publisher` */
    uint64_t client_hash;
    struct outqueue out;
    struct pending *pending;            /* owned; NULL: there is nothing */
    struct pointer_set filters;         /* struct local_filter: subscribed to, by route/local.h */
    struct subscription *subscriptions; /* route/local.h's: those with a record */
    uint64_t
        subscription_bytes; /* local_subscription_bytes() of them all, and what some need besides */
    uint32_t expiry_s;      /* session expiry interval; MQTT_NO_EXPIRY: never */
    uint32_t recipient;     /* its place in the delivery being put together (route/deliver.c) */
    uint64_t ends_ms;       /* when not connected; UINT64_MAX: never */
    struct will *will;      /* owned; NULL: none */
    struct kept *kept;      /* it outlives the process; NULL: it does not (session/kept.h) */
    struct timer timer;     /* the earlier of the will's and the session's time */
    uint16_t client_id_len;
    uint8_t client_id[];
};

static inline struct bytes session_client_id(const struct session *session)
{
    return bytes_of(session->client_id, session->client_id_len);
}

/* How many QoS 2 messages of the client are not released yet. */
static inline uint16_t session_received(const struct session *session)
{
    const struct pending *const p = session->pending;
    return p == NULL ? 0 : (uint16_t)(packet_ids_count(&p->received) + packet_ids_count(&p->open));
}

static inline bool session_has_received(const struct session *session, uint16_t packet_id)
{
    return session->pending != NULL && packet_ids_has(&session->pending->received, packet_id);
}

static inline bool session_has_open(const struct session *session, uint16_t packet_id)
{
    return session->pending != NULL && packet_ids_has(&session->pending->open, packet_id);
}

static inline struct replay *session_replays(const struct session *session)
{
    return session->pending == NULL ? NULL : session->pending->replays;
}

/* To put something there. NULL: no memory. */
struct pending *session_pending(struct session *session);

/* Of those that are not released, and not open. */
NODISCARD enum packet_ids_err session_receive(struct session *session, uint16_t packet_id);
bool session_release(struct session *session, uint16_t packet_id); /* false: it was not there */

/* If nobody is connected, what it has nothing in takes no memory any more. */
void session_rest(struct session *session);

/* A message that was for it, or its own will, goes no further: as shard_drop(). */
void session_drop(const struct session *session, enum metric reason, const struct message *m);

struct session *session_find(struct shard *s, struct bytes client_id); /* or NULL */

/* A new session without a connection; counted. NULL when out of memory. */
struct session *session_open(struct shard *s, struct bytes client_id, uint64_t client_hash);

/* The connection serves the session from now on: nothing ends by time, what was not acknowledged is
 * to be sent again. It has none now. The former will, if it was still to come, is forgotten. */
void session_attach(struct session *session, struct conn *conn);

enum session_will { SESSION_WILL_FORGET, SESSION_WILL_PUBLISH };

/* The connection is gone; the session may end here and now, and then the pointer is dead. */
void session_detach(struct session *session, enum session_will will);

/* A session of an earlier process, put together anew: nobody is connected to it. */
void session_revived(struct session *session, uint64_t ends_ms, uint64_t will_due_ms);

/* Likewise one that another node had, and that was committed: nobody else publishes its will. */
void session_waits(struct session *session, uint64_t ends_ms, uint64_t will_due_ms);

/* A kept one goes from this shard, as it is another node's now: no entry says so, no will comes of
 * it, and its deliveries go nowhere. Its client is sent away with that reason. */
void session_vanish(struct session *session, uint8_t reason);

/* Ends it: a will that waited is published, subscriptions go, shared deliveries go to other
 * members, the rest is dropped and counted. It has no connection. */
void session_end(struct session *session);

/* All that is in the queue, which is the session's, or a part of it (session/backlog.h). */
void session_give_up(struct session *session, struct outqueue *q);

void session_will_forget(struct session *session);
/* Now, whatever its delay; from here on it is no longer the session's. */
void session_will_publish(struct session *session);

/* One QoS 1 or 2 delivery for the session, with the reference and `more` in it. It is queued, sent
 * if the window is open, or dropped by the policy and counted. */
void session_deliver(struct session *session, const struct delivery *delivery);

/* Sends what the window and the connection's output have room for. */
void session_pump(struct session *session);

/* Room in the queue for a replay of retained messages to go on? */
bool session_has_room(const struct session *session);
