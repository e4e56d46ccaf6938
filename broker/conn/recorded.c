/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/recorded.h"

#include "broker/session/session.h"
#include "proto/packet_head.h"

#define MALFORMED_BYTES 8u /* type, length, and what comes next */

static void put_note(struct conn *c, enum note_kind kind, uint8_t code, size_t len,
                     struct bytes text)
{
    const struct note_peer peer = traced_peer(c);
    recorder_write(&c->shard->recorder, kind, code, &peer, (uint32_t)len, text, bytes_of(NULL, 0));
}

void recorded_packet(struct conn *c, enum note_kind kind, struct bytes begin, size_t len)
{
    put_note(c, kind, 0, len, bytes_of(begin.at, packet_head(begin)));
}

/* What is no packet. */
static void note_event(struct conn *c, enum note_kind kind, uint8_t code, size_t len,
                       struct bytes text)
{
    if (c->shard->recorder.tracing != NULL) {
        traced_event(c, kind, code, len, kind == NOTE_MALFORMED ? text : bytes_of(NULL, 0));
    }
    if (recorder_may(&c->shard->recorder)) {
        put_note(c, kind, code, len, text);
    }
}

void record_malformed(struct conn *c, struct bytes begin, uint8_t reason)
{
    const size_t shown = c->phase != CONN_CONNECTED    ? 0 /* a password may be among them */
                         : begin.len < MALFORMED_BYTES ? begin.len
                                                       : MALFORMED_BYTES;
    note_event(c, NOTE_MALFORMED, reason, begin.len, bytes_of(begin.at, shown));
}

void record_accepted(struct conn *c)
{
    note_event(c, NOTE_ACCEPTED, 0, 0, bytes_of(NULL, 0));
}

void record_named(struct conn *c, struct bytes client_id)
{
    traced_anew(c);
    note_event(c, NOTE_NAMED, 0, 0, client_id);
}

void record_closed(struct conn *c, uint8_t reason)
{
    note_event(c, NOTE_CLOSED, reason, 0,
               c->session == NULL ? bytes_of(NULL, 0) : session_client_id(c->session));
}
