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
 * everything else meanwhile, and stays the same user. Either has connect_timeout_s for it.
 *
 * A method answers a message at once, or asks a thread by an inquiry: until its answer no further
 * packet of the client is looked at (BLOCKED_LOGIN). A connection that ends meanwhile, as its time
 * is over or for any other reason, has ended: the answer is passed over.
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
    EXCHANGE_WAIT,  /* an inquiry was handed over, whose answered() will call exchange_go_on() */
};

struct exchange_answer {
    uint8_t data[EXCHANGE_DATA_MAX];
    size_t len;               /* 0: nothing is said */
    struct login_facts facts; /* the name is borrowed from the state, or the inquiry; whatever the
                                 step, if known. Rules and groups: of EXCHANGE_YES only */
    enum mqtt_reason reason;  /* one that CONNACK and DISCONNECT may have */
};

struct exchange_method {
    const char *name;  /* as clients have it; at most 32 bytes */
    bool says_secrets; /* whoever reads what the client says could log in: it is wiped */
    bool (*is_in_use)(const struct conn *c);
    void *(*begin)(const struct conn *c); /* its state; NULL: no memory */
    /* What the client says; nothing, and it may be the first message: the server is to begin.
     * `connect` is what it came with; NULL: it is connected. The answer is zeros. */
    enum exchange_step (*step)(struct conn *c, void *state, const struct mqtt_connect *connect,
                               struct bytes data, struct exchange_answer *answer);
    void (*end)(void *state);
};

extern const struct exchange_method exchange_by_scram;
extern const struct exchange_method exchange_by_jwt;

/* On the heap, the connection's, from a CONNECT with a method that is in use on. */
struct exchange {
    const struct exchange_method *method;
    struct conn *conn;
    struct timer deadline; /* of one that is under way while connected */
    void *state;           /* NULL: none is under way */
    bool waits;            /* for the answer of an inquiry */
    uint8_t *last_word;    /* for CONNACK; owned; NULL: none, or it has been said */
    size_t last_word_len;
};

/* Does CONNECT name a method, and is it not settled yet what becomes of it? */
bool exchange_is_asked_for(const struct conn *c, const struct mqtt_connect *m);

/* Begins with it. True: it is settled already (login.h). False: AUTH has been sent, or an answer is
 * waited for, and CONNECT is to be set aside. */
NODISCARD bool exchange_begin(struct conn *c, const struct mqtt_connect *m);

/* A packet of a client whose CONNECT is set aside. A reason from 0x80 up: refuse it with that. */
enum mqtt_reason exchange_hear(struct conn *c, const struct mqtt_packet *packet);

/* AUTH of a client that is connected: as a handler (handlers.h). */
enum mqtt_reason exchange_again(struct conn *c, const struct mqtt_disconnect *auth);

/* From answered(): is the client still there, and waits? If not, no step is to be taken. */
bool exchange_is_awaited(const struct conn *c);

/* From answered(): the step that comes of it, not EXCHANGE_WAIT. The connection may be closed. */
void exchange_go_on(struct conn *c, enum exchange_step next, struct exchange_answer *answer);

/* Are there secrets in what it sends, after CONNECT too? */
bool exchange_has_secrets(const struct conn *c);

/* What CONNACK carries of it, once: EXCHANGE_PROPERTIES_MAX at most; nothing without a method. */
void exchange_put_last_word(struct property_writer *w, const struct conn *c);

void exchange_forget(struct conn *c);
