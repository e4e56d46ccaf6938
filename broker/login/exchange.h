/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange: enhanced authentication (4.12): a client that names an Authentication Method in CONNECT
 * says who it is in a talk of AUTH packets. Beside the chain (login.h), which judges a CONNECT that
 * names none.
 *
 *   CONNECT ─▶ begin ── AUTH 0x18 ⇄ AUTH 0x18 ── yes or no ──▶ on_connect(), CONNACK
 *   connected: AUTH 0x19 ─▶ begin ── AUTH 0x18 ⇄ AUTH 0x18 ── yes: AUTH 0x00; no: DISCONNECT
 *
 * Before CONNACK, CONNECT is set aside meanwhile (input.h). Who is connected goes on with
 * everything else meanwhile, and stays the same user. Either has connect_timeout_s for it. A method
 * answers at once; one that has to ask a thread belongs into the chain.
 *
 * Owner: the shard of the connection. Memory: some bytes while connected; what the method keeps, as
 * long as an exchange lasts. At the bound of a message: the method says no.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/login/method.h"
#include "broker/shard/wheel.h"
#include "proto/bytes.h"
#include "proto/mqtt.h"
#include "proto/nodiscard.h"

#define EXCHANGE_DATA_MAX 1280u /* what the server says at a time */

/* In a packet: the method's name, what is said, and what they are called. */
#define EXCHANGE_PROPERTIES_MAX (EXCHANGE_DATA_MAX + 64u)

struct property_writer;

enum exchange_step {
    EXCHANGE_GO_ON, /* with `data`; the client's turn */
    EXCHANGE_YES,   /* `facts`, and `data` as a last word */
    EXCHANGE_NO,    /* `reason` */
};

struct exchange_answer {
    uint8_t data[EXCHANGE_DATA_MAX];
    size_t len;               /* 0: nothing is said */
    struct login_facts facts; /* the name is borrowed from the state; whatever the step, if known;
                                 `acl` stays NULL: no method here brings rules */
    enum mqtt_reason reason;  /* one that CONNACK and DISCONNECT may have */
};

struct exchange_method {
    const char *name; /* as clients have it; at most 32 bytes */
    bool (*is_in_use)(const struct conn *c);
    void *(*begin)(const struct conn *c); /* its state; NULL: no memory */
    /* What the client says; nothing, and it may be the first message: the server is to begin. The
     * answer is zeros. */
    enum exchange_step (*step)(struct conn *c, void *state, struct bytes data,
                               struct exchange_answer *answer);
    void (*end)(void *state);
};

extern const struct exchange_method exchange_by_scram;

/* On the heap, the connection's, from a CONNECT with a method that is in use on. */
struct exchange {
    const struct exchange_method *method;
    struct conn *conn;
    struct timer deadline; /* of one that is under way while connected */
    void *state;           /* NULL: none is under way */
    uint8_t *last_word;    /* for CONNACK; owned; NULL: none, or it has been said */
    size_t last_word_len;
};

/* Does CONNECT name a method, and is it not settled yet what becomes of it? */
bool exchange_is_asked_for(const struct conn *c, const struct mqtt_connect *m);

/* Begins with it. True: it is settled already (login.h). False: AUTH has been sent, and CONNECT is
 * to be set aside. */
NODISCARD bool exchange_begin(struct conn *c, const struct mqtt_connect *m);

/* A packet of a client whose CONNECT is set aside. A reason from 0x80 up: refuse it with that. */
enum mqtt_reason exchange_hear(struct conn *c, const struct mqtt_packet *packet);

/* AUTH of a client that is connected: as a handler (handlers.h). */
enum mqtt_reason exchange_again(struct conn *c, const struct mqtt_disconnect *auth);

/* What CONNACK carries of it, once: EXCHANGE_PROPERTIES_MAX at most; nothing without a method. */
void exchange_put_last_word(struct property_writer *w, const struct conn *c);

void exchange_forget(struct conn *c);
