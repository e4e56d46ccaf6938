/* SPDX-License-Identifier: Apache-2.0 */
/*
 * traced: what a connection gives those who watch it (recorder/trace.h). Called where the shard's
 * recorder.tracing is not NULL only.
 *
 * Owner: the connection's shard.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "broker/metrics.h"
#include "broker/recorder/recorder.h"
#include "proto/bytes.h"
#include "proto/mqtt.h"

struct conn;
struct message;
struct shard;

/* The client's end, as notes have it. */
struct note_peer traced_peer(const struct conn *c);

void traced_received(struct conn *c, const struct mqtt_packet *packet, struct bytes bytes);

/* A packet of `len` bytes, of which these are there; m: of a PUBLISH, otherwise NULL. */
void traced_sent(struct conn *c, struct bytes begin, size_t len, const struct message *m);

/* The rest of its life. `text`: of bytes that are no packet. */
void traced_event(struct conn *c, enum note_kind kind, uint8_t code, size_t len, struct bytes text);

/* It has a name now, or another one; also where nobody watches. */
void traced_anew(struct conn *c);

/* As shard_drop(). */
void traced_drop(struct shard *s, enum metric reason, struct bytes client_id, struct bytes topic);
