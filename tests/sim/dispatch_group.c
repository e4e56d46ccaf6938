/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/dispatch_group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/little_endian.h"

#define FIRST_FILE    2u
#define HEAD_BYTES    16u /* of a record in the file: u32 length, u32 0, u64 sum */
#define RECORD_MAX    (1u << 20)
#define SYNC_EVERY_MS 30u
#define ENTRY_BYTES   32u
#define SESSION_BYTES 24u
#define STATE_BYTES   (sizeof(uint64_t) + DISPATCH_SESSIONS * SESSION_BYTES)
#define ORIGINS       256u

static uint64_t now(const struct dispatch_group *g)
{
    return sim_now_ms(g->node);
}

static unsigned file_of(const struct dispatch_group *g)
{
    return FIRST_FILE + g->number;
}

bool dispatch_group_is_up(const struct dispatch_group *g)
{
    return g->consensus != NULL && !g->broken && !consensus_has_failed(g->consensus);
}

/* ---- Entries, and what they come to */

static void entry_encode(uint8_t out[ENTRY_BYTES], const struct dispatch_entry *e)
{
    memset(out, 0, ENTRY_BYTES);
    out[0] = e->kind;
    out[1] = e->session;
    out[2] = e->topic;
    put_u64(out + 8, e->origin);
    put_u64(out + 16, e->op);
    put_u64(out + 24, e->number);
}

static struct dispatch_entry entry_decode(struct bytes in)
{
    assert(in.len == ENTRY_BYTES);
    return (struct dispatch_entry){.kind = in.at[0],
                                   .session = in.at[1],
                                   .topic = in.at[2],
                                   .origin = get_u64(in.at + 8),
                                   .op = get_u64(in.at + 16),
                                   .number = get_u64(in.at + 24)};
}

/* The queues that it went into. */
static uint8_t apply_message(struct dispatch_state *s, const struct dispatch_entry *e)
{
    uint8_t into = 0;
    const enum origins_err err = origins_take(s->origins, e->origin, e->op);
    assert(err != ORIGINS_NO_MEMORY);
    if (err == ORIGINS_REPEATED) {
        return 0;
    }
    for (unsigned i = 0; i < DISPATCH_SESSIONS; i++) {
        if ((s->topics[i] >> e->topic & 1) != 0) {
            s->counts[i]++;
            s->sums[i] = XXH3_64bits_withSeed(&e->number, sizeof e->number, s->sums[i]);
            into = (uint8_t)(into | 1u << i);
        }
    }
    return into;
}

static uint8_t apply(struct dispatch_state *s, const struct dispatch_entry *e)
{
    const uint8_t topic = (uint8_t)(1u << e->topic);
    switch (e->kind) {
    case DISPATCH_MESSAGE:
        return apply_message(s, e);
    case DISPATCH_SUBSCRIBE:
        s->topics[e->session] |= topic;
        return 0;
    case DISPATCH_UNSUBSCRIBE:
        s->topics[e->session] &= (uint8_t)~topic;
        return 0;
    default:
        return 0;
    }
}

/* The whole state, by malloc(). */
static struct bytes state_encode(const struct dispatch_state *s)
{
    uint8_t *const out = malloc(STATE_BYTES + origins_encode(s->origins, NULL));
    size_t len = sizeof(uint64_t);
    assert(out != NULL);
    put_u64(out, s->applied);
    for (unsigned i = 0; i < DISPATCH_SESSIONS; i++) {
        put_u64(out + len, s->topics[i]);
        put_u64(out + len + 8, s->counts[i]);
        put_u64(out + len + 16, s->sums[i]);
        len += SESSION_BYTES;
    }
    return bytes_of(out, len + origins_encode(s->origins, out + len));
}

static bool state_decode(struct dispatch_state *s, struct bytes in)
{
    size_t at = sizeof(uint64_t);
    if (in.len < STATE_BYTES ||
        origins_decode(s->origins, bytes_of(in.at + STATE_BYTES, in.len - STATE_BYTES)) !=
            ORIGINS_NEW) {
        return false;
    }
    s->applied = get_u64(in.at);
    for (unsigned i = 0; i < DISPATCH_SESSIONS; i++) {
        s->topics[i] = (uint8_t)get_u64(in.at + at);
        s->counts[i] = get_u64(in.at + at + 8);
        s->sums[i] = get_u64(in.at + at + 16);
        at += SESSION_BYTES;
    }
    return true;
}

uint64_t dispatch_group_hash(const struct dispatch_group *g)
{
    const struct bytes all = state_encode(&g->state);
    const uint64_t hash = XXH3_64bits(all.at, all.len);
    free((void *)(uintptr_t)all.at);
    return hash;
}

/* ---- What the group asks for */

static void on_write(void *context, struct bytes record)
{
    struct dispatch_group *const g = context;
    uint8_t *const out = malloc(HEAD_BYTES + record.len);
    assert(out != NULL);
    g->disk_sum = XXH3_64bits_withSeed(record.at, record.len, g->disk_sum);
    put_u32(out, (uint32_t)record.len);
    put_u32(out + 4, 0);
    put_u64(out + 8, g->disk_sum);
    memcpy(out + HEAD_BYTES, record.at, record.len);
    sim_disk_write(g->node, file_of(g), g->disk_at, bytes_of(out, HEAD_BYTES + record.len));
    g->disk_at += HEAD_BYTES + record.len;
    free(out);
}

static void on_send(void *context, uint64_t to, struct bytes message)
{
    struct dispatch_group *const g = context;
    g->events.send(g->events.context, g->number, to, message);
}

static void on_apply(void *context, uint64_t index, struct bytes bytes)
{
    struct dispatch_group *const g = context;
    const struct dispatch_entry entry = entry_decode(bytes);
    const uint8_t into = apply(&g->state, &entry);
    g->state.applied = index;
    g->events.applied(g->events.context, g->number, index, &entry, into);
}

static bool on_snapshot(void *context, struct bytes *data)
{
    struct dispatch_group *const g = context;
    if (sim_random(g->node) % 4 == 0) {
        return false;
    }
    *data = state_encode(&g->state);
    return true;
}

static bool on_restore(void *context, struct bytes data)
{
    struct dispatch_group *const g = context;
    if (!state_decode(&g->state, data)) {
        sim_fail(sim_of(g->node), "a snapshot that nobody made");
        return false;
    }
    g->events.restored(g->events.context, g->number);
    return true;
}

static void on_proposed(void *context, uint64_t ticket, enum consensus_end end)
{
    struct dispatch_group *const g = context;
    g->events.proposed(g->events.context, g->number, ticket, end);
}

/* ---- The start */

static void read_records(struct dispatch_group *g)
{
    uint8_t head[HEAD_BYTES];
    uint8_t *const record = malloc(RECORD_MAX);
    assert(record != NULL);
    while (sim_disk_read(g->node, file_of(g), g->disk_at, head, HEAD_BYTES) == HEAD_BYTES) {
        const uint32_t len = get_u32(head);
        if (len == 0 || len > RECORD_MAX ||
            sim_disk_read(g->node, file_of(g), g->disk_at + HEAD_BYTES, record, len) != len ||
            XXH3_64bits_withSeed(record, len, g->disk_sum) != get_u64(head + 8)) {
            break;
        }
        if (consensus_recover(g->consensus, bytes_of(record, len)) != CONSENSUS_OK) {
            sim_fail(sim_of(g->node), "node %u does not understand its records",
                     sim_index(g->node));
            break;
        }
        g->disk_sum = get_u64(head + 8);
        g->disk_at += HEAD_BYTES + len;
    }
    sim_disk_truncate(g->node, file_of(g), g->disk_at);
    free(record);
}

static void bootstrap(struct dispatch_group *g, unsigned servers)
{
    uint8_t out[DISPATCH_SERVERS * NODE_SERVER_BYTES];
    size_t len = 0;
    for (unsigned i = 0; i < servers; i++) {
        const struct node_server server = {.id = i + 1, .role = 1};
        len += node_server_encode(out + len, &server);
    }
    if (consensus_bootstrap(g->consensus, bytes_of(out, len)) != CONSENSUS_OK) {
        sim_fail(sim_of(g->node), "node %u does not begin", sim_index(g->node));
    }
}

void dispatch_group_begin(struct dispatch_group *g, struct sim_node *node, unsigned number,
                          unsigned servers, const struct dispatch_group_events *events)
{
    struct consensus_conf conf = consensus_conf_defaults();
    *g = (struct dispatch_group){.node = node, .number = number, .events = *events};
    g->state.origins = origins_create(ORIGINS);
    conf.group = number + 1;
    conf.self = sim_index(node) + 1;
    conf.seed = sim_random(node);
    conf.snapshot_every = 60;
    conf.trailing_max = 1 + (unsigned)(sim_random(node) % 20);
    conf.install_ms = 3000;
    conf.message_bytes_max = 2000;
    conf.proposals_bytes_max = 1000;
    conf.events = (struct consensus_events){.write = on_write,
                                            .send = on_send,
                                            .apply = on_apply,
                                            .snapshot = on_snapshot,
                                            .restore = on_restore,
                                            .proposed = on_proposed,
                                            .context = g};
    g->consensus = consensus_create(&conf);
    assert(g->consensus != NULL && g->state.origins != NULL);
    read_records(g);
    if (g->disk_at == 0) {
        bootstrap(g, servers);
    }
    if (consensus_start(g->consensus, now(g)) != CONSENSUS_OK) {
        sim_fail(sim_of(node), "node %u does not start", sim_index(node));
    }
}

void dispatch_group_end(struct dispatch_group *g)
{
    consensus_destroy(g->consensus);
    origins_destroy(g->state.origins);
}

/* ---- What happens */

bool dispatch_group_propose(struct dispatch_group *g, const struct dispatch_entry *entry,
                            uint64_t ticket)
{
    uint8_t out[ENTRY_BYTES];
    entry_encode(out, entry);
    return dispatch_group_is_up(g) && consensus_propose(g->consensus, bytes_of(out, sizeof out),
                                                        ticket, now(g)) == CONSENSUS_OK;
}

static void sync_some(struct dispatch_group *g)
{
    if (g->operation != 0 || consensus_written(g->consensus) == g->synced) {
        return;
    }
    if (g->sync_ms == 0) {
        g->sync_ms = now(g) + 1 + sim_random(g->node) % SYNC_EVERY_MS;
    } else if (g->sync_ms <= now(g)) {
        g->sync_ms = 0;
        g->syncing = consensus_written(g->consensus);
        g->operation = sim_disk_sync(g->node, file_of(g));
    }
}

void dispatch_group_turn(struct dispatch_group *g)
{
    if (dispatch_group_is_up(g) && consensus_next_ms(g->consensus) <= now(g)) {
        consensus_turn(g->consensus, now(g));
    }
    if (dispatch_group_is_up(g)) {
        sync_some(g);
    }
}

uint64_t dispatch_group_next_ms(const struct dispatch_group *g)
{
    if (!dispatch_group_is_up(g)) {
        return UINT64_MAX;
    }
    const uint64_t next = consensus_next_ms(g->consensus);
    return g->sync_ms != 0 && g->sync_ms < next ? g->sync_ms : next;
}

void dispatch_group_disk_done(struct dispatch_group *g, uint64_t operation, int error)
{
    if (!dispatch_group_is_up(g) || operation != g->operation) {
        return;
    }
    g->operation = 0;
    if (error != 0) {
        g->broken = true;
        sim_note(g->node, "its disk has failed");
        return;
    }
    g->synced = g->syncing;
    consensus_durable(g->consensus, g->synced, now(g));
}
