/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_parts: what the files of a link have in common: link.c, its life and its connections;
 * link_in.c, what comes; link_out.c, what goes. Not a public header.
 */
#pragma once

#include "cluster/link/backlog.h"
#include "cluster/link/link.h"

/* HELLO, GAP, CREDIT, ACK, PING, CLOSE: one of each at most. */
#define LINK_CONTROL_BYTES                                                                         \
    (6 * NODE_FRAME_HEAD_BYTES + NODE_HELLO_BYTES_MAX + 3 * NODE_CONTROL_BYTES_MAX)

enum link_phase {
    LINK_PHASE_OFF = 0,
    LINK_PHASE_WAITING,
    LINK_PHASE_DIALING,
    LINK_PHASE_GREETING,
    LINK_PHASE_UP,
    LINK_PHASE_CLOSING,
};

/* The order of the runs in link_output(). */
enum link_run { LINK_RUN_CONTROL, LINK_RUN_KEPT, LINK_RUN_PASSING };

struct link {
    struct link_conf conf;
    bool wanted;

    /* The connection; all of it is void without one. */
    enum link_phase phase;
    uint64_t connection; /* 0: none */
    enum node_close why;
    bool was_up;
    uint64_t phase_ms; /* when the phase began */
    uint64_t heard_ms; /* when bytes came last */
    uint64_t said_ms;  /* when bytes went last */
    uint32_t peer_frame_max;
    uint64_t peer_credit;

    /* The next one. */
    bool dial_told;
    uint64_t dial_ms;  /* WAITING */
    unsigned failures; /* dials, and connections that did not last, since one that did */
    uint64_t random;

    /* Our stream. */
    struct backlog kept, passing;
    uint64_t given_high;    /* highest number that a connection was given, ever */
    uint64_t fresh_through; /* numbers up to here were for an earlier start of the peer */
    bool slow;
    uint64_t slow_ms; /* since when */

    /* The peer's stream. */
    uint64_t peer_generation; /* 0: not known yet */
    uint64_t peer_features;   /* of its last HELLO */
    uint64_t in_stream;       /* 0: none yet */
    uint64_t received;        /* highest number, and all before it */
    size_t unacked_bytes;     /* of it, not acknowledged; 0: all is */
    uint64_t unacked_ms;      /* since when */
    uint64_t credit;

    /* Input: the beginning of a frame. */
    uint8_t *in;
    size_t in_len, in_capacity;
    bool held; /* a whole frame was there, and was not taken */

    /* Output: what is due, and the runs that are under way. */
    bool hello_due, credit_due, close_due;
    bool gap_due;
    uint64_t gap_first; /* its last is kept.first - 1 */
    uint8_t control[LINK_CONTROL_BYTES];
    struct bytes runs[LINK_RUNS];
    uint64_t passing_last; /* number, in `passing`, of the last frame of its run */

    struct link_figures figures;
};

/* ---- link.c */

/* The connection is of no use any more. tell: with a CLOSE. */
void link_end(struct link *l, enum node_close why, bool tell, uint64_t now_ms);

/* The peer's HELLO has come, and was judged. */
NODISCARD enum node_close link_greeted(struct link *l, const struct node_hello *hello,
                                       uint64_t now_ms);

/* kept.bytes has changed. */
void link_watch_room(struct link *l, uint64_t now_ms);

/* ---- link_in.c */

void link_input_reset(struct link *l);

/* ---- link_out.c */

void link_output_reset(struct link *l);
bool link_output_is_empty(const struct link *l); /* no runs are under way */
