/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/interest/net.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 100000u

struct bytes net_text(unsigned text, enum node_interest_kind *kind)
{
    static char texts[NET_TEXTS][32];
    if (texts[text][0] == '\0') {
        snprintf(texts[text], sizeof texts[text], text % 4 == 3 ? "$share/g/t/%u" : "t/%u/#", text);
    }
    *kind = text % 4 == 3 ? NODE_INTEREST_GROUP : NODE_INTEREST_FILTER;
    return bytes_text(texts[text]);
}

static unsigned number_of(const struct node_interest_item *item)
{
    enum node_interest_kind kind;
    for (unsigned text = 0; text < NET_TEXTS; text++) {
        if (bytes_equal(net_text(text, &kind), item->text)) {
            cr_assert_eq(item->kind, kind);
            return text;
        }
    }
    cr_assert(false, "nobody has taken %.*s", (int)item->text.len, (const char *)item->text.at);
    return 0;
}

/* ---- Indices */

static void step_add(struct net_node *node, struct net_step step)
{
    cr_assert(node->steps_count < NET_STEPS);
    node->steps[(node->steps_first + node->steps_count++) % NET_STEPS] = step;
}

void net_index(struct net *n, unsigned which, size_t steps)
{
    struct net_node *const node = &n->nodes[which];
    for (; steps > 0 && node->steps_count > 0; steps--) {
        const struct net_step s = node->steps[node->steps_first];
        node->steps_first = (node->steps_first + 1) % NET_STEPS;
        node->steps_count--;
        switch (s.what) {
        case NET_SET:
            node->index[s.peer][s.text] = s.count;
            break;
        case NET_REMOVED:
            cr_assert(node->index[s.peer][s.text] > 0, "what was never told");
            node->index[s.peer][s.text] = 0;
            break;
        case NET_SETTLE:
            interest_settled(node->interest, s.peer, s.epoch, s.version);
            break;
        }
    }
}

struct context {
    struct net *net;
    unsigned node;
};

static bool on_set(void *context, unsigned peer, const struct node_interest_item *item)
{
    const struct context *const c = context;
    struct net_node *const node = &c->net->nodes[c->node];
    cr_assert(item->count > 0);
    if (!node->no_memory) {
        step_add(node,
                 (struct net_step){
                     .what = NET_SET, .peer = peer, .text = number_of(item), .count = item->count});
    }
    return !node->no_memory;
}

static void on_removed(void *context, unsigned peer, const struct node_interest_item *item)
{
    const struct context *const c = context;
    step_add(&c->net->nodes[c->node],
             (struct net_step){.what = NET_REMOVED, .peer = peer, .text = number_of(item)});
}

static void on_settle(void *context, unsigned peer, uint32_t epoch, uint64_t version)
{
    const struct context *const c = context;
    step_add(
        &c->net->nodes[c->node],
        (struct net_step){.what = NET_SETTLE, .peer = peer, .epoch = epoch, .version = version});
}

static void on_reached(void *context, uint64_t token, uint32_t without)
{
    const struct context *const c = context;
    struct net_node *const node = &c->net->nodes[c->node];
    node->reached_token = token;
    node->reached_without = without;
    node->reached_count++;
    if (c->net->on_reached != NULL) {
        c->net->on_reached(c->net, c->node, token, without);
    }
}

/* ---- Nodes */

static struct context contexts[NET_NODES];

static void begin(struct net *n, unsigned node)
{
    struct interest_conf conf = n->conf;
    memset(conf.cluster.bytes, 0xcc, UUID_BYTES);
    conf.generation = ++n->nodes[node].generation;
    contexts[node] = (struct context){n, node};
    conf.events = (struct interest_events){.set = on_set,
                                           .removed = on_removed,
                                           .settle = on_settle,
                                           .reached = on_reached,
                                           .context = &contexts[node]};
    n->nodes[node].interest = interest_create(&conf);
    cr_assert_not_null(n->nodes[node].interest);
    for (unsigned peer = 0; peer < n->count; peer++) {
        if (peer != node) {
            interest_peer_live(n->nodes[node].interest, peer, true, n->now_ms);
        }
    }
}

struct net *net_create(unsigned count, const struct interest_conf *conf)
{
    struct net *const n = calloc(1, sizeof *n);
    cr_assert_not_null(n);
    *n = (struct net){.random = random_init(),
                      .now_ms = 1000,
                      .conf = conf == NULL ? interest_conf_defaults() : *conf,
                      .count = count,
                      .room = 1u << 20};
    for (unsigned node = 0; node < count; node++) {
        n->nodes[node].steps = calloc(NET_STEPS, sizeof *n->nodes[node].steps);
        cr_assert_not_null(n->nodes[node].steps);
        begin(n, node);
    }
    for (unsigned a = 0; a < count; a++) {
        for (unsigned b = a + 1; b < count; b++) {
            net_up(n, a, b);
        }
    }
    return n;
}

static void stream_clear(struct net_stream *s)
{
    for (; s->count > 0; s->count--) {
        free(s->frames[s->first].body);
        s->first = (s->first + 1) % NET_FRAMES;
    }
}

void net_destroy(struct net *n)
{
    for (unsigned a = 0; a < n->count; a++) {
        interest_destroy(n->nodes[a].interest);
        free(n->nodes[a].steps);
        for (unsigned b = 0; b < n->count; b++) {
            stream_clear(&n->streams[a][b]);
        }
    }
    free(n);
}

void net_restart(struct net *n, unsigned which)
{
    struct net_node *const node = &n->nodes[which];
    for (unsigned peer = 0; peer < n->count; peer++) {
        if (peer != which) {
            net_down(n, which, peer);
        }
    }
    interest_destroy(node->interest);
    memset(node->own, 0, sizeof node->own);
    memset(node->index, 0, sizeof node->index);
    node->steps_count = 0;
    begin(n, which);
}

void net_up(struct net *n, unsigned a, unsigned b)
{
    cr_assert(!n->nodes[a].up[b] && !n->nodes[b].up[a]);
    n->nodes[a].up[b] = true;
    n->nodes[b].up[a] = true;
    interest_peer_up(n->nodes[a].interest, b, n->now_ms);
    interest_peer_up(n->nodes[b].interest, a, n->now_ms);
}

static void end_down(struct net *n, unsigned at, unsigned peer)
{
    if (n->nodes[at].up[peer]) {
        n->nodes[at].up[peer] = false;
        interest_peer_down(n->nodes[at].interest, peer, n->now_ms);
        stream_clear(&n->streams[peer][at]);
    }
}

void net_down(struct net *n, unsigned a, unsigned b)
{
    end_down(n, a, b);
    end_down(n, b, a);
}

void net_live(struct net *n, unsigned at, unsigned peer, bool live)
{
    interest_peer_live(n->nodes[at].interest, peer, live, n->now_ms);
}

uint64_t net_take(struct net *n, unsigned node, unsigned text)
{
    enum node_interest_kind kind;
    uint64_t version = 0;
    const struct bytes t = net_text(text, &kind);
    cr_assert_eq(interest_take(n->nodes[node].interest, kind, t, n->now_ms, &version), INTEREST_OK);
    n->nodes[node].own[text]++;
    return version;
}

void net_put(struct net *n, unsigned node, unsigned text)
{
    enum node_interest_kind kind;
    const struct bytes t = net_text(text, &kind);
    cr_assert(n->nodes[node].own[text] > 0);
    n->nodes[node].own[text]--;
    interest_put(n->nodes[node].interest, kind, t, n->now_ms);
}

/* ---- Frames */

void net_pump(struct net *n, unsigned from, unsigned to)
{
    struct net_stream *const s = &n->streams[from][to];
    struct net_frame f;
    struct bytes body;
    while (n->nodes[from].up[to] && s->count < NET_FRAMES / 2 &&
           interest_next(n->nodes[from].interest, to, n->room, n->now_ms, &f.type, &body)) {
        cr_assert(body.len <= n->room);
        n->frames++;
        n->bytes += body.len;
        if (!n->nodes[to].up[from]) {
            continue; /* into the void */
        }
        f.len = body.len;
        f.body = malloc(body.len); /* of just that size: ASan sees the byte behind it */
        cr_assert_not_null(f.body);
        memcpy(f.body, body.at, body.len);
        s->frames[(s->first + s->count++) % NET_FRAMES] = f;
    }
}

bool net_deliver(struct net *n, unsigned from, unsigned to)
{
    struct net_stream *const s = &n->streams[from][to];
    if (s->count == 0 || !n->nodes[to].up[from]) {
        return false;
    }
    const struct net_frame f = s->frames[s->first];
    s->first = (s->first + 1) % NET_FRAMES;
    s->count--;
    const struct node_frame frame = {.type = f.type, .body = bytes_of(f.body, f.len)};
    const enum interest_err err = interest_received(n->nodes[to].interest, from, &frame, n->now_ms);
    cr_assert_eq(err, INTEREST_OK);
    free(f.body);
    return true;
}

static bool round_of(struct net *n)
{
    bool moved = false;
    for (unsigned a = 0; a < n->count; a++) {
        interest_turn(n->nodes[a].interest, n->now_ms);
        if (!n->late) {
            net_index(n, a, SIZE_MAX);
        }
        for (unsigned b = 0; b < n->count; b++) {
            net_pump(n, a, b);
            while (!n->mute[a] && net_deliver(n, a, b)) {
                moved = true;
            }
        }
        moved = moved || interest_next_ms(n->nodes[a].interest) == 0;
    }
    return moved;
}

void net_settle(struct net *n)
{
    for (unsigned i = 0; i < ROUNDS_MAX && round_of(n); i++) {
    }
}

void net_run(struct net *n, uint64_t ms)
{
    const uint64_t end_ms = n->now_ms + ms;
    for (;;) {
        net_settle(n);
        if (n->now_ms >= end_ms) {
            return;
        }
        uint64_t next = end_ms;
        for (unsigned a = 0; a < n->count; a++) {
            const uint64_t due = interest_next_ms(n->nodes[a].interest);
            next = due < next ? due : next;
        }
        n->now_ms = next <= n->now_ms ? n->now_ms + 1 : next;
    }
}

bool net_is_equal(const struct net *n, unsigned node, unsigned peer)
{
    for (unsigned text = 0; text < NET_TEXTS; text++) {
        enum node_interest_kind kind;
        net_text(text, &kind);
        const uint32_t held = n->nodes[peer].own[text];
        const uint32_t want = kind == NODE_INTEREST_GROUP || held == 0 ? held : 1;
        if (n->nodes[node].index[peer][text] != want) {
            return false;
        }
    }
    return true;
}
