/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/meta_node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/little_endian.h"

#define FORM_FILE      1u
#define META_FILE      2u
#define HEAD_BYTES     16u /* of a record in a file: u32 length, u32 0, u64 sum */
#define RECORD_MAX     (1u << 20)
#define SYNC_EVERY_MS  40u
#define HELLO_EVERY_MS 500u
#define DEAD_MS        3000u
#define DECIDE_MS      200u
#define REPORT_MS      300u

/* Of a datagram: u8 kind, UUID, cluster, u32 number, u32 index, u64 sum of all that */
#define SENT_BYTES (1 + 2 * UUID_BYTES + 4 + 4 + 8)

enum kind {
    KIND_HELLO = 1,
    KIND_FORM = 2,
    KIND_CONSENSUS = 3,
    KIND_REPORT = 4,
};

struct meta_rules meta_rules;

const struct meta_limits meta_node_limits = {.join_ms = 1000,
                                             .stable_ms = 5000,
                                             .dead_ms = 8000,
                                             .remove_after_ms = 0,
                                             .moves_max = 16,
                                             .voters_max = 5};

static uint64_t now(const struct meta_node *n)
{
    return sim_now_ms(n->node);
}

static bool is_up(const struct meta_node *n)
{
    return !n->broken && (n->consensus == NULL || !consensus_has_failed(n->consensus));
}

struct meta_node *meta_node_at(struct sim *sim, unsigned index)
{
    struct meta_node *const n = sim_running(sim_node(sim, index));
    return n != NULL && is_up(n) && !sim_is_paused(sim_node(sim, index)) ? n : NULL;
}

static uint32_t number_of(const struct meta_node *n)
{
    return formation_phase(n->formation) == FORMATION_FORMED ? formation_number(n->formation) : 0;
}

static struct cluster_uuid cluster_of(const struct meta_node *n)
{
    return formation_phase(n->formation) == FORMATION_FORMED ? formation_cluster(n->formation)
                                                             : (struct cluster_uuid){{0}};
}

bool meta_node_is_member(const struct meta_node *n)
{
    return n->consensus != NULL && meta_member_by_uuid(&n->state, n->uuid) != NULL;
}

/* ---- Files */

static void run_write(struct meta_node *n, struct meta_run *r, struct bytes record)
{
    uint8_t *const out = malloc(HEAD_BYTES + record.len);
    assert(out != NULL);
    r->sum = XXH3_64bits_withSeed(record.at, record.len, r->sum);
    put_u32(out, (uint32_t)record.len);
    put_u32(out + 4, 0);
    put_u64(out + 8, r->sum);
    memcpy(out + HEAD_BYTES, record.at, record.len);
    sim_disk_write(n->node, r->file, r->at, bytes_of(out, HEAD_BYTES + record.len));
    r->at += HEAD_BYTES + record.len;
    r->written++;
    free(out);
}

/* What was written up to what the crash has left. */
static void run_read(struct meta_node *n, struct meta_run *r,
                     bool (*take)(struct meta_node *n, struct bytes record))
{
    uint8_t head[HEAD_BYTES];
    uint8_t *const record = malloc(RECORD_MAX);
    assert(record != NULL);
    while (sim_disk_read(n->node, r->file, r->at, head, HEAD_BYTES) == HEAD_BYTES) {
        const uint32_t len = get_u32(head);
        if (len == 0 || len > RECORD_MAX ||
            sim_disk_read(n->node, r->file, r->at + HEAD_BYTES, record, len) != len ||
            XXH3_64bits_withSeed(record, len, r->sum) != get_u64(head + 8)) {
            break;
        }
        if (!take(n, bytes_of(record, len))) {
            sim_fail(sim_of(n->node), "node %u does not understand its records",
                     sim_index(n->node));
            break;
        }
        r->sum = get_u64(head + 8);
        r->at += HEAD_BYTES + len;
    }
    sim_disk_truncate(n->node, r->file, r->at);
    free(record);
}

/* As a shard that gathers what others write, too. */
static void run_sync(struct meta_node *n, struct meta_run *r)
{
    if (r->operation != 0 || r->written == r->synced) {
        return;
    }
    if (r->sync_ms == 0) {
        r->sync_ms = now(n) + 1 + sim_random(n->node) % SYNC_EVERY_MS;
    } else if (r->sync_ms <= now(n)) {
        r->sync_ms = 0;
        r->syncing = r->written;
        r->operation = sim_disk_sync(n->node, r->file);
    }
}

/* ---- Datagrams */

static void send_to(struct meta_node *n, unsigned index, enum kind kind, struct bytes body)
{
    uint8_t *const out = malloc(SENT_BYTES + body.len);
    const struct cluster_uuid cluster = cluster_of(n);
    const struct node_address to = sim_address(sim_node(sim_of(n->node), index));
    const size_t sum_at = SENT_BYTES - 8;
    assert(out != NULL);
    out[0] = (uint8_t)kind;
    memcpy(out + 1, n->uuid.bytes, UUID_BYTES);
    memcpy(out + 1 + UUID_BYTES, cluster.bytes, UUID_BYTES);
    put_u32(out + 1 + 2 * UUID_BYTES, number_of(n));
    put_u32(out + 5 + 2 * UUID_BYTES, sim_index(n->node));
    if (body.len > 0) {
        memcpy(out + SENT_BYTES, body.at, body.len);
    }
    put_u64(out + sum_at,
            XXH3_64bits_withSeed(out + SENT_BYTES, body.len, XXH3_64bits(out, sum_at)));
    sim_send(n->node, &to, bytes_of(out, SENT_BYTES + body.len));
    free(out);
}

static struct meta_heard *heard_of(struct meta_node *n, struct node_uuid uuid)
{
    for (unsigned i = 0; i < n->heard_count; i++) {
        if (node_uuid_equal(n->heard[i].uuid, uuid)) {
            return &n->heard[i];
        }
    }
    return NULL;
}

static struct meta_heard *heard_number(struct meta_node *n, uint32_t number)
{
    const struct cluster_uuid cluster = cluster_of(n);
    for (unsigned i = 0; i < n->heard_count; i++) {
        if (n->heard[i].number == number && cluster_uuid_equal(n->heard[i].cluster, cluster)) {
            return &n->heard[i];
        }
    }
    return NULL;
}

static void hear(struct meta_node *n, struct node_uuid uuid, struct cluster_uuid cluster,
                 uint32_t number, unsigned index)
{
    struct meta_heard *h = heard_of(n, uuid);
    if (h == NULL) {
        assert(n->heard_count < META_SEEN_MAX);
        h = &n->heard[n->heard_count++];
        h->uuid = uuid;
        h->first_ms = now(n);
        (void)snprintf(h->name, sizeof h->name, "n%u", index);
        (void)snprintf(h->zone, sizeof h->zone, "z%u", index % META_ZONES);
    } else if (now(n) > h->last_ms + DEAD_MS) {
        h->first_ms = now(n);
    }
    h->last_ms = now(n);
    h->index = index;
    if (number != 0) { /* a late word of it may be of before */
        h->cluster = cluster;
        h->number = number;
    }
}

static struct node_meta_node described(const struct meta_heard *h)
{
    return (struct node_meta_node){
        .uuid = h->uuid, .features = 1, .name = bytes_text(h->name), .zone = bytes_text(h->zone)};
}

/* ---- What formation and META's group ask for */

static void on_form_write(void *context, struct bytes record)
{
    struct meta_node *const n = context;
    run_write(n, &n->form_run, record);
}

static void on_form_send(void *context, struct node_uuid to, struct bytes message)
{
    struct meta_node *const n = context;
    const struct meta_heard *const h = heard_of(n, to);
    if (h != NULL) {
        send_to(n, h->index, KIND_FORM, message);
    }
}

static void on_write(void *context, struct bytes record)
{
    struct meta_node *const n = context;
    run_write(n, &n->meta_run, record);
}

static void on_send(void *context, uint64_t to, struct bytes message)
{
    struct meta_node *const n = context;
    const struct meta_heard *const h = heard_number(n, (uint32_t)to);
    if (h != NULL) {
        send_to(n, h->index, KIND_CONSENSUS, message);
    }
}

static void on_apply(void *context, uint64_t index, struct bytes entry)
{
    struct meta_node *const n = context;
    struct node_meta_command command = {.kind = 0};
    static struct meta_state before;
    before = n->state;
    if (index <= n->applied) {
        sim_fail(sim_of(n->node), "node %u applies %llu behind %llu", sim_index(n->node),
                 (unsigned long long)index, (unsigned long long)n->applied);
    }
    n->applied = index;
    if (node_meta_command_decode(&command, entry) != NODE_OK) {
        sim_fail(sim_of(n->node), "node %u applies what nobody has proposed", sim_index(n->node));
    }
    const enum meta_outcome outcome = meta_apply(&n->state, entry, index);
    meta_rules.applied(n, index, &command, outcome, &before);
}

static bool on_snapshot(void *context, struct bytes *data)
{
    struct meta_node *const n = context;
    const size_t len = sizeof n->applied + meta_encode(&n->state, NULL);
    if (sim_random(n->node) % 4 == 0) {
        return false;
    }
    uint8_t *const out = malloc(len);
    assert(out != NULL);
    put_u64(out, n->applied);
    (void)meta_encode(&n->state, out + sizeof n->applied);
    *data = bytes_of(out, len);
    return true;
}

static bool on_restore(void *context, struct bytes data)
{
    struct meta_node *const n = context;
    if (data.len < sizeof n->applied ||
        !meta_decode(&n->state,
                     bytes_of(data.at + sizeof n->applied, data.len - sizeof n->applied))) {
        sim_fail(sim_of(n->node), "a snapshot that nobody made");
        return false;
    }
    n->applied = get_u64(data.at);
    meta_rules.restored(n);
    return true;
}

static void on_proposed(void *context, uint64_t ticket, enum consensus_end end)
{
    struct meta_node *const n = context;
    (void)ticket;
    (void)end;
    n->proposed--;
}

/* ---- The start */

static bool take_form(struct meta_node *n, struct bytes record)
{
    return formation_recover(n->formation, record);
}

static bool take_meta(struct meta_node *n, struct bytes record)
{
    return consensus_recover(n->consensus, record) == CONSENSUS_OK;
}

static void begin_formation(struct meta_node *n)
{
    struct formation_conf conf = formation_conf_defaults();
    const uint64_t random[2] = {sim_random(n->node), sim_random(n->node)};
    conf.self = n->uuid;
    memcpy(conf.random, random, sizeof conf.random);
    conf.initial_size = meta_rules.initial_size(sim_of(n->node));
    conf.patience_ms = 5000;
    conf.events = (struct formation_events){on_form_write, on_form_send, n};
    n->formation = formation_create(&conf);
    assert(n->formation != NULL);
    run_read(n, &n->form_run, take_form);
}

static struct consensus_conf group_conf(struct meta_node *n)
{
    struct consensus_conf conf = consensus_conf_defaults();
    conf.group = 7;
    conf.self = formation_number(n->formation);
    conf.seed = sim_random(n->node);
    conf.snapshot_every = 40;
    conf.trailing_max = 1 + (unsigned)(sim_random(n->node) % 20);
    conf.install_ms = 3000;
    conf.message_bytes_max = 8000;
    conf.waiting_bytes_max = 400000;
    conf.proposals_bytes_max = 20000;
    conf.events = (struct consensus_events){.write = on_write,
                                            .send = on_send,
                                            .apply = on_apply,
                                            .snapshot = on_snapshot,
                                            .restore = on_restore,
                                            .proposed = on_proposed,
                                            .context = n};
    return conf;
}

/* It is a member: of the first, who begin the group, or one that is added to it. */
static void begin_group(struct meta_node *n)
{
    uint8_t servers[NODE_META_FORM_MAX * NODE_SERVER_BYTES];
    const struct consensus_conf conf = group_conf(n);
    const struct bytes members = formation_members(n->formation);
    meta_rules.formed(n);
    n->consensus = consensus_create(&conf);
    assert(n->consensus != NULL);
    run_read(n, &n->meta_run, take_meta);
    if (n->meta_run.at == 0 && members.len > 0 &&
        consensus_bootstrap(
            n->consensus,
            bytes_of(servers, meta_first_servers(servers, members, meta_node_limits.voters_max))) !=
            CONSENSUS_OK) {
        sim_fail(sim_of(n->node), "node %u does not begin", sim_index(n->node));
    }
    if (consensus_start(n->consensus, now(n)) != CONSENSUS_OK) {
        sim_fail(sim_of(n->node), "node %u does not start", sim_index(n->node));
    }
}

static void *on_create(struct sim_node *node)
{
    struct meta_node *const n = calloc(1, sizeof *n);
    assert(n != NULL);
    n->node = node;
    n->uuid = sim_identity(node)->node;
    n->form_run.file = FORM_FILE;
    n->meta_run.file = META_FILE;
    meta_init(&n->state);
    begin_formation(n);
    meta_node_go_on(n);
    return n;
}

static void on_destroy(void *self)
{
    struct meta_node *const n = self;
    consensus_destroy(n->consensus);
    formation_destroy(n->formation);
    free(n);
}

/* ---- What a node does by itself */

static void say_hello(struct meta_node *n)
{
    const unsigned nodes = sim_nodes(sim_of(n->node));
    n->hello_ms = now(n) + HELLO_EVERY_MS;
    for (unsigned i = 0; i < nodes; i++) {
        if (i != sim_index(n->node)) {
            send_to(n, i, KIND_HELLO, bytes_of(NULL, 0));
        }
    }
    hear(n, n->uuid, cluster_of(n), number_of(n), sim_index(n->node));
}

static void form_on(struct meta_node *n)
{
    struct formation_seen seen[META_SEEN_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < n->heard_count; i++) {
        const struct meta_heard *const h = &n->heard[i];
        if (now(n) <= h->last_ms + DEAD_MS) {
            seen[count++] = (struct formation_seen){described(h), h->cluster};
        }
    }
    formation_turn(n->formation, seen, count, now(n));
}

bool meta_node_propose(struct meta_node *n, const struct node_meta_command *command)
{
    const size_t len = node_meta_command_encode(NULL, command);
    uint8_t *const out = malloc(len);
    assert(out != NULL);
    (void)node_meta_command_encode(out, command);
    n->proposed++;
    const bool is_taken =
        consensus_propose(n->consensus, bytes_of(out, len), 1, now(n)) == CONSENSUS_OK;
    n->proposed -= !is_taken;
    free(out);
    return is_taken;
}

/* Those that META has made members, and who may not know yet. */
static void welcome(struct meta_node *n)
{
    uint8_t out[NODE_META_HEAD_MAX];
    for (unsigned i = 0; i < n->heard_count; i++) {
        const struct meta_heard *const h = &n->heard[i];
        const struct meta_member *const m = meta_member_by_uuid(&n->state, h->uuid);
        if (m != NULL && cluster_uuid_is_none(h->cluster)) {
            send_to(n, h->index, KIND_FORM,
                    bytes_of(out, formation_welcome(out, n->state.cluster, m->number)));
        }
    }
}

static void act_on(struct meta_node *n, const struct meta_decision *d)
{
    for (unsigned i = 0; i < d->count && n->proposed < META_DECIDED_MAX; i++) {
        if (!meta_node_propose(n, &d->commands[i])) {
            return;
        }
    }
    if (d->change != 0 &&
        consensus_change(n->consensus, d->change, d->role, now(n)) != CONSENSUS_OK) {
        sim_note(n->node, "the role of %u is not changed now", d->change);
    }
    if (d->lead != 0 && consensus_transfer(n->consensus, d->lead, now(n)) != CONSENSUS_OK) {
        sim_note(n->node, "%u does not lead now", d->lead);
    }
}

static void decide(struct meta_node *n)
{
    static struct meta_decision decision;
    struct meta_seen seen[META_SEEN_MAX];
    uint8_t servers[META_MEMBERS_MAX * 2 * NODE_SERVER_BYTES];
    struct meta_view view = {.now_ms = now(n), .self = number_of(n), .seen = seen};
    const struct node_meta_command form = {.kind = NODE_META_FORM,
                                           .value = 3,
                                           .cluster = formation_cluster(n->formation),
                                           .items = formation_members(n->formation)};
    n->decide_ms = now(n) + DECIDE_MS;
    if (!consensus_leads(n->consensus) || n->proposed > 0) {
        return;
    }
    for (unsigned i = 0; i < n->heard_count; i++) {
        const struct meta_heard *const h = &n->heard[i];
        const bool is_alive = now(n) <= h->last_ms + DEAD_MS;
        seen[view.seen_count++] = (struct meta_seen){described(h), is_alive,
                                                     is_alive ? h->first_ms : h->last_ms + DEAD_MS};
    }
    view.reports = &n->reports;
    view.form = form.items.len > 0 ? &form : NULL;
    view.servers = bytes_of(servers, consensus_servers(n->consensus, servers));
    meta_decide(&decision, &n->state, &view, &meta_node_limits);
    act_on(n, &decision);
    welcome(n);
}

static void report(struct meta_node *n)
{
    uint8_t items[2 * NODE_META_PARTITIONS * NODE_REPORT_BYTES];
    uint8_t body[sizeof items + NODE_META_HEAD_MAX];
    const uint64_t leader = consensus_leader(n->consensus);
    n->report_ms = now(n) + REPORT_MS;
    const struct bytes all = bytes_of(items, meta_rules.report(n, items));
    if (leader == number_of(n)) {
        meta_reports_take(&n->reports, &n->state, number_of(n), all);
    } else if (leader != 0 && all.len > 0) {
        const struct meta_heard *const h = heard_number(n, (uint32_t)leader);
        if (h != NULL) {
            send_to(n, h->index, KIND_REPORT, bytes_of(body, node_reports_encode(body, all)));
        }
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

void meta_node_go_on(struct meta_node *n)
{
    if (!is_up(n)) {
        sim_set_timer(n->node, UINT64_MAX);
        return;
    }
    if (n->consensus == NULL && formation_phase(n->formation) == FORMATION_FORMED) {
        begin_group(n);
    }
    run_sync(n, &n->form_run);
    run_sync(n, &n->meta_run);
    uint64_t next = n->hello_ms;
    next = earlier(next, n->form_run.sync_ms);
    next = earlier(next, n->meta_run.sync_ms);
    if (n->consensus != NULL) {
        next = earlier(next, consensus_next_ms(n->consensus));
        next = earlier(next, n->decide_ms);
        next = earlier(next, n->report_ms);
    }
    sim_set_timer(n->node, next);
}

static void on_timer(void *self)
{
    struct meta_node *const n = self;
    if (!is_up(n)) {
        return;
    }
    if (now(n) >= n->hello_ms) {
        say_hello(n);
        form_on(n);
    }
    if (n->consensus != NULL) {
        consensus_turn(n->consensus, now(n));
        if (now(n) >= n->decide_ms) {
            decide(n);
        }
        if (now(n) >= n->report_ms) {
            report(n);
        }
    }
    meta_node_go_on(n);
}

/* ---- What comes */

static void on_consensus(struct meta_node *n, struct node_uuid from, struct cluster_uuid cluster,
                         uint32_t number, struct bytes body)
{
    struct node_consensus message;
    if (n->consensus == NULL || !cluster_uuid_equal(cluster, cluster_of(n)) ||
        meta_was_removed(&n->state, from)) {
        return;
    }
    const struct meta_member *const m = meta_member_by_uuid(&n->state, from);
    if (m != NULL && m->number != number) {
        sim_fail(sim_of(n->node), "number %u is that of two", number);
        return;
    }
    if (node_consensus_decode(&message, body) != NODE_OK) {
        sim_fail(sim_of(n->node), "node %u does not understand %u", sim_index(n->node), number);
        return;
    }
    if (consensus_received(n->consensus, number, &message, now(n)) != CONSENSUS_OK) {
        sim_note(n->node, "the group has failed");
    }
}

static void on_report(struct meta_node *n, struct cluster_uuid cluster, uint32_t number,
                      struct bytes body)
{
    struct bytes items;
    if (n->consensus != NULL && consensus_leads(n->consensus) &&
        cluster_uuid_equal(cluster, cluster_of(n)) &&
        node_reports_decode(&items, body) == NODE_OK) {
        meta_reports_take(&n->reports, &n->state, number, items);
    }
}

static void on_datagram(void *self, const struct node_address *address, struct bytes bytes)
{
    struct meta_node *const n = self;
    struct node_uuid from;
    struct cluster_uuid cluster;
    (void)address;
    if (!is_up(n) || bytes.len < SENT_BYTES) {
        return;
    }
    const size_t sum_at = SENT_BYTES - 8;
    const struct bytes body = bytes_of(bytes.at + SENT_BYTES, bytes.len - SENT_BYTES);
    if (XXH3_64bits_withSeed(body.at, body.len, XXH3_64bits(bytes.at, sum_at)) !=
        get_u64(bytes.at + sum_at)) {
        return; /* a bit was flipped: links between nodes see that */
    }
    memcpy(from.bytes, bytes.at + 1, UUID_BYTES);
    memcpy(cluster.bytes, bytes.at + 1 + UUID_BYTES, UUID_BYTES);
    const uint32_t number = get_u32(bytes.at + 1 + 2 * UUID_BYTES);
    hear(n, from, cluster, number, get_u32(bytes.at + 5 + 2 * UUID_BYTES));
    switch ((enum kind)bytes.at[0]) {
    case KIND_FORM:
        formation_received(n->formation, from, body, now(n));
        break;
    case KIND_CONSENSUS:
        on_consensus(n, from, cluster, number, body);
        break;
    case KIND_REPORT:
        on_report(n, cluster, number, body);
        break;
    case KIND_HELLO:
        break;
    }
    meta_node_go_on(n);
}

static void on_disk_done(void *self, uint64_t operation, int error)
{
    struct meta_node *const n = self;
    struct meta_run *const r = operation == n->form_run.operation ? &n->form_run : &n->meta_run;
    if (!is_up(n) || operation != r->operation) {
        return;
    }
    r->operation = 0;
    if (error != 0) {
        n->broken = true; /* the kernel may have thrown away what it did not write */
        sim_note(n->node, "its disk has failed");
    } else {
        r->synced = r->syncing;
        if (r == &n->form_run) {
            formation_durable(n->formation, r->synced, now(n));
        } else {
            consensus_durable(n->consensus, r->synced, now(n));
        }
    }
    meta_node_go_on(n);
}

const struct sim_module meta_module = {
    .name = "meta",
    .create = on_create,
    .destroy = on_destroy,
    .timer = on_timer,
    .datagram = on_datagram,
    .disk_done = on_disk_done,
};
