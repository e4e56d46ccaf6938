/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard: who does not come in, whatever else is known: those who connect too often, and those who
 * are banned, by the list (auth.ban_file) or for a while.
 *
 * Owner: the shard of the connection.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

#include "proto/bytes.h"
#include "proto/mqtt.h"
#include "proto/nodiscard.h"

struct conn;
struct shard;

/* Once for each connection, as soon as its client's address is known: after the PROXY header, where
 * there is one, and before TLS. false: it is to be closed at once; counted and told. */
NODISCARD bool guard_admits(struct conn *c);

/* Before it is asked who the client is: if its client id or address is banned, that is settled, and
 * nobody has to judge its password. */
void guard_judge(struct conn *c, const struct mqtt_connect *m);

/* It would be let in otherwise; counts it as one that connects. MQTT_REASON_SUCCESS or
 * MQTT_REASON_BANNED, which is told. */
enum mqtt_reason guard_judge_user(const struct conn *c, const struct mqtt_connect *m);

/* What stands against a client at present; a dry run for explain. */
struct guard_outlook {
    unsigned client_line, user_line, address_line; /* of the ban list; 0: it is not on it */
    bool flaps; /* banned for a while, for connecting too often */
};

/* c: its connection; NULL: it has none. from: where it comes from; NULL: as the connection has it,
 * or unknown. */
struct guard_outlook guard_foresee(const struct shard *s, const struct conn *c,
                                   struct bytes client_id, const struct in6_addr *from);

/* Once a turn: when the ban list is another one, ends the connections of those who are on it. */
void guard_turn(struct shard *s);
