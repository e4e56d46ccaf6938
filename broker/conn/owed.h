/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owed: answers that a client gets when what they say is kept.
 *
 *   receipts   PUBACK and PUBREC, when all shards and other nodes have kept the message that
 *              have to, in the order of the PUBLISH packets (4.6): of one connection, where it
 *              is another node that lets wait, else of all. PUBREC of a session that is kept
 *              waits once more, until it is written that the message was received; until then
 *              its packet identifier is in session->open, and then in session->received
 *   replies    PUBREC, PUBREL, PUBCOMP, when this shard has kept what came before them
 *   holds      CONNACK, and all that follows it: the connection's output stays where it is
 *
 * Owner: the shard. Memory: an item for each answer; of one connection OWED_MAX, then it is not
 * read from (BLOCKED_KEEP); and one for each turn whose RECEIVED is not on disk. A connection with
 * answers owed is not freed, nor is it told anything when it has ended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/mqtt.h"

struct conn;
struct message;
struct session;
struct shard;

#define OWED_MAX 2048u

/* The message was routed with s->ticket, if s->route_waits has a shard in it. PUBACK or PUBREC, at
 * once or later. The session is the connection's; of one that has ended meanwhile it was, NULL:
 * that has ended too. */
void owed_receipt(struct conn *c, struct session *session, const struct message *m,
                  uint16_t packet_id, uint8_t reason);

/* A QoS 2 message of a kept session is not received until its receipt says so: whoever looks for a
 * receipt later than when it came has it wait in session->open, and takes it back from there. */
void owed_wait(struct session *session, uint16_t packet_id);
void owed_wait_no_more(struct session *session, uint16_t packet_id);

/* PUBACK or PUBREC to a PUBLISH that was not taken: after the receipts of those before it (4.6). */
void owed_refusal(struct conn *c, uint8_t qos, uint16_t packet_id, uint8_t reason);

/* An acknowledgement, when all that this shard has written by now is kept. */
void owed_reply(struct conn *c, enum mqtt_type type, uint16_t packet_id, uint8_t reason);

/* Nothing leaves until ledger_kept() has come to that position. */
void owed_hold(struct conn *c, uint64_t position);

/* fn(context) then, if the connection is still connected; the connection is there in any case. */
typedef void owed_fn(struct conn *c, void *context);
void owed_call(struct conn *c, owed_fn *fn, void *context);

/* fn(), when all receipts are given that the connection is owed by now: at once, if there are none.
 */
void owed_after(struct conn *c, owed_fn *fn, void *context);

/* fn(), when all receipts are given that the shard owes by now to anybody: one of them may be of an
 * earlier connection of the same session. */
void owed_after_all(struct conn *c, owed_fn *fn, void *context);

/* That target, a shard or another node, has kept all up to the ticket. */
void owed_kept(struct shard *s, unsigned target, uint64_t ticket);

/* Another node will not have what was routed under the ticket: no acknowledgement says that it has,
 * but that reason, or the connection is closed. */
void owed_refused(struct shard *s, uint64_t ticket, uint8_t reason);

/* Have those targets, 1 << id, kept all up to the ticket? */
bool owed_is_kept(const struct shard *s, uint64_t targets, uint64_t ticket);

void owed_settle(struct shard *s); /* what has become true is told */

/* Nobody waits any more, whatever becomes of what they waited for: the process ends. */
void owed_abandon(struct shard *s);

/* The session is about to end, or not kept any more. */
void owed_forget(struct shard *s, struct session *session);

/* No exchange that was begun by then is open, on any shard: of all, RECEIVED is on disk. */
struct node;
bool owed_none_since(const struct node *node, uint64_t ms);
