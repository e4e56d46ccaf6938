/* SPDX-License-Identifier: Apache-2.0 */
/* What a gossip thread is made of; for this folder. All of it is under the lock, unless it says
 * otherwise. */
#pragma once

#include <pthread.h>

#include "broker/gossip/gossiper.h"
#include "broker/gossip/resolver.h"
#include "broker/gossip/tcp.h"

#define GOSSIPER_HELLO_MS   5000u  /* from an accept to its first four bytes, or to a HELLO */
#define GOSSIPER_CONNECT_MS 3000u  /* for TCP to come through */
#define GOSSIPER_IDLE_MS    10000u /* of a stream */

#define GOSSIPER_NEVER UINT64_MAX

/* With which a connection begins, whatever it is for. */
#define GOSSIPER_MAGIC_BYTES 4u

#define GOSSIPER_TLS_STEPS 4u /* of handshakes, in a turn */

struct gossiper {
    struct gossiper_conf conf; /* does not change, but for identity and ring */
    pthread_t thread;
    pthread_mutex_t lock;
    int epoll, wake;                          /* do not change */
    _Atomic uint64_t dials_wanted[PEERS_MAX]; /* a bit for each lane; shards set, we clear */

    bool stopping;
    uint64_t end_ms; /* when it ends although not all have heard that it leaves */

    struct node_address own; /* port 0: not known yet, and there is no membership */
    struct membership *membership;
    struct seal *seal;
    struct tcp tcp;
    struct gossiper_figures figures;

    struct node_load said; /* of this node, to the others; */
    uint64_t said_ms;      /* when */
    uint64_t look_ms;      /* when it is looked whether that is to be said anew */
    uint64_t living_ms;    /* when a node came to live, or ceased to, last */

    /* Discovery. */
    struct resolver *resolver; /* NULL: there are no seeds */
    uint64_t ask_ms, pause_ms; /* when seeds are asked next; and how long after that, alone */
    uint64_t joined_by_ms;     /* the node is ready then, whoever was found */
    bool warned;               /* that a seed has no address */

    /* A conflict about who this node is. */
    uint64_t renew_ms; /* when it starts over; GOSSIPER_NEVER: it need not */
    uint64_t renew_pause_ms, renewed_ms;
    uint64_t told_ms; /* when a second one of some node was told so last; 0: never */

    /* Links. */
    bool changed; /* a member is another; peers are to be told */
    bool numbers_warned;
    struct peer_numbers numbers;
    struct peer_facts told[PEERS_MAX];   /* what links were told last */
    const char *tls_told[PEERS_MAX + 1]; /* why TLS failed, as the log has it; NULL: it did not. The
                                          * last is of those that have no number */
    unsigned tls_steps;                  /* in this turn */
};

/* speech.c: what membership says, and hears. */
bool speech_begin(struct gossiper *g, uint64_t now_ms); /* identity and own address are known */
void speech_datagrams(struct gossiper *g, uint64_t now_ms);
void speech_stream(struct gossiper *g, struct tcp_conn *c, uint64_t now_ms); /* c->in has more */
void speech_renew(struct gossiper *g, uint64_t now_ms);                      /* if it is time to */
void speech_load(struct gossiper *g, uint64_t now_ms);                       /* likewise */

/* discovery.c: seeds; the own address; whether the node has joined. */
bool discovery_begin(struct gossiper *g, uint64_t now_ms);
void discovery_turn(struct gossiper *g, uint64_t now_ms);
uint64_t discovery_due(const struct gossiper *g);

/* calls.c: connections that become links. */
void calls_told(struct gossiper *g, uint64_t now_ms); /* tells links what has changed */
void calls_dial(struct gossiper *g, uint64_t now_ms); /* those that are wanted */
void calls_knock(struct gossiper *g, struct tcp_conn *c, uint64_t now_ms);
void calls_event(struct gossiper *g, struct tcp_conn *c, enum tcp_news news, uint64_t now_ms);
void calls_closed(struct gossiper *g, const struct tcp_conn *c);

/* calls_tls.c: those of them that are encrypted. */
bool calls_may_cost(const struct gossiper *g, const struct tcp_conn *c);

enum calls_step {
    CALLS_WAIT,   /* more has to come */
    CALLS_OPEN,   /* the handshake is over */
    CALLS_FAILED, /* it is closed; the log has it */
    CALLS_GONE,   /* it is closed, and calls_closed() was called */
};

/* The node behind c has to be encrypted with, or not: as both say. false: the two do not fit; told.
 */
bool calls_tls_agree(struct gossiper *g, struct tcp_conn *c, const struct member *m);
/* When both have proved that they have the key. */
enum calls_step calls_tls_begin(struct gossiper *g, struct tcp_conn *c, bool has_called);
/* Takes what has come. out[0..*len) is what it says in clear, *len <= size. */
enum calls_step calls_tls_take(struct gossiper *g, struct tcp_conn *c, uint8_t *out, size_t size,
                               size_t *len);
/* To the log, once for each peer until it is another reason or has worked. */
void calls_tls_tell(struct gossiper *g, const struct tcp_conn *c, const char *why);
