/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder: what a shard did last: the heads of the packets that came and went, and what was
 * dropped, refused or closed, and why. It is always on, so that somebody can be told afterwards.
 *
 *   ring: units of 64 bytes; a note has one to four, the first begins with its head
 *
 * What it has of a packet is what packet_head() says: no payload, no password.
 *
 * Owner: the shard; no call may come from another thread. What has been recorded is had by giving
 * the shard another ring (recorder_offer()), and reading its former one, which nobody writes any
 * more. Memory: the ring; pages that nothing was written to yet take none. At the bound: a new note
 * takes the place of the oldest ones. So that a stream costs little, so many are
 * noted in a millisecond, on average (NOTES_PER_MS, NOTES_AT_ONCE); what is above that is counted,
 * and one note says how many there were.
 */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct tracing;

#define NOTE_UNIT_BYTES    64u
#define NOTE_UNITS_MAX     4u
#define NOTE_TEXT_MAX      (NOTE_UNITS_MAX * NOTE_UNIT_BYTES - sizeof(struct note))
#define NOTES_PER_MS       16u /* half a thousandth of the processor's time */
#define NOTES_AT_ONCE      4096u
#define RECORDER_BYTES_MIN 65536u

enum note_kind {
    NOTE_RECEIVED = 1, /* a packet; text: its head; length: all of it */
    NOTE_SENT,         /* the same, the other way */
    NOTE_MALFORMED,    /* bytes that are no packet; text: of them, if the client is known already;
                            code: reason code */
    NOTE_ACCEPTED,     /* a connection */
    NOTE_NAMED,        /* CONNECT was accepted; text: client identifier */
    NOTE_CLOSED,       /* code: the reason code that it is closed with; text: client identifier */
    NOTE_DROPPED,      /* a message; code: enum metric; text: client identifier, a 0, topic */
    NOTE_SKIPPED,      /* packets and drops that there was no time for; length: so many */
};

/* The client's end of a connection, and the listener that it came by. */
struct note_peer {
    struct in6_addr address; /* IPv4 mapped; zeros: a Unix socket, or nobody's */
    uint16_t port;
    uint8_t listener;
};

struct note {
    struct in6_addr address;
    uint64_t at_ms; /* the node's clock, as of the turn */
    uint32_t length;
    uint16_t port;
    uint16_t code;
    uint8_t kind; /* enum note_kind */
    uint8_t text_len;
    uint8_t listener;
    uint8_t unused[5];
    uint8_t text[];
};

struct note_ring {
    size_t units;
    uint64_t next;   /* units written since its beginning; the next one is at next % units */
    uint8_t *begins; /* [units]: of a note's first unit, how many it has; 0: another one */
    uint8_t *at;     /* [units * NOTE_UNIT_BYTES] */
};

/* NULL: no memory. `bytes` at least RECORDER_BYTES_MIN. */
struct note_ring *note_ring_create(size_t bytes);
void note_ring_destroy(struct note_ring *r); /* NULL is fine */

/* The note at *cursor, or the next one that is whole, and *cursor beyond it; a cursor begins with
 * 0: the oldest. NULL: there are no more. */
const struct note *note_ring_next(const struct note_ring *r, uint64_t *cursor);

struct recorder {
    size_t bytes;           /* of a ring; 0: nothing is ever recorded */
    struct note_ring *ring; /* the shard's; NULL: as above */
    uint64_t now_ms;
    uint32_t left; /* that may still be noted */
    uint32_t skipped;
    struct tracing *tracing; /* trace.h's, of those who watch; NULL: nobody does */
    uint32_t tracing_generation;
    /* Written by whoever wants the ring (release), taken by the shard (acquire); and the other way
     * round. NULL: nothing is there. */
    _Atomic(struct note_ring *) offered, given;
};

/* bytes 0: nothing is ever recorded. false: no memory. */
NODISCARD bool recorder_init(struct recorder *r, size_t bytes);
void recorder_fini(struct recorder *r);

/* At the beginning of each turn. Takes up a ring that is offered, and gives its own away for it.
 * Returns how many were too many since. */
uint32_t recorder_turn(struct recorder *r, uint64_t now_ms);

void recorder_write(struct recorder *r, enum note_kind kind, uint16_t code,
                    const struct note_peer *peer, uint32_t length, struct bytes text,
                    struct bytes more);

/* May another one be noted? Otherwise it is counted. */
static inline bool recorder_may(struct recorder *r)
{
    if (r->left > 0) {
        r->left--;
        return true;
    }
    r->skipped++;
    return false;
}

/* ---- from another thread, one at a time */

/* The shard takes it up in its next turn. */
void recorder_offer(struct recorder *r, struct note_ring *ring);

/* The shard's former ring, which is the caller's now; NULL: not yet. */
struct note_ring *recorder_take(struct recorder *r);

/* What was offered, back; NULL: the shard has it. */
struct note_ring *recorder_withdraw(struct recorder *r);
