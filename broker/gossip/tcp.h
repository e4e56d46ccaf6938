/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp: the TCP connections of the gossip thread: bytes to and from them, and the ends of their
 * time. Nothing here waits, and nothing knows what the bytes mean.
 *
 *   group      kinds                                       what happens at TCP_GROUP_MAX
 *   streams    TCP_NEW, TCP_STREAM: gossip, and who has    the one that has proved nothing for
 *              called and said nothing yet                 longest is closed, else the one that was
 *                                                          not used for longest
 *   callers    TCP_KNOCK, TCP_GREETING: become a link      the oldest is closed
 *   dials      TCP_DIAL: the same, from this side          tcp_connect() gives NULL
 *
 * Owner: the gossip thread, or who has its lock. Memory: TCP_IN_BYTES for each of three groups, and
 * what is not sent yet, TCP_OUT_MAX at most; who takes less is closed. Of links that are encrypted
 * (calls_tls.c) that of a struct tls_pipe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/knock.h"
#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define TCP_GROUP_MAX 64u
#define TCP_CONNS_MAX (3 * TCP_GROUP_MAX)
#define TCP_IN_BYTES  1280u
#define TCP_OUT_MAX   (512u * 1024)

enum tcp_kind {
    TCP_NEW,      /* somebody has called; what it wants is not known */
    TCP_STREAM,   /* messages of gossip, of either side */
    TCP_KNOCK,    /* somebody has called to become a link, and has to prove the key */
    TCP_GREETING, /* it has; its HELLO is to come */
    TCP_DIAL,     /* this node has called for a link, and both prove it */
};

struct tls_pipe;

struct tcp_conn {
    int fd;          /* -1: the place is free */
    uint32_t serial; /* another one each time that the place is used */
    enum tcp_kind kind;
    bool connecting; /* not through yet; bytes wait */
    bool proven;     /* something came that had been sealed with the key */
    bool asked;      /* something was sent since something came last */
    struct node_address peer;
    uint64_t since_ms, used_ms;
    uint64_t end_ms; /* it is closed then */
    size_t in_len;
    uint8_t in[TCP_IN_BYTES]; /* what came and was not used */
    uint8_t *out;             /* [out_from, out_len) is not sent; NULL: nothing is */
    size_t out_from, out_len;

    /* Of those that become links; the caller's. */
    struct knock knock;
    unsigned number, lane;
    bool encrypts;        /* TCP_DIAL: it is to be, when both have proved the key */
    bool is_open;         /* the handshake is over */
    struct tls_pipe *tls; /* NULL: nothing is encrypted (yet); goes when the place is free again */
};

struct tcp {
    int epoll;
    struct tcp_conn *conns; /* [TCP_CONNS_MAX] */
    uint32_t serial;
    uint64_t accepted, displaced, timed_out; /* all only grow */
    void *context;
    void (*closed)(void *context, struct tcp_conn *c); /* by tcp itself; is freed after it */
};

/* What tcp_event() has found. */
enum tcp_news {
    TCP_NOTHING,
    TCP_CONNECTED, /* it is through; there may be bytes, too */
    TCP_BYTES,     /* c->in has more */
    TCP_GONE,      /* closed; told */
};

NODISCARD bool tcp_init(struct tcp *t, int epoll);
void tcp_fini(struct tcp *t); /* tells nobody; fine with zeros */

/* One from the listening socket; NULL: there is none. */
struct tcp_conn *tcp_accept(struct tcp *t, int listener, uint64_t now_ms, uint64_t life_ms);

/* NULL: no room, or it cannot even be tried. */
struct tcp_conn *tcp_connect(struct tcp *t, enum tcp_kind kind, const struct node_address *to,
                             int family, uint64_t now_ms, uint64_t life_ms);

/* It is of another group from now on, which may cost another its place. */
void tcp_become(struct tcp *t, struct tcp_conn *c, enum tcp_kind kind);

struct tcp_conn *tcp_find_stream(struct tcp *t, const struct node_address *peer);
unsigned tcp_count(const struct tcp *t, enum tcp_kind kind);

/* What epoll has said of `key`; NULL: of one that is not there any more. */
struct tcp_conn *tcp_of_key(struct tcp *t, uint64_t key);
enum tcp_news tcp_event(struct tcp *t, struct tcp_conn *c, uint32_t events);
void tcp_used(struct tcp_conn *c, size_t len); /* that many bytes of c->in */

/* false: it is closed, and that was told. */
bool tcp_put(struct tcp *t, struct tcp_conn *c, struct bytes bytes);

void tcp_close(struct tcp *t, struct tcp_conn *c); /* not told */
int tcp_take(struct tcp *t,
             struct tcp_conn *c); /* the descriptor is the caller's; the place free */

void tcp_expire(struct tcp *t, uint64_t now_ms);
uint64_t tcp_due(const struct tcp *t); /* UINT64_MAX: never */
