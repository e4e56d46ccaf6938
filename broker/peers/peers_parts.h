/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers_parts: what the files of this folder have in common: peers.c, who there is, and the turn;
 * words.c, what other threads say; wire.c, a connection that is nobody's yet; lane.c, one link and
 * its connection; lane_told.c, what a link tells, and its figures. Not a public header.
 */
#pragma once

#include <stdatomic.h>

#include "broker/io/io.h"
#include "broker/peers/peers.h"

/* What the gossip thread says to one shard. On the heap, the shard's once it is in the list. */
struct word {
    struct word *next;
    enum word_kind { WORD_FACTS, WORD_ARRIVED, WORD_DIALED, WORD_TRUST } kind;
    struct peer_facts facts;   /* of the others: the number alone */
    struct peer_wire wire;     /* WORD_ARRIVED, WORD_DIALED; PEER_WIRE_NONE: none (any more) */
    struct tls_context *trust; /* WORD_TRUST; a reference */
    size_t len;                /* WORD_ARRIVED */
    uint8_t read[];
};

/*
 *   NONE ── dialed, arrived ──▶ OPEN ── LINK_CLOSE ──▶ FAREWELL ── io_close() ──▶ CLOSING
 *     ▲                          └─────────── it broke, or another came ────────────▶ │
 *     └──────────────────────────────────── closed() ─────────────────────────────────┘
 */
enum lane_state {
    LANE_NONE,
    LANE_OPEN,
    LANE_FAREWELL, /* the last bytes go, our side is shut, and the other end is waited for */
    LANE_CLOSING,
};

/*
 * One link, and its connection if there is one.
 *
 * Owner: the shard. Freed when it is let go of and its socket, if any, is closed: what
 * link_output() has lent is the kernel's until then.
 */
struct lane {
    struct io_socket socket; /* first */
    struct shard *shard;
    struct link *link;
    unsigned number;
    struct node_uuid node;
    uint8_t name_len; /* for the log */
    uint8_t name[NODE_NAME_MAX];

    enum lane_state state;
    enum node_close why;  /* CLOSING, if the link does not know better */
    uint64_t connection;  /* the link's name of it, or of the last one */
    uint64_t close_by_ms; /* FAREWELL */
    struct tls_pipe *tls; /* of the connection; NULL: it is not encrypted */
    const char *tls_told; /* why it failed, as the log has it; NULL: it did not */
    size_t send_bytes;    /* under way, of the link's */
    size_t wire_bytes;    /* and of the pipe's */
    bool sending;
    bool receiving;   /* io_receive_start() holds */
    bool peer_ended;  /* nothing comes any more; what has come is owed a hearing */
    bool said;        /* FAREWELL: there was something to be said */
    bool shut;        /* FAREWELL: and all of it is */
    bool dial_due;    /* the link wants one, and an earlier one has yet to come back */
    bool give_up_due; /* peers_give_up() */
    bool up;
    bool end_told; /* by peers_end() */
    bool gone;     /* nobody's any more, but for the kernel: */
    struct lane *next_gone;

    /* Held (LINK_NOT_NOW): what has come behind what the link has. */
    uint8_t *rest;
    size_t rest_begin, rest_end, rest_capacity;
    uint64_t again_ms; /* when it is given again by itself */

    struct word *waiting;    /* has arrived; until the former connection is closed */
    uint64_t next_ms;        /* when there is something to do */
    enum node_close refused; /* as the log has it */
    struct link_figures counted;
};

/* Of one number, on one shard. */
struct peer {
    unsigned lanes;     /* as last told; 0: the number is nobody's */
    bool dialing;       /* a peers_dialed() is owed */
    bool dial_is_stale; /* for a link that is gone */
    struct peer_facts facts;
    struct lane *lane; /* NULL: this shard has none */
};

struct shard_peers {
    struct peers *peers;
    uint32_t has_lane; /* bits, by number: */
    uint32_t dirty;    /* something of it may be to be sent, or done */
    uint32_t resume;   /* to be given again */
    uint32_t failed;   /* there was no memory for the link, until: */
    uint64_t again_ms;
    uint64_t next_ms; /* of all of them */
    unsigned sockets; /* lanes with a connection, those let go of included: */
    struct lane *gone;
    bool ending;
    struct peer peer[PEERS_MAX];
    _Atomic uint64_t gauges[PEERS_GAUGES];    /* the owner's to write, relaxed */
    _Alignas(64) _Atomic(struct word *) come; /* the last one first; put there by any thread */
};

struct peers {
    struct peers_conf conf;
    struct link_conf limits;
    unsigned shard_count;
    _Atomic uint64_t streams; /* given to links so far */
    struct shard_peers *of[]; /* [shard_count] */
};

static inline uint32_t peer_bit(unsigned number)
{
    return UINT32_C(1) << number;
}

/* NULL: this node has no cluster. */
struct shard_peers *peers_of(const struct shard *s);

/* ---- words.c */

struct word *words_take(struct shard_peers *sp); /* the first one first */
void word_free(struct word *w);                  /* and closes what it has */

/* ---- lane.c */

extern const struct io_handlers lane_io_handlers; /* context: the shard */

/* NULL: no memory. */
struct lane *lane_create(struct shard *s, const struct peer_facts *facts);
void lane_let_go(struct lane *l); /* forgotten: down and lost are told now, and nothing later */
void lane_free(struct lane *l);   /* no io is there any more */

void lane_dialed(struct lane *l, struct peer_wire wire);
void lane_arrived(struct lane *l, struct word *w); /* takes the word */
void lane_resume(struct lane *l);
void lane_turn(struct lane *l);  /* next_ms has come: lane_go_on() is to follow */
void lane_go_on(struct lane *l); /* after whatever has happened to the link: what follows from it */
void lane_close(struct lane *l, enum node_close why);
void lane_trust(struct lane *l, const struct tls_context *now);

/* ---- lane_told.c */

struct link_events lane_events(struct lane *l);
void lane_count(struct lane *l); /* what the link has counted since */
void lane_log_refused(struct lane *l, enum node_close why);
void lane_log_tls(struct lane *l, const char *why);
