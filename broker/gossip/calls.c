/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls: connections that become links. Before one is anybody's, both ends have proved that they
 * have the cluster's key (cluster/knock.h), then, where links are encrypted, that they have a
 * certificate (calls_tls.c), and who has called has said HELLO for a lane.
 */
#include <assert.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "broker/gossip/parts.h"
#include "broker/log/log.h"
#include "broker/transport/tls_pipe.h"
#include "cluster/link/greeting.h"

/* ---- Who the peers are */

static unsigned lanes_of(const struct gossiper *g, const struct member *m)
{
    const unsigned shards = load_shards(bytes_of(m->data, m->data_len));
    return shards < g->conf.shards ? shards : g->conf.shards;
}

static void tell(struct gossiper *g, const struct peer_facts *peer)
{
    g->told[peer->number] = *peer;
    if (g->conf.links != NULL) {
        g->conf.links->tell(g->conf.links->context, peer);
    }
}

static void tell_forgotten(struct gossiper *g, unsigned number, bool gone)
{
    struct peer_facts peer = g->told[number];
    peer.live = false;
    peer.forgotten = true;
    peer.gone = gone;
    tell(g, &peer);
}

static bool is_told(const struct peer_facts *a, const struct peer_facts *b)
{
    return node_uuid_equal(a->node, b->node) && a->generation == b->generation &&
           a->lanes == b->lanes && a->live == b->live && a->forgotten == b->forgotten &&
           bytes_equal(bytes_of(a->name, a->name_len), bytes_of(b->name, b->name_len));
}

static unsigned number_of(struct gossiper *g, const struct member *m)
{
    struct node_uuid taken_from;
    const unsigned number = peer_numbers_give(&g->numbers, m->node, &taken_from);
    if (number == PEER_NUMBERS_NONE) {
        g->figures.peers_refused++;
        if (!g->numbers_warned) {
            log_event(LOG_WARNING, "node_without_number",
                      LOG_BYTES("name", bytes_of(m->name, m->name_len)),
                      LOG_NUMBER("limit", PEERS_MAX));
            g->numbers_warned = true;
        }
    } else if (!node_uuid_is_none(taken_from)) {
        tell_forgotten(g, number, false);
    }
    return number;
}

static void tell_living(struct gossiper *g, const struct member *m)
{
    struct peer_facts peer = {.node = m->node,
                              .generation = m->incarnation.generation,
                              .lanes = lanes_of(g, m),
                              .live = true,
                              .name_len = m->name_len};
    if (peer.lanes == 0) {
        return; /* it has not said how many shards it has, or in a way that is not known here */
    }
    peer.number = number_of(g, m);
    if (peer.number == PEER_NUMBERS_NONE) {
        return;
    }
    memcpy(peer.name, m->name, m->name_len);
    if (!is_told(&peer, &g->told[peer.number])) {
        tell(g, &peer);
    }
}

/* true: it has no number. */
static bool tell_dead(struct gossiper *g, const struct member *m, uint64_t now_ms)
{
    const unsigned number = peer_numbers_find(&g->numbers, m->node);
    if (number != PEER_NUMBERS_NONE && g->told[number].live) {
        struct peer_facts peer = g->told[number];
        peer.live = false;
        peer_numbers_died(&g->numbers, number, now_ms);
        tell(g, &peer);
    }
    return number == PEER_NUMBERS_NONE;
}

/* Of one that is gone for good nothing is kept. true: it is dead, and has no number. */
static bool tell_ended(struct gossiper *g, const struct member *m, uint64_t now_ms)
{
    const unsigned number = peer_numbers_find(&g->numbers, m->node);
    if (!m->gone) {
        return tell_dead(g, m, now_ms) && m->state == MEMBER_DEAD;
    }
    if (number != PEER_NUMBERS_NONE) {
        tell_forgotten(g, number, true);
        peer_numbers_free(&g->numbers, number);
    }
    return false;
}

/* The dead and forgotten first: their numbers may be wanted. */
void calls_told(struct gossiper *g, uint64_t now_ms)
{
    const struct member *m;
    uint32_t absent = 0;
    if (!g->changed || g->membership == NULL) {
        return;
    }
    g->changed = false;
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        const struct node_uuid node = g->numbers.at[i].node;
        if (!node_uuid_is_none(node) && membership_find(g->membership, node) == NULL) {
            tell_forgotten(g, i, false);
            peer_numbers_free(&g->numbers, i);
        }
    }
    for (size_t i = 1; (m = membership_at(g->membership, i)) != NULL; i++) {
        if (!member_state_lives(m->state)) {
            absent += tell_ended(g, m, now_ms);
        }
    }
    if (g->conf.absent != NULL) {
        atomic_store_explicit(g->conf.absent, absent, memory_order_relaxed);
    }
    for (size_t i = 1; (m = membership_at(g->membership, i)) != NULL; i++) {
        if (member_state_lives(m->state)) {
            tell_living(g, m);
        }
    }
}

/* ---- Out */

static void dialed(struct gossiper *g, unsigned number, unsigned lane, struct peer_wire wire)
{
    wire.fd < 0 ? g->figures.links_failed++ : g->figures.links_dialed++;
    g->figures.links_encrypted += wire.tls != NULL;
    g->conf.links->dialed(g->conf.links->context, number, lane, wire);
}

/* The connection is the caller's; the place free. */
static struct peer_wire take_wire(struct gossiper *g, struct tcp_conn *c)
{
    struct peer_wire wire = {.tls = c->tls};
    c->tls = NULL;
    wire.fd = tcp_take(&g->tcp, c);
    return wire;
}

/* false: it could not be tried. */
static bool dial(struct gossiper *g, unsigned number, unsigned lane, uint64_t now_ms)
{
    const struct peer_facts *const peer = &g->told[number];
    const struct member *const m =
        !peer->live || g->membership == NULL ? NULL : membership_find(g->membership, peer->node);
    uint8_t random[KNOCK_RANDOM_BYTES];
    struct knock_out out;
    if (m == NULL || getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    struct tcp_conn *const c =
        tcp_connect(&g->tcp, TCP_DIAL, &m->address, g->conf.family, now_ms, GOSSIPER_CONNECT_MS);
    if (c == NULL) {
        return false;
    }
    c->number = number;
    c->lane = lane;
    if (!calls_tls_agree(g, c, m) ||
        !knock_dial(&c->knock, &g->conf.identity, peer->node, g->conf.ring.at, g->conf.ring.count,
                    random, &out)) {
        tcp_close(&g->tcp, c);
        return false;
    }
    (void)tcp_put(&g->tcp, c, bytes_of(out.bytes, out.len)); /* if not: calls_closed() tells */
    return true;
}

void calls_dial(struct gossiper *g, uint64_t now_ms)
{
    for (unsigned number = 0; number < PEERS_MAX; number++) {
        uint64_t wanted =
            atomic_exchange_explicit(&g->dials_wanted[number], 0, memory_order_acquire);
        for (; wanted != 0; wanted &= wanted - 1) {
            if (tcp_count(&g->tcp, TCP_DIAL) >= TCP_GROUP_MAX) { /* until some have ended */
                atomic_fetch_or_explicit(&g->dials_wanted[number], wanted, memory_order_relaxed);
                return;
            }
            const unsigned lane = (unsigned)__builtin_ctzll(wanted);
            if (!dial(g, number, lane, now_ms)) {
                dialed(g, number, lane, PEER_WIRE_NONE);
            }
        }
    }
}

/* All that this end has to say before HELLO is said. */
static void end_dial(struct gossiper *g, struct tcp_conn *c)
{
    const unsigned number = c->number, lane = c->lane;
    if (c->out_len > 0) { /* some KiB at most for an empty socket: it is stuck */
        tcp_close(&g->tcp, c);
        dialed(g, number, lane, PEER_WIRE_NONE);
        return;
    }
    dialed(g, number, lane, take_wire(g, c));
}

/* The acceptor says nothing before HELLO. */
static void take_tls_answer(struct gossiper *g, struct tcp_conn *c)
{
    uint8_t nothing[1];
    size_t len;
    const unsigned number = c->number, lane = c->lane;
    switch (calls_tls_take(g, c, nothing, 0, &len)) {
    case CALLS_WAIT:
    case CALLS_GONE:
        break;
    case CALLS_OPEN:
        calls_tls_tell(g, c, NULL);
        end_dial(g, c);
        break;
    case CALLS_FAILED:
        dialed(g, number, lane, PEER_WIRE_NONE);
        break;
    }
}

static void begin_tls(struct gossiper *g, struct tcp_conn *c)
{
    const unsigned number = c->number, lane = c->lane;
    if (calls_tls_begin(g, c, true) == CALLS_FAILED) {
        dialed(g, number, lane, PEER_WIRE_NONE);
    } else {
        take_tls_answer(g, c); /* which says the first word */
    }
}

/* More than its answer is a mistake. */
static void take_answer(struct gossiper *g, struct tcp_conn *c)
{
    struct knock_out out;
    size_t used;
    const unsigned number = c->number, lane = c->lane;
    const enum knock_state state = knock_take(&c->knock, bytes_of(c->in, c->in_len), &used, &out);
    if (state == KNOCK_NEED_MORE) {
        return;
    }
    if (state == KNOCK_REFUSED || used != c->in_len) {
        g->figures.links_refused++;
        tcp_close(&g->tcp, c);
        dialed(g, number, lane, PEER_WIRE_NONE);
        return;
    }
    tcp_used(c, used);
    if (!tcp_put(&g->tcp, c, bytes_of(out.bytes, out.len))) {
        return; /* calls_closed() has told it */
    }
    if (c->encrypts) {
        begin_tls(g, c);
    } else {
        end_dial(g, c);
    }
}

/* ---- In */

static void refuse(struct gossiper *g, struct tcp_conn *c)
{
    g->figures.links_refused++;
    tcp_close(&g->tcp, c);
}

void calls_knock(struct gossiper *g, struct tcp_conn *c, uint64_t now_ms)
{
    uint8_t random[KNOCK_RANDOM_BYTES];
    if (g->conf.links == NULL || g->membership == NULL ||
        getrandom(random, sizeof random, 0) != (ssize_t)sizeof random ||
        !knock_accept(&c->knock, &g->conf.identity, g->conf.ring.at, g->conf.ring.count, random)) {
        refuse(g, c);
        return;
    }
    tcp_become(&g->tcp, c, TCP_KNOCK);
    calls_event(g, c, TCP_BYTES, now_ms);
}

static void farewell(struct gossiper *g, struct tcp_conn *c, enum node_close why)
{
    g->figures.links_refused++;
    peer_wire_refuse(take_wire(g, c), why);
}

/* NODE_CLOSE_NONE: it is a peer's. */
static enum node_close judge(const struct gossiper *g, const struct tcp_conn *c,
                             const struct greeting *greeting, unsigned *number)
{
    if (!node_uuid_equal(greeting->hello.node, c->knock.dialer)) {
        return NODE_CLOSE_WRONG_NODE;
    }
    *number = peer_numbers_find(&g->numbers, greeting->hello.node);
    const bool known = *number != PEER_NUMBERS_NONE && g->told[*number].live &&
                       greeting->lane < g->told[*number].lanes;
    return known ? NODE_CLOSE_NONE : NODE_CLOSE_UNKNOWN_NODE;
}

/* `read` is all that has come, in clear. */
static void greet(struct gossiper *g, struct tcp_conn *c, struct bytes read)
{
    struct greeting greeting;
    enum node_close why = NODE_CLOSE_NONE;
    unsigned number = PEER_NUMBERS_NONE;
    const enum greeting_state state =
        greeting_read(&g->conf.identity, read.at, read.len, &greeting, &why);
    if (state == GREETING_NEED_MORE && c->tls == NULL) {
        return;
    }
    if (state == GREETING_NEED_MORE) {
        why = NODE_CLOSE_NO_HELLO; /* it is in one record (peers/lane.c) */
    }
    if (state == GREETING_OK) {
        why = judge(g, c, &greeting, &number);
    }
    if (why != NODE_CLOSE_NONE) {
        farewell(g, c, why);
        return;
    }
    g->figures.links_accepted++;
    g->figures.links_encrypted += c->tls != NULL;
    calls_tls_tell(g, c, NULL);
    g->conf.links->arrived(g->conf.links->context, number, greeting.lane, take_wire(g, c), read);
}

static void take_tls(struct gossiper *g, struct tcp_conn *c)
{
    uint8_t read[TCP_IN_BYTES];
    size_t len;
    switch (calls_tls_take(g, c, read, sizeof read, &len)) {
    case CALLS_WAIT:
    case CALLS_GONE:
        break;
    case CALLS_OPEN:
        if (len > 0) {
            greet(g, c, bytes_of(read, len));
        }
        break;
    case CALLS_FAILED:
        g->figures.links_refused++;
        break;
    }
}

static void take_greeting(struct gossiper *g, struct tcp_conn *c)
{
    uint8_t read[TCP_IN_BYTES];
    if (c->tls != NULL) {
        take_tls(g, c);
        return;
    }
    if (c->in_len < TLS_PIPE_PEEK_BYTES) {
        return;
    }
    if (tls_pipe_begins(c->in)) {
        if (calls_tls_begin(g, c, false) == CALLS_FAILED) {
            g->figures.links_refused++;
        } else {
            take_tls(g, c);
        }
        return;
    }
    if (g->conf.tls == CONFIG_CLUSTER_TLS_REQUIRED) {
        calls_tls_tell(g, c, "it is not encrypted, and cluster.tls requires that here");
        farewell(g, c, NODE_CLOSE_NOT_ENCRYPTED);
        return;
    }
    const size_t len = c->in_len;
    memcpy(read, c->in, len); /* the place is free before it is read */
    greet(g, c, bytes_of(read, len));
}

static void take_knock(struct gossiper *g, struct tcp_conn *c)
{
    struct knock_out out;
    size_t used;
    enum knock_state state;
    do {
        state = knock_take(&c->knock, bytes_of(c->in, c->in_len), &used, &out);
        tcp_used(c, used);
        if (out.len > 0 && !tcp_put(&g->tcp, c, bytes_of(out.bytes, out.len))) {
            return;
        }
    } while (state == KNOCK_NEED_MORE && used > 0);
    if (state == KNOCK_REFUSED) {
        refuse(g, c);
    } else if (state == KNOCK_DONE) {
        c->kind = TCP_GREETING;
        take_greeting(g, c);
    }
}

void calls_event(struct gossiper *g, struct tcp_conn *c, enum tcp_news news, uint64_t now_ms)
{
    if (news == TCP_CONNECTED) {
        c->end_ms = now_ms + GOSSIPER_HELLO_MS;
    } else if (news == TCP_BYTES && c->kind == TCP_DIAL && c->tls != NULL) {
        take_tls_answer(g, c);
    } else if (news == TCP_BYTES && c->kind == TCP_DIAL) {
        take_answer(g, c);
    } else if (news == TCP_BYTES && c->kind == TCP_KNOCK) {
        take_knock(g, c);
    } else if (news == TCP_BYTES) {
        take_greeting(g, c);
    }
}

void calls_closed(struct gossiper *g, const struct tcp_conn *c)
{
    if (c->kind == TCP_DIAL) {
        dialed(g, c->number, c->lane, PEER_WIRE_NONE);
    } else if (c->kind != TCP_STREAM && c->kind != TCP_NEW) {
        g->figures.links_refused++;
    }
}
