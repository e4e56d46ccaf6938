/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link: one stream of frames to one other node, and its stream to us, over whatever connections
 * there are one after the other. It decides; sockets, clocks and waiting are the caller's.
 *
 *   OFF ◀── link_want() ──▶ WAITING ── its time has come ──▶ DIALING ── link_dialed() ──▶ GREETING
 *                              ▲                                │                            │
 * HELLO link_accept(), in OFF     └──────── link_down() ◀──────────┴──── CLOSING ◀──── UP ◀─────┘
 *    or WAITING ──▶ UP
 *
 * The node with the lower UUID dials; the other one's link is in OFF until it is called.
 *
 * What it promises of numbered frames (QoS 1 and 2): each is delivered once, in order, whatever
 * happens to connections; or the receiver hears of a gap in front of the next one that is, and the
 * sender of what was lost. A stream is lost when it is given up: the other node was started anew,
 * it took too little for max_stall_ms, or the caller says so. Frames without a number (QoS 0,
 * and what has numbers of its own, as interest has) are sent once, if there is a connection and
 * room, and forgotten.
 *
 *   number in the head     dedup: what has come already is dropped, what leaves one out is refused
 *   ack in each head       cumulative; and by itself after 64 KiB or 5 ms
 *   HELLO                  says what has come of which stream; the rest is sent again
 *   GAP                    is the only way over a number
 *
 * Owner: a shard; no call may come from another thread. events are called from within the calls
 * that say so; of the link they may call link_put() and link_figures() only.
 * Memory: what is not acknowledged (kept_bytes_max), what waits to be sent once
 * (passing_bytes_max), each and one frame more at most; the part of a frame that has come (at most
 * frame_max). In a steady flow nothing is allocated.
 * At the bound: at three quarters of kept_bytes_max events.slow says so, and again when it is half
 * empty; link_put() answers LINK_FULL when nothing more fits. Without a number: LINK_NO_ROOM, and
 * it is counted.
 * Time: any clock that does not go back, in ms. link_next_ms() says when link_turn() is due. After
 * each call that is given the time: link_todo(), and link_output() if nothing of it is under way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/identity.h"
#include "proto/bytes.h"
#include "proto/node_control.h"
#include "proto/node_frame.h"
#include "proto/node_hello.h"
#include "proto/nodiscard.h"

#define LINK_RUNS    3u /* of link_output() */
#define LINK_STREAMS (UINT64_C(1) << 24)

struct link;

enum link_taken {
    LINK_TAKEN = 0,
    LINK_NOT_NOW, /* it is given again, by the next link_received() */
    LINK_BAD,     /* malformed: the connection ends */
    LINK_UNKNOWN, /* of a type that nobody here takes: passed over, unless it is critical */
};

enum link_loss {
    LINK_LOSS_RESTARTED = 1, /* the other node was started anew: its sessions ended with it */
    LINK_LOSS_STALLED,       /* it took too little for max_stall_ms */
    LINK_LOSS_GIVEN_UP,      /* link_give_up() */
    LINK_LOSS_TOO_LARGE,     /* it takes no frames as large as one of them */
};

struct link_events {
    /* Of a type that is not the link's own. Numbered (seq > 0): once each, in order. It counts as
     * received, and will be acknowledged, from its LINK_TAKEN on. */
    enum link_taken (*deliver)(void *context, const struct node_frame *frame);
    /* A connection has greeted, and that is who is there. */
    void (*up)(void *context, const struct node_hello *hello);
    void (*down)(void *context, enum node_close why); /* after an up */
    /* true: it has no more room; whoever makes numbered frames is to be slowed. false: go on. */
    void (*slow)(void *context, bool slow);
    /* Frames to us may have been lost, before the next that is delivered. Who would have got them
     * must not be left in the belief that he has all. */
    void (*gap)(void *context);
    /* The other node was started anew: what it said before is over. Before up. */
    void (*restarted)(void *context, uint64_t generation);
    /* Numbered frames of ours, first..last: some, or all, were not taken. */
    void (*lost)(void *context, uint64_t first, uint64_t last, enum link_loss why);
    void *context;
};

struct link_conf {
    struct identity self;
    struct node_uuid peer; /* not self's */
    uint16_t lane;
    uint64_t stream; /* 1..LINK_STREAMS - 1; no other link of this start, to whomever, has had it.
                      * Its name in HELLO has the generation in it: names are of one start only */
    struct bytes build; /* of HELLO; borrowed */
    uint64_t seed;      /* of the jitter of reconnects */
    struct link_events events;

    uint32_t frame_max; /* longest body that is taken */
    size_t kept_bytes_max, passing_bytes_max;
    uint32_t ack_bytes, ack_ms;
    uint32_t hello_ms;     /* to wait for a HELLO */
    uint32_t ping_ms;      /* without anything sent: a PING */
    uint32_t silence_ms;   /* without anything received: the connection is dead */
    uint32_t max_stall_ms; /* slow for so long: given up */
    uint32_t backoff_ms,
        backoff_max_ms;  /* between two dials: doubled each time, half of it random */
    uint32_t settled_ms; /* up for so long: the next backoff is the first again */
};

/* All but self, peer, lane, stream, build, seed and events, as docs/architecture.md has them. */
struct link_conf link_conf_defaults(void);

NODISCARD struct link *link_create(const struct link_conf *conf); /* NULL: out of memory */
/* No connection is attached; NULL is fine. It is for when the node ends, or the peer is forgotten:
 * if another link to the same peer is made in this start, what was taken and not acknowledged yet
 * is delivered twice, and what was kept is a gap. */
void link_destroy(struct link *l);

/* Whether there is to be a connection: off until first told so. Not wanted: one that there is is
 * closed. What is kept, stays. */
void link_want(struct link *l, bool wanted, uint64_t now_ms);

/* What is kept will not be taken any more (the other node was declared dead): events.lost, slow.
 * Should it come back, with its old start, it will hear of the gap. */
void link_give_up(struct link *l, uint64_t now_ms);

/* ---- Connections. `connection` is the caller's name for it, not 0; the link has one at a time. */

enum link_todo {
    LINK_NOTHING = 0,
    LINK_DIAL,  /* connect to the peer; link_dialed() or link_dial_failed() is to follow */
    LINK_CLOSE, /* close it, after what link_output() still has if that is taken at once; then
                   link_down() */
};

/* Asked after each call; LINK_DIAL is said once, LINK_CLOSE until link_down(). */
NODISCARD enum link_todo link_todo(struct link *l);
enum node_close link_why(const struct link *l); /* of the last LINK_CLOSE or link_down() */

uint64_t link_connection(const struct link *l); /* 0: none */
bool link_is_up(const struct link *l);

void link_dialed(struct link *l, uint64_t connection, uint64_t now_ms); /* after LINK_DIAL */
void link_dial_failed(struct link *l, uint64_t now_ms);

/*
 * The peer has called, and its HELLO was read (greeting.h). No connection is attached: a former one
 * is closed first, and link_down() told (REPLACED), since the peer has ended it.
 * NODE_CLOSE_NONE: it is up. Otherwise the connection is not taken; send that.
 */
NODISCARD enum node_close link_accept(struct link *l, uint64_t connection,
                                      const struct node_hello *hello, uint64_t now_ms);

/* Bytes have come. *used: how many of them are done with; fewer than len only after LINK_NOT_NOW,
 * when the rest is to be given again later. Those of a connection that is not attached are nothing.
 * deliver, up, restarted, gap, lost, slow. */
void link_received(struct link *l, uint64_t connection, const uint8_t *in, size_t len,
                   uint64_t now_ms, size_t *used);
bool link_is_held(const struct link *l); /* since LINK_NOT_NOW: link_received() once more, later */

/* Bytes to be sent now, runs[0..n) one after the other; the same until link_sent(). They are lent
 * until they have been sent, or link_down(). */
size_t link_output(struct link *l, struct bytes runs[LINK_RUNS], uint64_t now_ms);
void link_sent(struct link *l, uint64_t connection, size_t len, uint64_t now_ms);

/* The connection has ended, and nobody reads the bytes that were lent any more. down, lost. */
void link_down(struct link *l, uint64_t connection, enum node_close why, uint64_t now_ms);

/* ---- Frames */

enum link_put {
    LINK_OK = 0,
    LINK_FULL,      /* numbered: once more after slow(false) */
    LINK_NO_ROOM,   /* not numbered: no connection, or too much waits; counted */
    LINK_TOO_LARGE, /* more than one of the two takes */
    LINK_NO_MEMORY,
};

/* numbered: *seq is set. The body, of body_len bytes, is to be written to *body at once, before any
 * other call. slow. */
NODISCARD enum link_put link_put(struct link *l, uint8_t type, bool numbered, size_t body_len,
                                 uint8_t **body, uint64_t *seq, uint64_t now_ms);

/* Bytes of frames without a number that still would be taken, heads included. */
size_t link_room(const struct link *l);

/* How much of the peer's numbered frames may be unacknowledged: 0 stops them, UINT64_MAX leaves it
 * to the peer. Acknowledgements and all other frames go on. */
void link_set_credit(struct link *l, uint64_t bytes);

/* ---- Time */

/* Acknowledgements, PINGs, dials, the death of a connection. lost, slow. */
void link_turn(struct link *l, uint64_t now_ms);
uint64_t link_next_ms(const struct link *l); /* UINT64_MAX: never, unless something happens */

/* ---- Figures */

struct link_figures {
    uint64_t connections;           /* that have greeted */
    uint64_t refusals;              /* by one side or the other: that will not change by itself */
    uint64_t frames_in, frames_out; /* numbered, the first time; what is not is left out */
    uint64_t passing_in, passing_out;
    uint64_t resent;          /* numbered frames that had been given to a former connection */
    uint64_t duplicates;      /* of the peer's, dropped */
    uint64_t passing_dropped; /* without a number: no room, no connection, or it ended */
    uint64_t skipped;         /* frames of a type that is not known, or nobody takes */
    uint64_t lost_restarted, lost_stalled, lost_given_up, lost_too_large; /* numbered frames */
    uint64_t stalls;
    uint64_t gaps_told, gaps_heard;
    uint64_t kept_frames, kept_bytes, passing_bytes; /* now */
    uint64_t last_seq, acked_seq, received_seq;
    uint64_t peer_generation; /* 0: not known yet */
    uint64_t peer_features;   /* of its last HELLO */
    bool slow;
};

struct link_figures link_figures(const struct link *l);
