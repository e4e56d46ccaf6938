/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorded: what a connection gives the shard's recorder: its packets, its beginning and its end;
 * and to those who watch it while that happens (traced.h).
 *
 * Owner: the connection's shard.
 */
#pragma once

#include <stdint.h>

#include "broker/conn/conn.h"
#include "broker/conn/traced.h"
#include "broker/recorder/recorder.h"
#include "broker/shard/shard.h"
#include "proto/bytes.h"

/* Of recorded.c; called by those below. */
void recorded_packet(struct conn *c, enum note_kind kind, struct bytes begin, size_t len);

static inline void record_received(struct conn *c, const struct mqtt_packet *decoded,
                                   struct bytes packet)
{
    if (c->shard->recorder.tracing != NULL) {
        traced_received(c, decoded, packet);
    }
    if (recorder_may(&c->shard->recorder)) {
        recorded_packet(c, NOTE_RECEIVED, packet, packet.len);
    }
}

static inline void record_sent(struct conn *c, struct bytes packet)
{
    if (c->shard->recorder.tracing != NULL) {
        traced_sent(c, packet, packet.len, NULL);
    }
    if (recorder_may(&c->shard->recorder)) {
        recorded_packet(c, NOTE_SENT, packet, packet.len);
    }
}

/* PUBLISH of `len` bytes, which begins with these: with more than its head. */
static inline void record_publish_sent(struct conn *c, struct bytes begin, size_t len,
                                       const struct message *m)
{
    if (c->shard->recorder.tracing != NULL) {
        traced_sent(c, begin, len, m);
    }
    if (recorder_may(&c->shard->recorder)) {
        recorded_packet(c, NOTE_SENT, begin, len);
    }
}

/* What is no packet, as far as it is there. */
void record_malformed(struct conn *c, struct bytes begin, uint8_t reason);

/* The rest of its life. */
void record_accepted(struct conn *c);
void record_named(struct conn *c, struct bytes client_id);
void record_closed(struct conn *c, uint8_t reason);
