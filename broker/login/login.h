/* SPDX-License-Identifier: Apache-2.0 */
/*
 * login: is a client who it says it is, and for how long? Between CONNECT's arrival at the shard of
 * its session and on_connect(), which heeds what came out.
 *
 *   LOGIN_OPEN ── a method waits for a thread ──▶ LOGIN_ASKED ── yes or no ──▶ LOGIN_SETTLED
 *      │  ▲────────────────────── next ───────────────┘                            ▲
 *      └──────────────────────── yes or no, or no method is left ──────────────────┘
 *
 * The methods of `auth.methods` are asked in that order; each says yes, no, or next. While one
 * waits, CONNECT stays undecoded where it came in, and nothing more is read.
 *
 * Owner: the shard of the connection.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/wheel.h"
#include "proto/bytes.h"
#include "proto/mqtt.h"

struct acl;
struct conn;
struct groups;
struct inquiry;
struct shard;

enum login_state { LOGIN_OPEN, LOGIN_ASKED, LOGIN_SETTLED };

/* As whom a client is connected, and by what; on the heap, the connection's. */
struct login_user {
    struct timer end; /* runs while connected, if `ends_ms` says so */
    struct conn *conn;
    uint64_t ends_ms;      /* the connection ends then, unless it is renewed; UINT64_MAX: never */
    uint64_t fingerprint;  /* of what it was judged by, as its method has it; 0: none */
    struct acl *acl;       /* owned; rules of its own, asked before those of all; NULL: none */
    struct groups *groups; /* owned; besides those of the ACL file; NULL: none */
    uint8_t method;        /* enum config_auth_method */
    uint16_t len;
    char name[];
};

static inline struct bytes login_user_name(const struct login_user *user)
{
    return user == NULL ? bytes_of(NULL, 0) : bytes_of(user->name, user->len);
}

/* Is it known what becomes of this CONNECT? conn->login_reason says what. Otherwise an answer will
 * unblock the connection. */
bool login_is_settled(struct conn *c, const struct mqtt_connect *m);

/* CONNECT has been accepted: from now on the user's time runs. */
void login_begin(struct conn *c);

/* The user's connection ends then, not when it was said before. */
void login_renew(struct conn *c, uint64_t ends_ms);

/* Of any thread: the shard takes it up in its next turn. */
void login_answer(struct shard *s, struct inquiry *answered);

/* Once a turn: takes answers up; and when there are other users (node->users_generation), ends the
 * connections of those who would not be let in any more. */
void login_turn(struct shard *s);

void login_forget(struct conn *c);
