/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_cluster: what a message costs a link, what a filter costs the nodes that know of it, and
 * a client its node and its owner.
 *
 *   bench_cluster [FILTERS]      1,000,000 if not given; as many clients
 *
 * Processor time, and resident memory; two nodes in one process, without a socket. Filters have 30
 * characters. The longest step is that of one call, of which a shard has to wait for the end.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/timing.h"
#include "cluster/claims/claims.h"
#include "cluster/interest/interest.h"
#include "cluster/link/greeting.h"
#include "cluster/link/link.h"
#include "proto/node_publish.h"

#define FRAMES  64u /* put, sent and received together */
#define BATCHES 20000u
#define PAYLOAD 200u

/* ---- A link: messages of 200 bytes, from one node to the other, and acknowledged */

static uint64_t delivered;

static enum link_taken on_deliver(void *context, const struct node_frame *frame)
{
    struct node_publish publish;
    (void)context;
    if (node_publish_decode(&publish, frame->body) != NODE_OK) {
        abort();
    }
    delivered += publish.payload.len == PAYLOAD;
    return LINK_TAKEN;
}

static void on_up(void *context, const struct node_hello *hello)
{
    (void)context;
    (void)hello;
}

static void on_down(void *context, enum node_close why)
{
    (void)context;
    (void)why;
}

static void on_slow(void *context, bool slow)
{
    (void)context;
    (void)slow;
}

static struct link *link_of(uint8_t node)
{
    struct link_conf conf = link_conf_defaults();
    conf.self = (struct identity){.generation = 1, .name_len = 1, .name = "n"};
    memset(conf.self.cluster.bytes, 9, UUID_BYTES);
    memset(conf.self.node.bytes, node, UUID_BYTES);
    memset(conf.peer.bytes, 3 - node, UUID_BYTES);
    conf.stream = node;
    /* gap, restarted and lost do not happen here. */
    conf.events =
        (struct link_events){.deliver = on_deliver, .up = on_up, .down = on_down, .slow = on_slow};
    struct link *const l = link_create(&conf);
    assert(l != NULL);
    link_want(l, true, 0);
    return l;
}

static void pass(struct link *from, struct link *to, uint64_t now_ms)
{
    struct bytes runs[LINK_RUNS];
    size_t used;
    for (size_t n = link_output(from, runs, now_ms); n > 0; n = link_output(from, runs, now_ms)) {
        size_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            link_received(to, 1, runs[i].at, runs[i].len, now_ms, &used);
            sum += runs[i].len;
        }
        link_sent(from, 1, sum, now_ms);
    }
}

static void connect(struct link *a, struct link *b)
{
    struct identity self = {.generation = 1};
    struct greeting greeting;
    struct bytes runs[LINK_RUNS];
    enum node_close why;
    memset(self.cluster.bytes, 9, UUID_BYTES);
    memset(self.node.bytes, 2, UUID_BYTES);
    link_turn(a, 0);
    if (link_todo(a) != LINK_DIAL) {
        abort();
    }
    link_dialed(a, 1, 0);
    if (link_output(a, runs, 0) != 1 ||
        greeting_read(&self, runs[0].at, runs[0].len, &greeting, &why) != GREETING_OK ||
        link_accept(b, 1, &greeting.hello, 0) != NODE_CLOSE_NONE) {
        abort();
    }
    link_sent(a, 1, runs[0].len, 0);
    pass(b, a, 0);
}

static void put(struct link *l, const struct node_publish *publish, uint64_t now_ms)
{
    uint8_t *body;
    uint64_t seq;
    const size_t len = node_publish_encode(NULL, publish);
    if (link_put(l, NODE_FRAME_PUBLISH, true, len, &body, &seq, now_ms) != LINK_OK) {
        abort();
    }
    node_publish_encode(body, publish);
}

static void bench_link(void)
{
    static const uint8_t payload[PAYLOAD];
    const struct node_publish publish = {.op = 1,
                                         .qos = 1,
                                         .expiry_ms = NODE_NO_EXPIRY,
                                         .topic = bytes_text("site/7/line/3/sensor/12/value"),
                                         .payload = bytes_of(payload, PAYLOAD)};
    struct link *const a = link_of(1), *const b = link_of(2);
    connect(a, b);
    const uint64_t begin = timing_now_ns();
    for (uint64_t batch = 0; batch < BATCHES; batch++) {
        for (unsigned i = 0; i < FRAMES; i++) {
            put(a, &publish, batch);
        }
        pass(a, b, batch);
        pass(b, a, batch);
    }
    const double ns = (double)(timing_now_ns() - begin) / ((double)BATCHES * FRAMES);
    assert(delivered == (uint64_t)BATCHES * FRAMES);
    printf("a message of %u bytes, both nodes together: %.0f ns\n", PAYLOAD, ns);
    link_down(a, 1, NODE_CLOSE_BROKEN, BATCHES);
    link_down(b, 1, NODE_CLOSE_BROKEN, BATCHES);
    link_destroy(a);
    link_destroy(b);
}

/* ---- Interest */

static bool on_set(void *context, unsigned peer, const struct node_interest_item *item)
{
    (void)context;
    (void)peer;
    (void)item;
    return true;
}

static void on_removed(void *context, unsigned peer, const struct node_interest_item *item)
{
    (void)context;
    (void)peer;
    (void)item;
}

static void on_settle(void *context, unsigned peer, uint32_t epoch, uint64_t version)
{
    struct interest **const self = context;
    interest_settled(*self, peer, epoch, version);
}

static void on_reached(void *context, uint64_t token, uint32_t without)
{
    (void)context;
    (void)token;
    (void)without;
}

static void interest_begin(struct interest **i)
{
    struct interest_conf conf = interest_conf_defaults();
    conf.generation = 1;
    conf.events = (struct interest_events){.set = on_set,
                                           .removed = on_removed,
                                           .settle = on_settle,
                                           .reached = on_reached,
                                           .context = i};
    *i = interest_create(&conf);
    assert(*i != NULL);
    interest_peer_live(*i, 0, true, 0);
}

static double resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *const f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &size, &resident) != 2) {
        abort();
    }
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static uint64_t longest_ns, sent_bytes;

static void note(uint64_t since_ns)
{
    const uint64_t ns = timing_now_ns() - since_ns;
    longest_ns = ns > longest_ns ? ns : longest_ns;
}

/* All that one has to say to the other, now. */
static bool carry(struct interest *from, struct interest *to, uint64_t now_ms)
{
    struct node_frame frame = {0};
    bool any = false;
    for (;;) {
        uint64_t begin = timing_now_ns();
        if (!interest_next(from, 0, 1u << 20, now_ms, &frame.type, &frame.body)) {
            return any;
        }
        note(begin);
        any = true;
        sent_bytes += frame.body.len;
        begin = timing_now_ns();
        if (interest_received(to, 0, &frame, now_ms) != INTEREST_OK) {
            abort();
        }
        note(begin);
    }
}

static void converge(struct interest *a, struct interest *b, uint64_t now_ms)
{
    for (bool any = true; any || interest_next_ms(b) == 0;) {
        const uint64_t begin = timing_now_ns();
        interest_turn(b, now_ms);
        note(begin);
        any = carry(a, b, now_ms);
        any = carry(b, a, now_ms) || any;
    }
}

static void bench_interest(unsigned filters)
{
    struct interest *a, *b;
    char text[40];
    uint64_t version;
    interest_begin(&a);
    interest_begin(&b);

    double before = resident_bytes();
    uint64_t begin = timing_now_ns();
    for (unsigned i = 0; i < filters; i++) {
        const int len = snprintf(text, sizeof text, "site/%07u/sensor/%04u/value", i, i % 1000);
        const uint64_t step = timing_now_ns();
        if (interest_take(a, NODE_INTEREST_FILTER, bytes_of(text, (size_t)len), 0, &version) !=
            INTEREST_OK) {
            abort();
        }
        note(step);
    }
    printf("this node's own, %u filters of %zu characters: %.0f bytes each, %.0f ns, longest step "
           "%.2f ms\n",
           filters, strlen(text), (resident_bytes() - before) / filters,
           (double)(timing_now_ns() - begin) / filters, (double)longest_ns / 1e6);

    before = resident_bytes();
    longest_ns = 0;
    begin = timing_now_ns();
    interest_peer_up(a, 0, 0);
    interest_peer_up(b, 0, 0);
    converge(a, b, 0);
    printf("another node's, by a snapshot: %.0f bytes each, %.1f MB sent, %.0f ns a filter (both "
           "nodes), longest step %.2f ms\n",
           (resident_bytes() - before) / filters, (double)sent_bytes / 1e6,
           (double)(timing_now_ns() - begin) / filters, (double)longest_ns / 1e6);
    assert(interest_peer_figures(b, 0).items == filters);
    assert(interest_peer_figures(b, 0).digest.sum == interest_figures(a).own_digest.sum);
    assert(interest_is_reached(a, version));
    interest_destroy(a);
    interest_destroy(b);
}

/* ---- Claims: clients of one node, which are owned by another, and then by none but itself */

static uint64_t attached;

static void on_attached(void *context, uint64_t hash, uint64_t serial,
                        const struct claims_grant *grant)
{
    (void)context;
    (void)hash;
    (void)serial;
    (void)grant;
    attached++;
}

static struct claims *claims_of(uint8_t node)
{
    struct claims_conf conf = claims_conf_defaults();
    struct node_uuid peer;
    memset(conf.cluster.bytes, 9, UUID_BYTES);
    memset(conf.self.bytes, node, UUID_BYTES);
    memset(peer.bytes, 3 - node, UUID_BYTES);
    conf.generation = 1;
    conf.asks_max = SIZE_MAX;
    conf.holds_max = SIZE_MAX;
    conf.events.attached = on_attached; /* nobody is kicked, or has a will */
    struct claims *const c = claims_create(&conf);
    assert(c != NULL);
    claims_peer_begin(c, 0, peer, 0);
    claims_peer_live(c, 0, true, 0);
    claims_peer_up(c, 0, 1, 0);
    return c;
}

static bool claims_pass(struct claims *from, struct claims *to, uint64_t now_ms)
{
    struct node_frame frame = {.lane = 0};
    if (!claims_next(from, 0, CLAIMS_BODY_MAX, now_ms, &frame.type, &frame.body)) {
        return false;
    }
    const enum claims_err err = claims_received(to, 0, &frame, now_ms);
    assert(err == CLAIMS_OK);
    return true;
}

static void claims_settle(struct claims *a, struct claims *b, uint64_t now_ms)
{
    do {
        claims_turn(a, now_ms);
        claims_turn(b, now_ms);
    } while (claims_pass(a, b, now_ms) || claims_pass(b, a, now_ms) ||
             claims_next_ms(a) <= now_ms || claims_next_ms(b) <= now_ms);
}

static void bench_claims(unsigned clients)
{
    struct claims *const a = claims_of(1), *const b = claims_of(2);
    struct cluster_uuid cluster;
    char text[24];
    memset(cluster.bytes, 9, UUID_BYTES);
    claims_settle(a, b, 0);
    const double before = resident_bytes();
    uint64_t begin = timing_now_ns();
    for (unsigned i = 0; i < clients; i++) {
        snprintf(text, sizeof text, "device-%013u", i);
        const struct bytes id = bytes_text(text);
        const struct claims_attach attach = {
            .hash = claims_hash(cluster, id), .serial = i + 1, .id = id};
        const enum claims_err err = claims_attach(a, &attach, 0);
        assert(err == CLAIMS_OK);
        if (i % FRAMES == 0) {
            claims_settle(a, b, 0);
        }
    }
    claims_settle(a, b, 0);
    claims_turn(a, 10000);
    for (unsigned i = 0; claims_next_ms(a) <= 10000 && i < clients; i++) {
        claims_turn(a, 10000); /* those that were answered are not waited for any more */
    }
    assert(attached == clients);
    const struct claims_figures here = claims_figures(a), there = claims_figures(b);
    printf("%u clients of one node of two, ids of %zu bytes: %.0f ns each for both nodes together, "
           "%.0f bytes resident for a client and its record\n",
           clients, strlen(text), (double)(timing_now_ns() - begin) / clients,
           (resident_bytes() - before) / clients);
    printf("  as asked of the allocator: %.0f for both; the node owns %llu of them itself\n",
           (double)(here.bytes + there.bytes) / clients, (unsigned long long)here.records);

    begin = timing_now_ns();
    claims_peer_down(a, 0, 20000);
    claims_peer_live(a, 0, false, 20000);
    while (claims_next_ms(a) <= 20000) {
        claims_turn(a, 20000);
    }
    printf("  the other one dies: %.1f ms until the node has told itself all %llu that were owned "
           "there\n",
           (double)(timing_now_ns() - begin) / 1e6, (unsigned long long)there.records);
    claims_destroy(a);
    claims_destroy(b);
}

int main(int argc, char **argv)
{
    const unsigned long filters = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    if (filters == 0 || filters > 100000000) {
        fprintf(stderr, "usage: bench_cluster [FILTERS]\n");
        return 1;
    }
    bench_link();
    bench_interest((unsigned)filters);
    bench_claims((unsigned)filters);
    return 0;
}
