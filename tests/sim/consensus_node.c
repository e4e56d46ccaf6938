/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/consensus_node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/little_endian.h"

#define RECORDS_FILE   1u
#define HEAD_BYTES     16u /* of a record in the file: u32 length, u32 0, u64 sum */
#define SENT_BYTES     16u /* of a datagram: u64 who, u64 sum */
#define RECORD_MAX     (1u << 20)
#define SYNC_EVERY_MS  40u
#define SNAPSHOT_BYTES 16u /* u64 index, u64 sum */

struct consensus_rules consensus_rules;

/* libraft (0.15) loses 16 bytes when it is closed while it takes another server's snapshot. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier) */
{
    return "leak:libraft.so";
}

static uint64_t now(const struct consensus_node *n)
{
    return sim_now_ms(n->node);
}

static bool is_up(const struct consensus_node *n)
{
    return n->consensus != NULL && !n->broken && !consensus_has_failed(n->consensus);
}

struct consensus_node *consensus_node_at(struct sim *sim, unsigned index)
{
    struct consensus_node *const n = sim_running(sim_node(sim, index));
    return n != NULL && is_up(n) ? n : NULL;
}

/* ---- What a server asks for */

static void on_write(void *context, struct bytes record)
{
    struct consensus_node *const n = context;
    uint8_t *const out = malloc(HEAD_BYTES + record.len);
    assert(out != NULL);
    n->disk_sum = XXH3_64bits_withSeed(record.at, record.len, n->disk_sum);
    put_u32(out, (uint32_t)record.len);
    put_u32(out + 4, 0);
    put_u64(out + 8, n->disk_sum);
    memcpy(out + HEAD_BYTES, record.at, record.len);
    sim_disk_write(n->node, RECORDS_FILE, n->disk_at, bytes_of(out, HEAD_BYTES + record.len));
    n->disk_at += HEAD_BYTES + record.len;
    free(out);
}

static void on_send(void *context, uint64_t to, struct bytes message)
{
    struct consensus_node *const n = context;
    uint8_t *const out = malloc(SENT_BYTES + message.len);
    assert(out != NULL);
    assert(to >= 1 && to <= sim_nodes(sim_of(n->node)));
    struct node_consensus said;
    if (node_consensus_decode(&said, message) == NODE_OK) {
        consensus_rules.sent(n, to, &said);
    }
    const struct node_address address = sim_address(sim_node(sim_of(n->node), (unsigned)to - 1));
    put_u64(out, n->id);
    put_u64(out + 8, XXH3_64bits_withSeed(message.at, message.len, n->id));
    memcpy(out + SENT_BYTES, message.at, message.len);
    sim_send(n->node, &address, bytes_of(out, SENT_BYTES + message.len));
    free(out);
}

static void on_apply(void *context, uint64_t index, struct bytes entry)
{
    struct consensus_node *const n = context;
    if (index <= n->applied) {
        sim_fail(sim_of(n->node), "node %u applies %llu behind %llu", sim_index(n->node),
                 (unsigned long long)index, (unsigned long long)n->applied);
    }
    n->applied = index;
    n->sum = XXH3_64bits_withSeed(entry.at, entry.len, n->sum);
    consensus_rules.applied(n, index, entry);
}

static bool on_snapshot(void *context, struct bytes *data)
{
    struct consensus_node *const n = context;
    if (sim_random(n->node) % 4 == 0) {
        return false;
    }
    uint8_t *const out = malloc(SNAPSHOT_BYTES);
    assert(out != NULL);
    put_u64(out, n->applied);
    put_u64(out + sizeof(uint64_t), n->sum);
    *data = bytes_of(out, SNAPSHOT_BYTES);
    return true;
}

static bool on_restore(void *context, struct bytes data)
{
    struct consensus_node *const n = context;
    if (data.len != SNAPSHOT_BYTES) {
        sim_fail(sim_of(n->node), "a snapshot that nobody made");
        return false;
    }
    n->applied = get_u64(data.at);
    n->sum = get_u64(data.at + sizeof(uint64_t));
    consensus_rules.restored(n);
    return true;
}

static void on_proposed(void *context, uint64_t ticket, enum consensus_end end)
{
    consensus_rules.proposed(context, ticket, end);
}

/* ---- The start */

/* What was written up to what the crash has left. */
static void read_records(struct consensus_node *n)
{
    uint8_t head[HEAD_BYTES];
    uint8_t *const record = malloc(RECORD_MAX);
    assert(record != NULL);
    while (sim_disk_read(n->node, RECORDS_FILE, n->disk_at, head, HEAD_BYTES) == HEAD_BYTES) {
        const uint32_t len = get_u32(head);
        if (len == 0 || len > RECORD_MAX ||
            sim_disk_read(n->node, RECORDS_FILE, n->disk_at + HEAD_BYTES, record, len) != len ||
            XXH3_64bits_withSeed(record, len, n->disk_sum) != get_u64(head + 8)) {
            break;
        }
        if (consensus_recover(n->consensus, bytes_of(record, len)) != CONSENSUS_OK) {
            sim_fail(sim_of(n->node), "node %u does not understand its records",
                     sim_index(n->node));
            break;
        }
        n->disk_sum = get_u64(head + 8);
        n->disk_at += HEAD_BYTES + len;
    }
    sim_disk_truncate(n->node, RECORDS_FILE, n->disk_at);
    free(record);
}

static void begin(struct consensus_node *n)
{
    uint8_t servers[CONSENSUS_NODES_MAX * NODE_SERVER_BYTES];
    size_t len = 0;
    for (unsigned i = 0; i < sim_nodes(sim_of(n->node)); i++) {
        const struct node_server server = {.id = i + 1, .role = 1};
        len += node_server_encode(servers + len, &server);
    }
    if (consensus_bootstrap(n->consensus, bytes_of(servers, len)) != CONSENSUS_OK) {
        sim_fail(sim_of(n->node), "node %u does not begin", sim_index(n->node));
    }
}

static void *on_create(struct sim_node *node)
{
    struct consensus_node *const n = calloc(1, sizeof *n);
    assert(n != NULL);
    n->node = node;
    n->id = sim_index(node) + 1;
    if (!consensus_rules.is_member(n)) {
        return n;
    }
    struct consensus_conf conf = consensus_conf_defaults();
    conf.group = 7;
    conf.self = n->id;
    conf.seed = sim_random(node);
    conf.snapshot_every = 40;
    conf.trailing_max = 1 + (unsigned)(sim_random(node) % 20);
    conf.install_ms = 3000;
    conf.message_bytes_max = 2000;
    conf.waiting_bytes_max = 20000;
    conf.proposals_bytes_max = 4000;
    conf.events = (struct consensus_events){.write = on_write,
                                            .send = on_send,
                                            .apply = on_apply,
                                            .snapshot = on_snapshot,
                                            .restore = on_restore,
                                            .proposed = on_proposed,
                                            .context = n};
    n->consensus = consensus_create(&conf);
    assert(n->consensus != NULL);
    read_records(n);
    if (n->disk_at == 0) {
        begin(n);
    }
    if (consensus_start(n->consensus, now(n)) != CONSENSUS_OK) {
        sim_fail(sim_of(node), "node %u does not start", sim_index(node));
    }
    consensus_node_go_on(n);
    return n;
}

static void on_destroy(void *self)
{
    struct consensus_node *const n = self;
    consensus_destroy(n->consensus);
    free(n);
}

/* ---- What happens */

/* As a shard that gathers what others write too: what is not there yet when a node dies is what
 * matters. */
static void sync_some(struct consensus_node *n)
{
    if (n->operation != 0 || consensus_written(n->consensus) == n->synced) {
        return;
    }
    if (n->sync_ms == 0) {
        n->sync_ms = now(n) + 1 + sim_random(n->node) % SYNC_EVERY_MS;
    } else if (n->sync_ms <= now(n)) {
        n->sync_ms = 0;
        n->syncing = consensus_written(n->consensus);
        n->operation = sim_disk_sync(n->node, RECORDS_FILE);
    }
}

void consensus_node_go_on(struct consensus_node *n)
{
    if (!is_up(n)) {
        sim_set_timer(n->node, UINT64_MAX);
        return;
    }
    sync_some(n);
    const uint64_t next = consensus_next_ms(n->consensus);
    sim_set_timer(n->node, n->sync_ms != 0 && n->sync_ms < next ? n->sync_ms : next);
}

static void on_timer(void *self)
{
    struct consensus_node *const n = self;
    if (is_up(n)) {
        consensus_turn(n->consensus, now(n));
    }
    consensus_node_go_on(n);
}

static void on_datagram(void *self, const struct node_address *from, struct bytes bytes)
{
    struct consensus_node *const n = self;
    struct node_consensus message;
    (void)from;
    if (!is_up(n) || bytes.len < SENT_BYTES) {
        return;
    }
    const uint64_t who = get_u64(bytes.at);
    const struct bytes body = bytes_of(bytes.at + SENT_BYTES, bytes.len - SENT_BYTES);
    if (XXH3_64bits_withSeed(body.at, body.len, who) != get_u64(bytes.at + 8)) {
        return; /* a bit was flipped: links between nodes see that */
    }
    if (node_consensus_decode(&message, body) != NODE_OK || message.group != 7) {
        sim_fail(sim_of(n->node), "node %u does not understand %llu", sim_index(n->node),
                 (unsigned long long)who);
        return;
    }
    if (consensus_received(n->consensus, who, &message, now(n)) != CONSENSUS_OK) {
        sim_note(n->node, "the group has failed");
    }
    consensus_node_go_on(n);
}

static void on_disk_done(void *self, uint64_t operation, int error)
{
    struct consensus_node *const n = self;
    if (!is_up(n) || operation != n->operation) {
        return;
    }
    n->operation = 0;
    if (error != 0) {
        n->broken = true; /* the kernel may have thrown away what it did not write */
        sim_note(n->node, "its disk has failed");
    } else {
        n->synced = n->syncing;
        consensus_durable(n->consensus, n->synced, now(n));
    }
    consensus_node_go_on(n);
}

const struct sim_module consensus_module = {
    .name = "consensus",
    .create = on_create,
    .destroy = on_destroy,
    .timer = on_timer,
    .datagram = on_datagram,
    .disk_done = on_disk_done,
};
