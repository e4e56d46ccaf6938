/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input: from received bytes to packets, and from packets to what is done about them.
 *
 * One packet is dealt with wholly before the next is looked at; where that takes an answer of
 * another shard, or room that is not there, the connection is blocked, and its bytes wait.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;

/* Deals with bytes of MQTT, which are borrowed; those that may have a password or token in them are
 * wiped. false: the connection has moved away, and is freed. */
bool input_received(struct conn *c, const uint8_t *data, size_t len);

/* Goes on receiving, as far as that is wanted: where nothing came of what was received. */
void input_read_on(struct conn *c);

/* What was received and is not decoded yet, and what was set aside. */
void input_forget(struct conn *c);

/* Of a connection whose packets are another node's (broker/relay): what waits goes there, as much
 * as may. */
void input_relay_on(struct conn *c);

/* A CONNECT that was set aside (login/exchange.h) has been dealt with. */
void input_take_back(struct conn *c);

/* Takes away one reason to wait (enum conn_blocked), and goes on in this turn if it was the last.
 */
void input_unblock(struct conn *c, unsigned why);

/* What waits is looked at again; for connections of shard->ready. The connection may be closed, or
 * (false) moved away and freed. */
bool input_resume(struct conn *c);
