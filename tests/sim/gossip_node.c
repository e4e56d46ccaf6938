/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/gossip_node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_IDLE_MS 10000u
#define LENGTH_BYTES   2u
#define SEEDS_SOON_MS  10000u /* until somebody is known */
#define SEEDS_LATER_MS 60000u

struct gossip_rules gossip_rules;

const char *gossip_event_name(enum membership_event event)
{
    static const char *const names[] = {
        [MEMBERSHIP_JOINED] = "joined",       [MEMBERSHIP_RESTARTED] = "restarted",
        [MEMBERSHIP_SUSPECTED] = "suspected", [MEMBERSHIP_REFUTED] = "refuted",
        [MEMBERSHIP_DIED] = "died",           [MEMBERSHIP_LEFT] = "left",
        [MEMBERSHIP_UPDATED] = "updated",     [MEMBERSHIP_FORGOTTEN] = "forgotten",
        [MEMBERSHIP_CONFLICT] = "conflict",
    };
    return names[event];
}

void gossip_node_rearm(struct gossip_node *g)
{
    const uint64_t due = membership_due(g->membership);
    sim_set_timer(g->node, due < g->contact_ms ? due : g->contact_ms);
}

/* ---- Streams */

static struct gossip_stream *by_name(struct gossip_node *g, uint64_t name)
{
    for (size_t i = 0; i < GOSSIP_STREAMS_MAX; i++) {
        if (g->streams[i].name == name) {
            return &g->streams[i];
        }
    }
    return NULL;
}

static void stream_drop(struct gossip_node *g, struct gossip_stream *s)
{
    sim_stream_close(g->node, s->name);
    free(s->out);
    *s = (struct gossip_stream){0};
}

static struct gossip_stream *by_peer(struct gossip_node *g, const struct node_address *peer)
{
    for (size_t i = 0; i < GOSSIP_STREAMS_MAX; i++) {
        if (g->streams[i].name != 0 && node_address_equal(&g->streams[i].peer, peer)) {
            return &g->streams[i];
        }
    }
    return NULL;
}

/* A free one, or the one that was not used for longest. */
static struct gossip_stream *room(struct gossip_node *g)
{
    struct gossip_stream *oldest = &g->streams[0];
    for (size_t i = 0; i < GOSSIP_STREAMS_MAX; i++) {
        if (g->streams[i].name == 0) {
            return &g->streams[i];
        }
        oldest = g->streams[i].used_ms < oldest->used_ms ? &g->streams[i] : oldest;
    }
    stream_drop(g, oldest);
    return oldest;
}

static void flush(struct gossip_node *g, struct gossip_stream *s)
{
    if (!s->open || s->out_len == 0) {
        return;
    }
    const size_t n = sim_stream_write(g->node, s->name, bytes_of(s->out, s->out_len));
    memmove(s->out, s->out + n, s->out_len - n);
    s->out_len -= n;
}

static void drop_idle_streams(struct gossip_node *g)
{
    for (size_t i = 0; i < GOSSIP_STREAMS_MAX; i++) {
        if (g->streams[i].name != 0 && sim_now_ms(g->node) > g->streams[i].end_ms) {
            stream_drop(g, &g->streams[i]);
        }
    }
}

static void send_by_stream(struct gossip_node *g, const struct node_address *to,
                           struct bytes sealed)
{
    drop_idle_streams(g);
    struct gossip_stream *s = by_peer(g, to);
    if (s == NULL) {
        s = room(g);
        *s =
            (struct gossip_stream){.name = sim_stream_open(g->node, to), .peer = *to, .ours = true};
    }
    s->used_ms = sim_now_ms(g->node);
    s->end_ms = s->asked ? s->end_ms : s->used_ms + STREAM_IDLE_MS;
    s->asked = true;
    s->out = realloc(s->out, s->out_len + LENGTH_BYTES + sealed.len);
    assert(s->out != NULL);
    s->out[s->out_len++] = (uint8_t)(sealed.len >> 8);
    s->out[s->out_len++] = (uint8_t)sealed.len;
    memcpy(s->out + s->out_len, sealed.at, sealed.len);
    s->out_len += sealed.len;
    flush(g, s);
}

/* ---- What the membership asks for */

static void on_send(void *context, const struct membership_via *via, struct node_uuid to,
                    struct bytes message)
{
    struct gossip_node *const g = context;
    uint8_t out[GOSSIP_MESSAGE_MAX + SEAL_BYTES];
    size_t len = message.len + SEAL_BYTES;
    (void)to;
    if (gossip_rules.no_stream_probes && via->carrier == MEMBERSHIP_STREAM &&
        message.at[1] == GOSSIP_PING) {
        return;
    }
    if (g->seal != NULL) {
        const enum seal_err err = seal_make(g->seal, out, message);
        assert(err == SEAL_OK);
    } else { /* as long, and as much as the receiver has to know */
        memset(out, 0, SEAL_BYTES);
        memcpy(out, sim_identity(g->node)->node.bytes, UUID_BYTES);
        memcpy(out + SEAL_BYTES, message.at, message.len);
    }
    if (via->carrier == MEMBERSHIP_DATAGRAM) {
        sim_send(g->node, &via->address, bytes_of(out, len));
    } else {
        send_by_stream(g, &via->address, bytes_of(out, len));
    }
}

static void on_event(void *context, enum membership_event event, const struct member *member)
{
    struct gossip_node *const g = context;
    sim_note(g->node, "%.*s %s, generation %llu, version %u", member->name_len, member->name,
             gossip_event_name(event), (unsigned long long)member->incarnation.generation,
             member->incarnation.version);
    if (gossip_rules.on_event != NULL) {
        gossip_rules.on_event(g, event, member);
    }
}

/* ---- What the world tells */

static void receive(struct gossip_node *g, enum membership_carrier carrier,
                    const struct node_address *from, struct bytes sealed)
{
    uint8_t out[GOSSIP_MESSAGE_MAX + SEAL_BYTES];
    size_t len;
    struct seal_sender sender = {.generation = 0};
    const struct membership_via via = {.carrier = carrier, .address = *from};
    if (sealed.len > sizeof out) {
        return;
    }
    if (g->seal != NULL) {
        const enum seal_err err = seal_open(g->seal, out, &len, &sender, sealed);
        g->opened[err]++;
        if (err != SEAL_OK) {
            return;
        }
        if (gossip_rules.on_opened != NULL) {
            gossip_rules.on_opened(g, &sender);
        }
    } else {
        len = sealed.len - SEAL_BYTES;
        memcpy(sender.node.bytes, sealed.at, UUID_BYTES);
        memcpy(out, sealed.at + SEAL_BYTES, len);
    }
    const enum gossip_err err = membership_receive(g->membership, sim_now_ms(g->node), &via,
                                                   sender.node, bytes_of(out, len));
    if (err != GOSSIP_OK) {
        sim_fail(sim_of(g->node), "node %u cannot read what was sealed for it: %d",
                 sim_index(g->node), err);
    }
}

static void on_datagram(void *self, const struct node_address *from, struct bytes bytes)
{
    struct gossip_node *const g = self;
    receive(g, MEMBERSHIP_DATAGRAM, from, bytes);
    gossip_node_rearm(g);
}

static void on_stream_accepted(void *self, uint64_t stream, const struct node_address *from)
{
    struct gossip_node *const g = self;
    struct gossip_stream *const s = room(g);
    *s = (struct gossip_stream){
        .name = stream, .peer = *from, .open = true, .used_ms = sim_now_ms(g->node)};
    s->end_ms = s->used_ms + STREAM_IDLE_MS;
}

static void on_stream_opened(void *self, uint64_t stream)
{
    struct gossip_node *const g = self;
    struct gossip_stream *const s = by_name(g, stream);
    if (s != NULL) {
        s->open = true;
        flush(g, s);
    }
}

static void on_stream_writable(void *self, uint64_t stream)
{
    struct gossip_node *const g = self;
    struct gossip_stream *const s = by_name(g, stream);
    if (s != NULL) {
        flush(g, s);
    }
}

static void on_stream_closed(void *self, uint64_t stream, enum sim_close why)
{
    struct gossip_node *const g = self;
    struct gossip_stream *const s = by_name(g, stream);
    (void)why;
    if (s != NULL) {
        stream_drop(g, s);
    }
}

static void on_stream_ended(void *self, uint64_t stream)
{
    on_stream_closed(self, stream, SIM_CLOSE_RESET);
}

/* One more byte; a message that is whole goes on. false: the stream is broken, or gone. */
static bool take_byte(struct gossip_node *g, uint64_t name, uint8_t byte)
{
    struct gossip_stream *const s = by_name(g, name);
    if (s == NULL) {
        return false;
    }
    s->in[s->in_len++] = byte;
    if (s->in_len < LENGTH_BYTES) {
        return true;
    }
    const size_t len = (size_t)(s->in[0] << 8 | s->in[1]);
    if (len > sizeof s->in - LENGTH_BYTES) {
        stream_drop(g, s);
        return false;
    }
    if (s->in_len == LENGTH_BYTES + len) {
        uint8_t message[sizeof s->in];
        const struct node_address from = s->peer; /* an answer may take this stream's place */
        memcpy(message, s->in + LENGTH_BYTES, len);
        s->in_len = 0;
        s->used_ms = sim_now_ms(g->node);
        s->end_ms = s->used_ms + STREAM_IDLE_MS;
        s->asked = false;
        receive(g, MEMBERSHIP_STREAM, &from, bytes_of(message, len));
    }
    return true;
}

static void on_stream_received(void *self, uint64_t stream, struct bytes bytes)
{
    struct gossip_node *const g = self;
    size_t i = 0;
    while (i < bytes.len && take_byte(g, stream, bytes.at[i])) {
        i++;
    }
    gossip_node_rearm(g);
}

static void ask(struct gossip_node *g, unsigned index)
{
    const struct sim_node *const seed = sim_node(sim_of(g->node), index);
    if (seed != g->node && sim_is_ours(seed) == sim_is_ours(g->node)) {
        const struct node_address address = sim_address(seed);
        membership_contact(g->membership, sim_now_ms(g->node), &address);
    }
}

/* As by DNS: the first nodes, and any one, by whatever address they have now, and whether they run
 * or not. */
static void ask_seeds(struct gossip_node *g)
{
    const unsigned nodes = sim_nodes(sim_of(g->node));
    for (unsigned i = 0; i < GOSSIP_SEEDS && i < nodes; i++) {
        ask(g, i);
    }
    assert(nodes > 0); /* it is one itself */
    ask(g, (unsigned)(sim_random(g->node) % nodes));
    const bool alone = membership_counters(g->membership).living == 1;
    g->contact_ms = sim_now_ms(g->node) + (alone ? SEEDS_SOON_MS : SEEDS_LATER_MS);
}

static void on_timer(void *self)
{
    struct gossip_node *const g = self;
    membership_tick(g->membership, sim_now_ms(g->node));
    if (g->contact_ms <= sim_now_ms(g->node)) {
        ask_seeds(g);
        drop_idle_streams(g);
    }
    gossip_node_rearm(g);
}

static void *on_create(struct sim_node *node)
{
    struct gossip_node *g = calloc(1, sizeof *g);
    assert(g != NULL);
    g->node = node;
    struct membership_conf conf = gossip_rules.conf;
    conf.identity = *sim_identity(node);
    conf.address = sim_address(node);
    conf.seed = sim_random(node);
    const struct membership_shell shell = {.context = g, .send = on_send, .event = on_event};
    g->membership = membership_create(&conf, &shell, sim_now_ms(node));
    assert(g->membership != NULL);
    if (gossip_rules.on_start != NULL) {
        gossip_rules.on_start(g);
    }
    if (gossip_rules.sealed) {
        struct seal_conf seal = {.identity = conf.identity, .senders_max = 64};
        const uint64_t salt = sim_random(node);
        memcpy(seal.salt, &salt, sizeof seal.salt);
        g->seal = seal_create(&seal);
        assert(g->seal != NULL);
        struct seal_key keys[SEAL_KEYS_MAX];
        seal_set_keys(g->seal, keys, gossip_rules.ring(g, keys));
    }
    g->contact_ms = sim_now_ms(node);
    gossip_node_rearm(g);
    return g;
}

static void on_destroy(void *self)
{
    struct gossip_node *const g = self;
    if (gossip_rules.on_stop != NULL) {
        gossip_rules.on_stop(g);
    }
    for (size_t i = 0; i < GOSSIP_STREAMS_MAX; i++) {
        free(g->streams[i].out);
    }
    membership_destroy(g->membership);
    seal_destroy(g->seal);
    free(g);
}

const struct sim_module gossip_module = {
    .name = "membership",
    .create = on_create,
    .destroy = on_destroy,
    .timer = on_timer,
    .datagram = on_datagram,
    .stream_accepted = on_stream_accepted,
    .stream_opened = on_stream_opened,
    .stream_received = on_stream_received,
    .stream_writable = on_stream_writable,
    .stream_ended = on_stream_ended,
    .stream_closed = on_stream_closed,
};
