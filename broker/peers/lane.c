/* SPDX-License-Identifier: Apache-2.0 */
/* One link, and its connection: the waiting that cluster/link leaves to its caller. */
#include "broker/peers/peers_parts.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/node.h"
#include "broker/shard/shard.h"
#include "broker/transport/tls_pipe.h"
#include "cluster/link/greeting.h"

#define FAREWELL_MS 1000u /* for the last bytes to go, and for the other end to close */
#define AGAIN_MS    10u   /* a frame that was not taken is given again */

#define REST_BYTES_MIN 16384u

static struct lane *lane_of_socket(struct io_socket *socket)
{
    return (struct lane *)(void *)socket;
}

static struct shard_peers *parts(const struct lane *l)
{
    return peers_of(l->shard);
}

static uint64_t now(const struct lane *l)
{
    return l->shard->now_ms;
}

/* Something has happened: peers_flush() is to look. */
static void is_dirty(struct lane *l)
{
    if (!l->gone) {
        parts(l)->dirty |= peer_bit(l->number);
    }
}

/* ---- life */

struct lane *lane_create(struct shard *s, const struct peer_facts *facts)
{
    struct peers *const p = peers_of(s)->peers;
    struct link_conf conf = p->limits;
    struct lane *const l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->shard = s;
    l->number = facts->number;
    l->node = facts->node;
    l->next_ms = UINT64_MAX;
    conf.self = p->conf.self;
    conf.peer = facts->node;
    conf.lane = (uint16_t)s->id;
    conf.stream = 1 + atomic_fetch_add_explicit(&p->streams, 1, memory_order_relaxed);
    conf.build = p->conf.build;
    conf.seed = shard_random(s);
    conf.events = lane_events(l);
    l->link = conf.stream < LINK_STREAMS ? link_create(&conf) : NULL;
    if (l->link == NULL) {
        free(l);
        return NULL;
    }
    return l;
}

void lane_free(struct lane *l)
{
    if (l == NULL) {
        return;
    }
    l->gone = true;
    link_down(l->link, link_connection(l->link), NODE_CLOSE_SHUTDOWN, 0); /* nobody is told */
    link_destroy(l->link);
    word_free(l->waiting);
    tls_pipe_destroy(l->tls);
    free(l->rest);
    free(l);
}

void lane_let_go(struct lane *l)
{
    struct shard_peers *const sp = parts(l);
    link_want(l->link, false, now(l));
    link_give_up(l->link, now(l));
    if (l->up) {
        struct link_events events = lane_events(l);
        events.down(l, NODE_CLOSE_UNKNOWN_NODE);
    }
    lane_count(l);
    l->gone = true;
    sp->next_ms = 0; /* what is due, and the gauges, are to be found anew */
    if (l->state == LANE_NONE) {
        lane_free(l);
        return;
    }
    l->next_gone = sp->gone;
    sp->gone = l;
    lane_close(l, NODE_CLOSE_SHUTDOWN);
}

static void forget_gone(struct lane *l)
{
    struct lane **at = &parts(l)->gone;
    while (*at != l) {
        at = &(*at)->next_gone;
    }
    *at = l->next_gone;
    lane_free(l);
}

/* ---- a connection begins */

static void rest_drop(struct lane *l)
{
    free(l->rest);
    l->rest = NULL;
    l->rest_begin = l->rest_end = l->rest_capacity = 0;
}

static void open_socket(struct lane *l, struct peer_wire wire)
{
    assert(l->state == LANE_NONE);

    const int one =
        1; /* frames go as soon as they are there; where it is no TCP, it is no matter */
    (void)setsockopt(wire.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    l->state = LANE_OPEN;
    l->why = NODE_CLOSE_BROKEN;
    l->tls = wire.tls;
    l->sending = l->peer_ended = l->said = l->shut = false;
    parts(l)->sockets++;
    io_attach_second(l->shard->io, &l->socket, wire.fd);
    io_receive_start(l->shard->io, &l->socket);
    l->receiving = true;
}

void lane_dialed(struct lane *l, struct peer_wire wire)
{
    if (wire.fd < 0 || parts(l)->ending) {
        peer_wire_close(wire);
        link_dial_failed(l->link, now(l));
    } else {
        open_socket(l, wire);
        link_dialed(l->link, ++l->connection, now(l));
    }
    is_dirty(l);
}

/* What speaks against taking that call now. */
static enum node_close judge(struct lane *l, const struct word *w, struct greeting *greeting)
{
    enum node_close why = NODE_CLOSE_MALFORMED;
    const struct identity *const self = &parts(l)->peers->conf.self;
    if (greeting_read(self, w->read, w->len, greeting, &why) != GREETING_OK) {
        return why;
    }
    if (!node_uuid_equal(greeting->hello.node, l->node)) {
        return NODE_CLOSE_UNKNOWN_NODE;
    }
    if (greeting->lane != l->shard->id) {
        return NODE_CLOSE_MALFORMED;
    }
    return greeting->hello.generation < link_figures(l->link).peer_generation
               ? NODE_CLOSE_OLD_GENERATION
               : NODE_CLOSE_NONE;
}

static void take_bytes(struct lane *l, const uint8_t *data, size_t len);

static void refuse(struct lane *l, struct word *w, enum node_close why)
{
    lane_log_refused(l, why);
    peer_wire_refuse(w->wire, why);
    w->wire = PEER_WIRE_NONE;
    word_free(w);
}

void lane_arrived(struct lane *l, struct word *w)
{
    struct greeting greeting;
    enum node_close why = judge(l, w, &greeting);
    if (why == NODE_CLOSE_NONE && l->state != LANE_NONE) { /* the peer has ended that one */
        word_free(l->waiting);
        l->waiting = w;
        lane_close(l, NODE_CLOSE_REPLACED);
        return;
    }
    if (why == NODE_CLOSE_NONE) {
        l->tls = w->wire.tls; /* on_up() says whether it is encrypted */
        why = link_accept(l->link, ++l->connection, &greeting.hello, now(l));
        l->tls = why == NODE_CLOSE_NONE ? l->tls : NULL;
    }
    if (why != NODE_CLOSE_NONE) {
        refuse(l, w, why);
    } else {
        open_socket(l, w->wire);
        w->wire = PEER_WIRE_NONE;
        take_bytes(l, w->read + greeting.used, w->len - greeting.used);
        word_free(w);
    }
    is_dirty(l);
}

/* ---- what comes */

static bool rest_add(struct lane *l, const uint8_t *data, size_t len)
{
    if (l->rest == NULL || l->rest_capacity - l->rest_end < len) {
        const size_t capacity = 2 * (l->rest_end + len) + REST_BYTES_MIN;
        uint8_t *const rest = realloc(l->rest, capacity);
        if (rest == NULL) {
            return false;
        }
        l->rest = rest;
        l->rest_capacity = capacity;
    }
    memcpy(l->rest + l->rest_end, data, len);
    l->rest_end += len;
    return true;
}

/* The link has been given what there is: it goes on, or is held. */
static void after_input(struct lane *l)
{
    struct io *const io = l->shard->io;
    is_dirty(l);
    if (link_is_held(l->link)) {
        l->again_ms = now(l) + AGAIN_MS;
        if (l->receiving) {
            l->receiving = false;
            io_receive_stop(io, &l->socket);
        }
        return;
    }
    rest_drop(l);
    if (l->peer_ended) {
        lane_close(l, NODE_CLOSE_BROKEN);
    } else if (!l->receiving) {
        l->receiving = true;
        io_receive_start(io, &l->socket);
    }
}

static void take_bytes(struct lane *l, const uint8_t *data, size_t len)
{
    size_t used = 0;
    const bool was_held = link_is_held(l->link);
    if (!was_held) {
        link_received(l->link, l->connection, data, len, now(l), &used);
    }
    if (used < len && !rest_add(l, data + used, len - used)) {
        lane_close(l, NODE_CLOSE_NO_MEMORY);
        return;
    }
    if (!was_held) {
        if (link_is_held(l->link)) {
            shard_count(l->shard, METRIC_link_held);
        }
        after_input(l);
    }
}

void lane_resume(struct lane *l)
{
    if (l->state != LANE_OPEN || !link_is_held(l->link)) {
        return;
    }
    size_t used;
    link_received(l->link, l->connection, l->rest == NULL ? NULL : l->rest + l->rest_begin,
                  l->rest_end - l->rest_begin, now(l), &used);
    l->rest_begin += used;
    after_input(l);
}

/* The other end has seen our certificate, or judged it, behind the handshake: the alert comes here.
 */
static void take_records(struct lane *l, const uint8_t *data, size_t len)
{
    uint8_t clear[TLS_RECORD_BYTES];
    tls_pipe_feed(l->tls, data, len);
    while (l->state == LANE_OPEN) {
        size_t clear_len = 0;
        switch (tls_pipe_read(l->tls, clear, sizeof clear, &clear_len)) {
        case TLS_DONE:
            take_bytes(l, clear, clear_len);
            break;
        case TLS_WANTS_MORE:
            is_dirty(l); /* it may have an answer of its own, to new keys */
            return;
        case TLS_ENDED:
        case TLS_FAILED:
            lane_log_tls(l, tls_pipe_why(l->tls));
            lane_close(l, NODE_CLOSE_BROKEN);
            return;
        }
    }
}

void lane_trust(struct lane *l, const struct tls_context *now)
{
    const char *why = NULL;
    if (l->state == LANE_OPEN && l->tls != NULL && !tls_pipe_is_trusted(l->tls, now, &why)) {
        lane_log_tls(l, why);
        lane_close(l, NODE_CLOSE_NOT_TRUSTED);
    }
}

static void received(void *context, struct io_socket *socket, const uint8_t *data, size_t len)
{
    struct lane *const l = lane_of_socket(socket);
    shard_enter(context);
    metrics_add(&l->shard->metrics, METRIC_link_bytes_received, len);
    if (l->state == LANE_OPEN && l->tls != NULL) {
        take_records(l, data, len);
    } else if (l->state == LANE_OPEN) {
        take_bytes(l, data, len);
    } /* else it is over, and what comes means nothing any more */
}

static void ended(void *context, struct io_socket *socket, int error)
{
    struct lane *const l = lane_of_socket(socket);
    (void)error; /* a reset and a plain end are the same: no CLOSE came */
    shard_enter(context);
    l->receiving = false;
    l->peer_ended = true;
    if (l->state == LANE_FAREWELL || !link_is_held(l->link)) {
        lane_close(l, NODE_CLOSE_BROKEN);
    }
}

/* ---- what goes */

/* All that there was to be said is said. */
static void finish_farewell(struct lane *l)
{
    if (!l->said || l->peer_ended) {
        lane_close(l, NODE_CLOSE_BROKEN);
    } else if (!l->shut) {
        l->shut = true;
        io_shutdown_write(l->shard->io, &l->socket);
    }
}

/* What goes of the runs in one send, as they are: iov[0..n). */
static unsigned put_clear(struct lane *l, const struct bytes *runs, size_t n, struct iovec *iov)
{
    l->send_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)runs[i].at, .iov_len = runs[i].len};
        l->send_bytes += runs[i].len;
    }
    l->wire_bytes = l->send_bytes;
    return (unsigned)n;
}

/* Encrypted, and what the pipe has to say for itself. It is small enough for one send: records go
 * into pieces of the output that grow as it does. */
static unsigned put_records(struct lane *l, const struct bytes *runs, size_t n, struct iovec *iov)
{
    if (!tls_pipe_write(l->tls, runs, n, &l->send_bytes)) {
        lane_log_tls(l, tls_pipe_why(l->tls));
        lane_close(l, NODE_CLOSE_BROKEN);
        return 0;
    }
    return tls_pipe_gather(l->tls, iov, IO_IOV_MAX, &l->wire_bytes);
}

static void send_output(struct lane *l)
{
    if (l->sending || (l->state != LANE_OPEN && l->state != LANE_FAREWELL)) {
        return;
    }
    struct bytes runs[LINK_RUNS];
    struct iovec iov[IO_IOV_MAX];
    const size_t n = link_output(l->link, runs, now(l));
    const unsigned pieces =
        l->tls == NULL ? put_clear(l, runs, n, iov) : put_records(l, runs, n, iov);
    if (pieces == 0) {
        if (l->state == LANE_FAREWELL) {
            finish_farewell(l);
        }
        return;
    }
    l->sending = true;
    l->said = true;
    metrics_add(&l->shard->metrics, METRIC_link_bytes_sent, l->wire_bytes);
    io_send(l->shard->io, &l->socket, iov, pieces);
}

static void sent(void *context, struct io_socket *socket, int error)
{
    struct lane *const l = lane_of_socket(socket);
    shard_enter(context);
    l->sending = false;
    if (error != 0) {
        lane_close(l, NODE_CLOSE_BROKEN);
    } else {
        if (l->tls != NULL) {
            tls_pipe_sent(l->tls, l->wire_bytes);
        }
        link_sent(l->link, l->connection, l->send_bytes, now(l));
        is_dirty(l);
    }
}

/* ---- a connection ends */

/* Who reads a CLOSE last must not lose it to a reset, which bytes that nobody reads would cause. */
static void begin_farewell(struct lane *l)
{
    l->state = LANE_FAREWELL;
    l->close_by_ms = now(l) + FAREWELL_MS;
    l->said = l->sending;
    rest_drop(l);
    if (!l->receiving && !l->peer_ended) {
        l->receiving = true;
        io_receive_start(l->shard->io, &l->socket);
    }
}

void lane_close(struct lane *l, enum node_close why)
{
    if (l->state == LANE_OPEN || l->state == LANE_FAREWELL) {
        l->state = LANE_CLOSING;
        l->why = why;
        l->receiving = false;
        io_close(l->shard->io, &l->socket);
    }
}

static void closed(void *context, struct io_socket *socket)
{
    struct lane *const l = lane_of_socket(socket);
    shard_enter(context);
    const bool was_up = l->up;
    l->state = LANE_NONE;
    l->sending = false;
    tls_pipe_destroy(l->tls);
    l->tls = NULL;
    parts(l)->sockets--;
    rest_drop(l);
    if (l->gone) {
        forget_gone(l);
        return;
    }
    link_down(l->link, l->connection, l->why, now(l));
    if (!was_up) {
        lane_log_refused(l, link_why(l->link));
    }
    is_dirty(l);
    struct word *const next = l->waiting;
    l->waiting = NULL;
    if (next != NULL) {
        lane_arrived(l, next);
    }
}

const struct io_handlers lane_io_handlers = {
    .received = received,
    .ended = ended,
    .sent = sent,
    .closed = closed,
};

/* ---- the turn */

static void dial(struct lane *l)
{
    struct shard_peers *const sp = parts(l);
    struct peer *const p = &sp->peer[l->number];
    if (!l->dial_due || p->dialing) {
        return;
    }
    l->dial_due = false;
    if (sp->ending) {
        link_dial_failed(l->link, now(l));
        return;
    }
    p->dialing = true;
    shard_count(l->shard, METRIC_link_dials);
    sp->peers->conf.dial(sp->peers->conf.dial_context, l->number, l->shard->id);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_ms(const struct lane *l)
{
    if (l->state == LANE_CLOSING) {
        return UINT64_MAX; /* closed() comes */
    }
    uint64_t next = link_next_ms(l->link);
    if (l->state == LANE_FAREWELL) {
        next = earlier(next, l->close_by_ms);
    } else if (link_is_held(l->link)) {
        next = earlier(next, l->again_ms);
    }
    return next;
}

void lane_turn(struct lane *l)
{
    if (l->state == LANE_FAREWELL && now(l) >= l->close_by_ms) {
        lane_close(l, NODE_CLOSE_BROKEN);
    } else if (l->state == LANE_OPEN && link_is_held(l->link) && now(l) >= l->again_ms) {
        parts(l)->resume |= peer_bit(l->number);
    }
    is_dirty(l);
}

void lane_go_on(struct lane *l)
{
    if (l->give_up_due) {
        l->give_up_due = false;
        link_give_up(l->link, now(l));
    }
    link_turn(l->link, now(l));
    const enum link_todo todo = link_todo(l->link);
    l->dial_due = l->dial_due || todo == LINK_DIAL;
    if (todo == LINK_CLOSE && l->state == LANE_OPEN) {
        begin_farewell(l);
    }
    dial(l);
    send_output(l);
    l->next_ms = next_ms(l);
    lane_count(l);
}
