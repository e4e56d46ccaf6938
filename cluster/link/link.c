/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/link/link.h"

#include <assert.h>
#include <stdlib.h>

#include "cluster/link/greeting.h"
#include "cluster/link/link_parts.h"
#include "cluster/splitmix.h"

#define DOUBLINGS_MAX 16u

struct link_conf link_conf_defaults(void)
{
    return (struct link_conf){.frame_max = 16u << 20,
                              .kept_bytes_max = 32u << 20,
                              .passing_bytes_max = 1u << 20,
                              .ack_bytes = 64u << 10,
                              .ack_ms = 5,
                              .hello_ms = 5000,
                              .ping_ms = 1000,
                              .silence_ms = 5000,
                              .max_stall_ms = 10000,
                              .backoff_ms = 100,
                              .backoff_max_ms = 5000,
                              .settled_ms = 5000};
}

struct link *link_create(const struct link_conf *conf)
{
    assert(!node_uuid_equal(conf->self.node, conf->peer));
    assert(conf->stream > 0);
    assert(conf->stream < LINK_STREAMS);
    assert(conf->backoff_ms > 0);

    struct link *l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->conf = *conf;
        /* The peer may remember one of the start before, until it hears of this one. */
        l->conf.stream = conf->self.generation * LINK_STREAMS + conf->stream;
        l->random = conf->seed;
        l->credit = UINT64_MAX;
        backlog_init(&l->kept);
        backlog_init(&l->passing);
    }
    return l;
}

void link_destroy(struct link *l)
{
    if (l == NULL) {
        return;
    }
    assert(l->connection == 0);
    backlog_fini(&l->kept);
    backlog_fini(&l->passing);
    free(l->in);
    free(l);
}

/* ---- The bound */

void link_watch_room(struct link *l, uint64_t now_ms)
{
    const size_t high = l->conf.kept_bytes_max / 4 * 3, low = l->conf.kept_bytes_max / 2;
    if (!l->slow && l->kept.bytes >= high) {
        l->slow = true;
        l->slow_ms = now_ms;
        l->conf.events.slow(l->conf.events.context, true);
    } else if (l->slow && l->kept.bytes <= low) {
        l->slow = false;
        l->conf.events.slow(l->conf.events.context, false);
    }
}

static uint64_t *lost_figure(struct link *l, enum link_loss why)
{
    switch (why) {
    case LINK_LOSS_RESTARTED:
        return &l->figures.lost_restarted;
    case LINK_LOSS_STALLED:
        return &l->figures.lost_stalled;
    case LINK_LOSS_TOO_LARGE:
        return &l->figures.lost_too_large;
    default:
        return &l->figures.lost_given_up;
    }
}

/* What is kept goes; a GAP, or the peer's new start, will say so. */
static void lose(struct link *l, enum link_loss why, uint64_t now_ms)
{
    const uint64_t first = l->kept.first, count = backlog_discard(&l->kept);
    if (count > 0) {
        *lost_figure(l, why) += count;
        l->conf.events.lost(l->conf.events.context, first, first + count - 1, why);
    }
    link_watch_room(l, now_ms);
}

void link_give_up(struct link *l, uint64_t now_ms)
{
    if (l->connection != 0) {
        link_end(l, NODE_CLOSE_GIVEN_UP, true, now_ms);
    }
    lose(l, LINK_LOSS_GIVEN_UP, now_ms);
}

/* ---- Connections: how they begin */

static bool is_dialer(const struct link *l)
{
    return node_uuid_compare(l->conf.self.node, l->conf.peer) < 0;
}

static void enter(struct link *l, enum link_phase phase, uint64_t now_ms)
{
    l->phase = phase;
    l->phase_ms = now_ms;
}

static void wait_to_dial(struct link *l, uint64_t now_ms)
{
    const unsigned doublings = l->failures < DOUBLINGS_MAX ? l->failures : DOUBLINGS_MAX;
    uint64_t ms = (uint64_t)l->conf.backoff_ms << doublings;
    if (ms > l->conf.backoff_max_ms) {
        ms = l->conf.backoff_max_ms;
    }
    l->dial_ms = now_ms + ms / 2 + splitmix_next(&l->random) % (ms / 2 + 1);
    enter(l, LINK_PHASE_WAITING, now_ms);
}

void link_want(struct link *l, bool wanted, uint64_t now_ms)
{
    l->wanted = wanted;
    if (wanted && l->phase == LINK_PHASE_OFF && is_dialer(l)) {
        l->failures = 0;
        l->dial_ms = now_ms;
        enter(l, LINK_PHASE_WAITING, now_ms);
    } else if (!wanted && l->phase == LINK_PHASE_WAITING) {
        enter(l, LINK_PHASE_OFF, now_ms);
    } else if (!wanted && l->connection != 0) {
        link_end(l, NODE_CLOSE_SHUTDOWN, true, now_ms);
    }
}

static void attach(struct link *l, uint64_t connection, enum link_phase phase, uint64_t now_ms)
{
    assert(connection != 0);
    assert(l->connection == 0);

    l->connection = connection;
    l->why = NODE_CLOSE_NONE;
    l->was_up = false;
    l->heard_ms = now_ms;
    l->said_ms = now_ms;
    l->peer_credit = UINT64_MAX;
    l->hello_due = true;
    enter(l, phase, now_ms);
}

void link_dialed(struct link *l, uint64_t connection, uint64_t now_ms)
{
    assert(l->phase == LINK_PHASE_DIALING);

    attach(l, connection, LINK_PHASE_GREETING, now_ms);
    if (!l->wanted) {
        link_end(l, NODE_CLOSE_SHUTDOWN, true, now_ms);
    }
}

void link_dial_failed(struct link *l, uint64_t now_ms)
{
    assert(l->phase == LINK_PHASE_DIALING);

    l->failures++;
    if (l->wanted) {
        wait_to_dial(l, now_ms);
    } else {
        enter(l, LINK_PHASE_OFF, now_ms);
    }
}

enum node_close link_accept(struct link *l, uint64_t connection, const struct node_hello *hello,
                            uint64_t now_ms)
{
    assert(l->connection == 0);

    enum node_close why = greeting_judge(&l->conf.self, hello, false);
    if (why == NODE_CLOSE_NONE && !l->wanted) {
        why = NODE_CLOSE_UNKNOWN_NODE;
    }
    if (why == NODE_CLOSE_NONE) {
        attach(l, connection, LINK_PHASE_GREETING, now_ms);
        why = link_greeted(l, hello, now_ms);
        if (why != NODE_CLOSE_NONE) {
            l->connection = 0;
            enter(l, LINK_PHASE_OFF, now_ms);
        }
    }
    if (why != NODE_CLOSE_NONE) {
        l->why = why;
        l->figures.refusals += node_close_is_refusal(why);
    }
    return why;
}

/* ---- HELLO: what it says of both streams */

/* Their stream: does it go on? */
static void resume_in(struct link *l, const struct node_hello *hello)
{
    const bool anew = l->peer_generation != 0 && hello->generation > l->peer_generation;
    if (anew) {
        l->conf.events.restarted(l->conf.events.context, hello->generation);
    }
    if (hello->stream != l->in_stream || anew) {
        const bool forgotten = l->in_stream != 0 && !anew;
        l->in_stream = hello->stream;
        l->received = 0;
        if (forgotten) { /* by a start that goes on: what it had for us went with it */
            l->figures.gaps_heard++;
            l->conf.events.gap(l->conf.events.context);
        }
    }
    l->unacked_bytes = 0; /* our HELLO says it */
}

/* Ours: from where on? */
static void resume_out(struct link *l, const struct node_hello *hello, uint64_t now_ms)
{
    const bool known = hello->received_stream == l->conf.stream;
    const uint64_t received = known ? hello->received_seq : 0;
    if (l->peer_generation != 0 && hello->generation > l->peer_generation) {
        lose(l, LINK_LOSS_RESTARTED, now_ms);
        l->fresh_through = l->kept.first - 1;
    }
    backlog_rewind(&l->kept);
    if (received >= l->kept.first) {
        backlog_acked(&l->kept, received);
        link_watch_room(l, now_ms);
    }
    l->gap_due = received < l->kept.first - 1;
    l->gap_first = received + 1;
}

/* One of the frames that are kept is larger than it takes: of the peer's last start, or of another
 * configuration. The rest is not worth an exception. */
static void fit(struct link *l, uint64_t now_ms)
{
    if (backlog_largest(&l->kept) > NODE_FRAME_HEAD_BYTES + (size_t)l->peer_frame_max) {
        lose(l, LINK_LOSS_TOO_LARGE, now_ms);
        l->gap_due = true;
    }
}

enum node_close link_greeted(struct link *l, const struct node_hello *hello, uint64_t now_ms)
{
    if (!node_uuid_equal(hello->node, l->conf.peer)) {
        return NODE_CLOSE_WRONG_NODE;
    }
    if (hello->generation < l->peer_generation) {
        return NODE_CLOSE_OLD_GENERATION;
    }
    if (hello->received_stream == l->conf.stream && hello->received_seq > l->given_high) {
        return NODE_CLOSE_OUT_OF_ORDER;
    }
    resume_in(l, hello);
    resume_out(l, hello, now_ms);
    l->peer_generation = hello->generation;
    l->peer_features = hello->features;
    l->peer_frame_max = hello->frame_max;
    l->peer_credit = hello->credit;
    fit(l, now_ms);
    l->figures.connections++;
    l->was_up = true;
    enter(l, LINK_PHASE_UP, now_ms);
    l->conf.events.up(l->conf.events.context, hello);
    return NODE_CLOSE_NONE;
}

/* ---- How they end */

void link_end(struct link *l, enum node_close why, bool tell, uint64_t now_ms)
{
    assert(l->connection != 0);

    if (l->phase == LINK_PHASE_CLOSING) {
        return;
    }
    l->why = why;
    l->close_due = tell;
    l->hello_due = l->hello_due && tell; /* who was not greeted cannot read a CLOSE */
    l->figures.refusals += node_close_is_refusal(why);
    enter(l, LINK_PHASE_CLOSING, now_ms);
}

void link_down(struct link *l, uint64_t connection, enum node_close why, uint64_t now_ms)
{
    if (connection == 0 || connection != l->connection) {
        return;
    }
    if (l->phase != LINK_PHASE_CLOSING) {
        l->why = why;
    }
    const bool lasted = l->was_up && now_ms - l->phase_ms >= l->conf.settled_ms;
    l->failures = lasted && l->phase == LINK_PHASE_UP ? 0 : l->failures + 1;
    l->connection = 0;
    link_input_reset(l);
    link_output_reset(l);
    if (l->wanted && is_dialer(l)) {
        wait_to_dial(l, now_ms);
    } else {
        enter(l, LINK_PHASE_OFF, now_ms);
    }
    if (l->was_up) {
        l->was_up = false;
        l->conf.events.down(l->conf.events.context, l->why);
    }
}

/* ---- Time */

void link_turn(struct link *l, uint64_t now_ms)
{
    if (l->slow && now_ms - l->slow_ms >= l->conf.max_stall_ms) {
        l->figures.stalls++;
        if (l->connection != 0) {
            link_end(l, NODE_CLOSE_STALLED, true, now_ms);
        }
        lose(l, LINK_LOSS_STALLED, now_ms);
    }
    switch (l->phase) {
    case LINK_PHASE_WAITING:
        if (now_ms >= l->dial_ms) {
            l->dial_told = false;
            enter(l, LINK_PHASE_DIALING, now_ms);
        }
        break;
    case LINK_PHASE_GREETING:
        if (now_ms - l->phase_ms >= l->conf.hello_ms) {
            link_end(l, NODE_CLOSE_NO_HELLO, true, now_ms);
        }
        break;
    case LINK_PHASE_UP:
        /* Not while it is us who do not listen. */
        if (!l->held && now_ms - l->heard_ms >= l->conf.silence_ms) {
            link_end(l, NODE_CLOSE_SILENT, true, now_ms);
        }
        break;
    default:
        break;
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t link_next_ms(const struct link *l)
{
    uint64_t next = l->slow ? l->slow_ms + l->conf.max_stall_ms : UINT64_MAX;
    switch (l->phase) {
    case LINK_PHASE_WAITING:
        return earlier(next, l->dial_ms);
    case LINK_PHASE_GREETING:
        return earlier(next, l->phase_ms + l->conf.hello_ms);
    case LINK_PHASE_UP:
        if (!l->held) {
            next = earlier(next, l->heard_ms + l->conf.silence_ms);
        }
        if (!link_output_is_empty(l)) {
            return next; /* what is under way has to go first */
        }
        if (l->unacked_bytes > 0) {
            next = earlier(next, l->unacked_ms + l->conf.ack_ms);
        }
        return earlier(next, l->said_ms + l->conf.ping_ms);
    default:
        return next;
    }
}

/* ---- What the caller asks */

enum link_todo link_todo(struct link *l)
{
    if (l->phase == LINK_PHASE_CLOSING) {
        return LINK_CLOSE;
    }
    if (l->phase == LINK_PHASE_DIALING && !l->dial_told) {
        l->dial_told = true;
        return LINK_DIAL;
    }
    return LINK_NOTHING;
}

enum node_close link_why(const struct link *l)
{
    return l->why;
}

uint64_t link_connection(const struct link *l)
{
    return l->connection;
}

bool link_is_up(const struct link *l)
{
    return l->phase == LINK_PHASE_UP;
}

bool link_is_held(const struct link *l)
{
    return l->held;
}

struct link_figures link_figures(const struct link *l)
{
    struct link_figures f = l->figures;
    f.kept_frames = l->kept.next - l->kept.first;
    f.kept_bytes = l->kept.bytes;
    f.passing_bytes = l->passing.bytes;
    f.last_seq = l->kept.next - 1;
    f.acked_seq = l->kept.first - 1;
    f.received_seq = l->received;
    f.peer_generation = l->peer_generation;
    f.peer_features = l->peer_features;
    f.slow = l->slow;
    return f;
}
