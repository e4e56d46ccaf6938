/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/link_node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/link/greeting.h"
#include "proto/little_endian.h"

struct link_rules link_rules;

static uint64_t now(const struct link_node *n)
{
    return sim_now_ms(n->node);
}

unsigned link_node_peers(const struct link_node *n)
{
    unsigned count = 0;
    while (sim_is_ours(n->node) && count < sim_nodes(sim_of(n->node)) &&
           sim_is_ours(sim_node(sim_of(n->node), count))) {
        count++;
    }
    return count;
}

struct bytes link_text(unsigned text, enum node_interest_kind *kind)
{
    static char texts[LINK_TEXTS][32];
    snprintf(texts[text], sizeof texts[text], text % 4 == 3 ? "$share/g/t/%u" : "t/%u/#", text);
    *kind = text % 4 == 3 ? NODE_INTEREST_GROUP : NODE_INTEREST_FILTER;
    return bytes_text(texts[text]);
}

static unsigned text_number(const struct link_node *n, struct bytes text)
{
    enum node_interest_kind kind;
    for (unsigned i = 0; i < LINK_TEXTS; i++) {
        if (bytes_equal(link_text(i, &kind), text)) {
            return i;
        }
    }
    sim_fail(sim_of(n->node), "node %u is told of a filter that nobody has", sim_index(n->node));
    return 0;
}

/* ---- What the interest tells: the index */

static bool on_set(void *context, unsigned peer, const struct node_interest_item *item)
{
    struct link_node *const n = context;
    n->peers[peer].index_of[text_number(n, item->text)] = item->count;
    return true;
}

static void on_removed(void *context, unsigned peer, const struct node_interest_item *item)
{
    struct link_node *const n = context;
    n->peers[peer].index_of[text_number(n, item->text)] = 0;
}

static void on_settle(void *context, unsigned peer, uint32_t epoch, uint64_t version)
{
    struct link_node *const n = context;
    n->peers[peer].is_new = false;
    interest_settled(n->interest, peer, epoch, version);
}

static void on_reached(void *context, uint64_t token, uint32_t without)
{
    link_rules.on_reached(context, token, without);
}

/* ---- What a link tells */

static enum link_taken on_publish(struct link_peer *p, const struct node_frame *frame)
{
    if (frame->body.len < sizeof(uint64_t)) {
        return LINK_BAD;
    }
    const uint64_t value = get_u64(frame->body.at), number = value & UINT32_MAX;
    if (frame->seq > 0) {
        link_rules.on_numbered(p, value >> 32, number, frame->seq);
    } else if (value >> 32 == p->of_start && number <= p->passing_last) {
        sim_fail(sim_of(p->self->node), "what has no number comes twice, or out of order");
    } else if (value >> 32 == p->of_start) {
        p->passing_last = number;
    }
    return LINK_TAKEN;
}

static enum link_taken on_deliver(void *context, const struct node_frame *frame)
{
    struct link_peer *const p = context;
    const bool is_interest =
        frame->type >= NODE_FRAME_INTEREST_DELTA && frame->type <= NODE_FRAME_INTEREST_ACK;
    const bool is_message = frame->type == NODE_FRAME_PUBLISH;
    if (is_message && (link_rules.rider == NULL || !link_rules.rider->messages)) {
        return on_publish(p, frame);
    }
    if (link_rules.rider != NULL && !is_interest) {
        return link_rules.rider->deliver(p->self->rider, p->index, frame);
    }
    return interest_received(p->self->interest, p->index, frame, now(p->self)) == INTEREST_OK
               ? LINK_TAKEN
               : LINK_BAD;
}

static void on_up(void *context, const struct node_hello *hello)
{
    struct link_peer *const p = context;
    struct sim *const sim = sim_of(p->self->node);
    if (!cluster_uuid_equal(hello->cluster, sim_identity(p->self->node)->cluster) ||
        !node_uuid_equal(hello->node, p->uuid)) {
        sim_fail(sim, "node %u talks to a stranger", sim_index(p->self->node));
    }
    sim_note(p->self->node, "up with %u, generation %llu", p->index,
             (unsigned long long)hello->generation);
    interest_peer_up(p->self->interest, p->index, now(p->self));
    if (link_rules.rider != NULL) {
        link_rules.rider->up(p->self->rider, p->index, hello->generation);
    }
}

static void on_down(void *context, enum node_close why)
{
    struct link_peer *const p = context;
    sim_note(p->self->node, "down with %u: %s", p->index, node_close_text(why));
    interest_peer_down(p->self->interest, p->index, now(p->self));
    if (link_rules.rider != NULL) {
        link_rules.rider->down(p->self->rider, p->index);
    }
}

static void on_slow(void *context, bool slow)
{
    const struct link_peer *const p = context;
    sim_note(p->self->node, "%u is %s", p->index, slow ? "slow" : "not slow any more");
}

static void on_gap(void *context)
{
    struct link_peer *const p = context;
    sim_note(p->self->node, "a gap from %u", p->index);
    p->told = true;
}

static void on_restarted(void *context, uint64_t generation)
{
    const struct link_peer *const p = context;
    sim_note(p->self->node, "%u was started anew, generation %llu", p->index,
             (unsigned long long)generation);
}

static void on_lost(void *context, uint64_t first, uint64_t last, enum link_loss why)
{
    struct link_peer *const p = context;
    sim_note(p->self->node, "to %u, %llu to %llu are lost: %d", p->index, (unsigned long long)first,
             (unsigned long long)last, (int)why);
    link_rules.on_lost(p, first, last);
}

/* ---- Peers */

static void peer_end(struct link_peer *p)
{
    if (p->link == NULL) {
        return;
    }
    if (p->dialing != 0) {
        sim_stream_close(p->self->node, p->dialing);
        p->dialing = 0;
    }
    const uint64_t stream = link_connection(p->link);
    if (stream != 0) {
        sim_stream_close(p->self->node, stream);
        link_down(p->link, stream, NODE_CLOSE_SHUTDOWN, now(p->self));
    }
    link_destroy(p->link);
    p->link = NULL;
}

/* There is somebody with that UUID now: if it is another than before, nothing of the former stays.
 */
static void peer_begin(struct link_peer *p, struct node_uuid uuid)
{
    struct link_node *const n = p->self;
    struct link_conf conf = link_conf_defaults();
    peer_end(p);
    interest_peer_live(n->interest, p->index, false, now(n));
    interest_peer_forget(n->interest, p->index);
    *p = (struct link_peer){.self = n, .index = p->index, .uuid = uuid, .is_new = true};
    conf.self = *sim_identity(n->node);
    conf.peer = uuid;
    conf.stream = ++n->streams_named;
    conf.seed = sim_random(n->node);
    conf.kept_bytes_max = LINK_KEPT_MAX;
    conf.events = (struct link_events){.deliver = on_deliver,
                                       .up = on_up,
                                       .down = on_down,
                                       .slow = on_slow,
                                       .gap = on_gap,
                                       .restarted = on_restarted,
                                       .lost = on_lost,
                                       .context = p};
    p->link = link_create(&conf);
    assert(p->link != NULL);
    p->start = link_rules.on_link(p);
    if (link_rules.rider != NULL) {
        link_rules.rider->begin(n->rider, p->index, uuid);
    }
}

/* What membership would say: dead a few seconds after it is. */
static bool seems_alive(const struct link_node *n, unsigned index)
{
    struct sim *const sim = sim_of(n->node);
    const struct sim_node *const other = sim_node(sim, index);
    return sim_running(other) != NULL || sim_time_ms(sim) - sim_stopped_ms(other) < LINK_DEAD_MS;
}

static void look_around(struct link_node *n)
{
    for (unsigned i = 0; i < link_node_peers(n); i++) {
        struct link_peer *const p = &n->peers[i];
        const struct sim_node *const other = sim_node(sim_of(n->node), i);
        if (i == sim_index(n->node) || (sim_running(other) == NULL && p->link == NULL)) {
            continue;
        }
        const struct node_uuid uuid = sim_identity(other)->node;
        if (sim_running(other) != NULL && (p->link == NULL || !node_uuid_equal(uuid, p->uuid))) {
            peer_begin(p, uuid);
        }
        const bool live = seems_alive(n, i) && node_uuid_equal(uuid, p->uuid) &&
                          sim_time_ms(sim_of(n->node)) >= p->doubted_ms;
        if (live != p->live) {
            p->live = live;
            link_want(p->link, live, now(n));
            interest_peer_live(n->interest, i, live, now(n));
            if (link_rules.rider != NULL && link_rules.rider->live != NULL) {
                link_rules.rider->live(n->rider, i, live);
            }
            if (!live) {
                link_give_up(p->link, now(n));
            }
        }
    }
}

/* ---- Streams */

static struct link_peer *peer_of_stream(struct link_node *n, uint64_t stream)
{
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        struct link_peer *const p = &n->peers[i];
        if (p->link != NULL && (link_connection(p->link) == stream || p->dialing == stream)) {
            return p;
        }
    }
    return NULL;
}

static struct link_pending *pending_of(struct link_node *n, uint64_t stream)
{
    for (unsigned i = 0; i < LINK_PENDING; i++) {
        if (n->pending[i].stream == stream) {
            return &n->pending[i];
        }
    }
    return NULL;
}

/* As much as the stream takes. true: all that there is. */
static bool write_all(struct link_node *n, struct link_peer *p)
{
    struct bytes runs[LINK_RUNS];
    const uint64_t stream = link_connection(p->link);
    for (size_t count = link_output(p->link, runs, now(n)); count > 0;
         count = link_output(p->link, runs, now(n))) {
        size_t sent = 0, whole = 0;
        for (size_t i = 0; i < count && sent == whole; i++) {
            whole += runs[i].len;
            sent += sim_stream_write(n->node, stream, runs[i]);
        }
        link_sent(p->link, stream, sent, now(n));
        if (sent < whole) {
            return false;
        }
    }
    return true;
}

static void close_link(struct link_node *n, struct link_peer *p)
{
    const uint64_t stream = link_connection(p->link);
    write_all(n, p);
    sim_stream_close(n->node, stream);
    link_down(p->link, stream, NODE_CLOSE_BROKEN, now(n));
}

static bool next_of(struct link_node *n, struct link_peer *p, size_t room, uint8_t *type,
                    struct bytes *body)
{
    return interest_next(n->interest, p->index, room, now(n), type, body) ||
           (link_rules.rider != NULL &&
            link_rules.rider->next(n->rider, p->index, room, type, body));
}

/* What has numbers of its own. */
static void say_passing(struct link_node *n, struct link_peer *p)
{
    uint8_t type, *to;
    uint64_t none;
    struct bytes body;
    for (;;) {
        const bool alone = link_figures(p->link).passing_bytes == 0;
        const size_t room = alone ? link_conf_defaults().frame_max : link_room(p->link);
        if (room <= NODE_FRAME_HEAD_BYTES ||
            !next_of(n, p, room - NODE_FRAME_HEAD_BYTES, &type, &body)) {
            return;
        }
        const enum link_put put = link_put(p->link, type, false, body.len, &to, &none, now(n));
        assert(put == LINK_OK);
        memcpy(to, body.at, body.len);
    }
}

static void peer_go_on(struct link_node *n, struct link_peer *p)
{
    for (;;) {
        link_turn(p->link, now(n));
        const enum link_todo todo = link_todo(p->link);
        if (todo == LINK_DIAL) {
            const struct node_address to = sim_address(sim_node(sim_of(n->node), p->index));
            p->dialing = sim_stream_open(n->node, &to);
        } else if (todo == LINK_CLOSE) {
            close_link(n, p);
            continue;
        }
        break;
    }
    say_passing(n, p);
    if (link_connection(p->link) != 0) {
        write_all(n, p);
    }
}

void link_node_go_on(struct link_node *n)
{
    const uint64_t t = now(n);
    interest_turn(n->interest, t);
    uint64_t next = interest_next_ms(n->interest);
    if (link_rules.rider != NULL) {
        link_rules.rider->turn(n->rider);
        const uint64_t due = link_rules.rider->next_ms(n->rider);
        next = due < next ? due : next;
    }
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        if (n->peers[i].link != NULL) {
            peer_go_on(n, &n->peers[i]);
            const uint64_t due = link_next_ms(n->peers[i].link);
            next = due < next ? due : next;
        }
    }
    next = next <= t ? t + 1 : next;
    sim_set_timer(n->node, n->tick_ms < next ? n->tick_ms : next);
}

/* ---- What the world tells */

static void *on_create(struct sim_node *node)
{
    struct link_node *const n = calloc(1, sizeof *n);
    struct interest_conf conf = interest_conf_defaults();
    assert(n != NULL);
    n->node = node;
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        n->peers[i].self = n;
        n->peers[i].index = i;
    }
    conf.cluster = sim_identity(node)->cluster;
    conf.generation = sim_identity(node)->generation;
    conf.tail_ops_max = 32;
    conf.tail_bytes_max = 1u << 17;
    conf.waits_max = 256;
    conf.turn_steps = 7;
    conf.parts_max = 2;
    conf.events = (struct interest_events){.set = on_set,
                                           .removed = on_removed,
                                           .settle = on_settle,
                                           .reached = on_reached,
                                           .context = n};
    n->interest = interest_create(&conf);
    assert(n->interest != NULL);
    n->rider = link_rules.rider == NULL ? NULL : link_rules.rider->create(n);
    n->tick_ms = now(n);
    sim_set_timer(node, n->tick_ms);
    return n;
}

static void on_destroy(void *self)
{
    struct link_node *const n = self;
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        peer_end(&n->peers[i]);
    }
    interest_destroy(n->interest);
    if (link_rules.rider != NULL) {
        link_rules.rider->destroy(n->rider);
    }
    free(n);
}

static void on_timer(void *self)
{
    struct link_node *const n = self;
    if (now(n) >= n->tick_ms) {
        n->tick_ms = now(n) + LINK_TICK_MS;
        look_around(n);
        for (unsigned i = 0; i < LINK_PENDING; i++) {
            struct link_pending *const p = &n->pending[i];
            if (p->stream != 0 && now(n) - p->since_ms > LINK_PENDING_MS) {
                sim_stream_close(n->node, p->stream);
                p->stream = 0;
            }
        }
    }
    link_node_go_on(n);
}

static void on_accepted(void *self, uint64_t stream, const struct node_address *from)
{
    struct link_node *const n = self;
    struct link_pending *const p = pending_of(n, 0);
    (void)from;
    if (p == NULL) {
        sim_stream_close(n->node, stream);
        return;
    }
    *p = (struct link_pending){.stream = stream, .since_ms = now(n)};
}

static void on_opened(void *self, uint64_t stream)
{
    struct link_node *const n = self;
    struct link_peer *const p = peer_of_stream(n, stream);
    if (p != NULL && p->dialing == stream) {
        p->dialing = 0;
        link_dialed(p->link, stream, now(n));
    }
    link_node_go_on(n);
}

static void refuse(struct link_node *n, struct link_pending *p, enum node_close why)
{
    uint8_t out[GREETING_FAREWELL_BYTES];
    sim_note(n->node, "a call is refused: %s", node_close_text(why));
    (void)sim_stream_write(n->node, p->stream, bytes_of(out, greeting_farewell(out, why)));
    sim_stream_close(n->node, p->stream);
    p->stream = 0;
}

static struct link_peer *peer_of_node(struct link_node *n, struct node_uuid uuid)
{
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        if (n->peers[i].link != NULL && node_uuid_equal(n->peers[i].uuid, uuid)) {
            return &n->peers[i];
        }
    }
    return NULL;
}

/* It is that node's link's from now on. */
static void take_over(struct link_node *n, struct link_pending *pending,
                      const struct greeting *greeting)
{
    struct link_peer *const p = peer_of_node(n, greeting->hello.node);
    if (p == NULL) {
        refuse(n, pending, NODE_CLOSE_UNKNOWN_NODE);
        return;
    }
    const uint64_t former = link_connection(p->link);
    if (former != 0) {
        sim_stream_close(n->node, former);
        link_down(p->link, former, NODE_CLOSE_REPLACED, now(n));
    }
    const enum node_close why = link_accept(p->link, pending->stream, &greeting->hello, now(n));
    if (why != NODE_CLOSE_NONE) {
        refuse(n, pending, why);
        return;
    }
    size_t used;
    link_received(p->link, pending->stream, pending->bytes + greeting->used,
                  pending->len - greeting->used, now(n), &used);
    pending->stream = 0;
}

/* How many of the bytes it has looked at; less: it is the link's now, and so is the rest. */
static size_t greet(struct link_node *n, struct link_pending *p, struct bytes bytes)
{
    const size_t room = LINK_GREET_MAX - p->len;
    const size_t part = bytes.len < room ? bytes.len : room;
    struct greeting greeting;
    enum node_close why = NODE_CLOSE_MALFORMED;
    memcpy(p->bytes + p->len, bytes.at, part);
    p->len += part;
    switch (greeting_read(sim_identity(n->node), p->bytes, p->len, &greeting, &why)) {
    case GREETING_NEED_MORE:
        return bytes.len;
    case GREETING_OK:
        take_over(n, p, &greeting);
        return part;
    default:
        refuse(n, p, why);
        return bytes.len;
    }
}

static void on_received(void *self, uint64_t stream, struct bytes bytes)
{
    struct link_node *const n = self;
    struct link_pending *const pending = pending_of(n, stream);
    if (pending != NULL) {
        const size_t used = greet(n, pending, bytes);
        bytes = bytes_of(bytes.at + used, bytes.len - used);
    }
    struct link_peer *const p = peer_of_stream(n, stream);
    if (p != NULL && bytes.len > 0) {
        size_t used;
        link_received(p->link, stream, bytes.at, bytes.len, now(n), &used);
        assert(used == bytes.len);
    }
    link_node_go_on(n);
}

static void on_writable(void *self, uint64_t stream)
{
    (void)stream;
    link_node_go_on(self);
}

static void on_closed(void *self, uint64_t stream, enum sim_close why)
{
    struct link_node *const n = self;
    struct link_pending *const pending = pending_of(n, stream);
    struct link_peer *const p = peer_of_stream(n, stream);
    (void)why;
    if (pending != NULL) {
        pending->stream = 0;
    }
    if (p != NULL && p->dialing == stream) {
        p->dialing = 0;
        link_dial_failed(p->link, now(n));
    } else if (p != NULL) {
        link_down(p->link, stream, NODE_CLOSE_BROKEN, now(n));
    }
    link_node_go_on(n);
}

static void on_ended(void *self, uint64_t stream)
{
    struct link_node *const n = self;
    sim_stream_close(n->node, stream);
    on_closed(n, stream, SIM_CLOSE_RESET);
}

static void on_disk_done(void *self, uint64_t operation, int error)
{
    struct link_node *const n = self;
    if (link_rules.rider != NULL && link_rules.rider->disk_done != NULL) {
        link_rules.rider->disk_done(n->rider, operation, error);
    }
    link_node_go_on(n);
}

const struct sim_module link_module = {
    .name = "links",
    .create = on_create,
    .destroy = on_destroy,
    .timer = on_timer,
    .stream_accepted = on_accepted,
    .stream_opened = on_opened,
    .stream_received = on_received,
    .stream_writable = on_writable,
    .stream_ended = on_ended,
    .stream_closed = on_closed,
    .disk_done = on_disk_done,
};

/* ---- What users do */

bool link_node_publish(struct link_node *n, unsigned peer, bool numbered, size_t more)
{
    struct link_peer *const p = &n->peers[peer];
    uint8_t *body;
    uint64_t seq;
    if (p->link == NULL || link_put(p->link, NODE_FRAME_PUBLISH, numbered, sizeof(uint64_t) + more,
                                    &body, &seq, now(n)) != LINK_OK) {
        return false;
    }
    put_u64(body, p->start << 32 | (numbered ? ++p->last : ++p->passing));
    memset(body + sizeof(uint64_t), 0, more);
    return true;
}

uint64_t link_node_take(struct link_node *n, unsigned text)
{
    enum node_interest_kind kind;
    const struct bytes t = link_text(text, &kind);
    uint64_t version = 0;
    const enum interest_err err = interest_take(n->interest, kind, t, now(n), &version);
    assert(err == INTEREST_OK);
    n->own[text]++;
    return version;
}

void link_node_put(struct link_node *n, unsigned text)
{
    enum node_interest_kind kind;
    const struct bytes t = link_text(text, &kind);
    interest_put(n->interest, kind, t, now(n));
    n->own[text]--;
    n->let_go[text]++;
}
