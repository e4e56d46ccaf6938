/* SPDX-License-Identifier: Apache-2.0 */
/*
 * login: is a client who it says it is, and for how long? Between CONNECT's arrival at the shard of
 * its session and on_connect(), which heeds what came out.
 *
 *   LOGIN_OPEN ── a password to be judged ──▶ LOGIN_ASKED ── verdict ──▶ LOGIN_SETTLED
 *        └────── nobody to ask, or remembered ────────────────────────────────▲
 *
 * While it is asked, CONNECT stays undecoded where it came in, and nothing more is read.
 *
 * Owner: the shard of the connection.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/mqtt.h"

struct conn;
struct gate_request;
struct shard;

enum login_state { LOGIN_OPEN, LOGIN_ASKED, LOGIN_SETTLED };

/* As whom a client is connected; on the heap, the connection's. */
struct login_user {
    uint64_t fingerprint; /* of its line in the password file */
    uint16_t len;
    char name[];
};

/* Is it known what becomes of this CONNECT? conn->login_reason says what. Otherwise the verdict
 * will unblock the connection. */
bool login_is_settled(struct conn *c, const struct mqtt_connect *m);

/* Of any thread: the shard takes it up in its next turn. */
void login_answer(struct shard *s, struct gate_request *verdict);

/* Once a turn: takes verdicts up; and when there is another password file, ends the connections of
 * those who are not in it any more, or with another password. */
void login_turn(struct shard *s);

void login_forget(struct conn *c);
