/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/partitions/partition_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/client_hash.h"
#include "broker/shard/shard.h"
#include "broker/store/records_overlay.h"
#include "broker/store/serial.h"

#define STEP_MS 20u
#define SHARDS  2u
#define TICKET  (UINT64_MAX - 1) /* none of the ledger's */

const unsigned phost_numbers[PHOST_PARTITIONS] = {0, 5, 63};
struct phost phost;

static const char *const settings[] = {"cluster.listen=127.0.0.1:7946", "limits.inflight_max=100",
                                       NULL};

#define MUST(condition, text)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, text);                              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static unsigned node_of(const struct shard *s)
{
    for (unsigned i = 0; i < PHOST_NODES; i++) {
        if (phost.cluster->nodes[i] != NULL && phost.cluster->nodes[i]->node == s->node) {
            return i;
        }
    }
    MUST(false, "a shard of no node");
    return 0;
}

static struct phost_partition *of(const struct shard *s, unsigned number)
{
    unsigned i = 0;
    while (i < PHOST_PARTITIONS && phost_numbers[i] != number) {
        i++;
    }
    MUST(i < PHOST_PARTITIONS, "a partition that is not served");
    return &phost.of[node_of(s)][i];
}

/* ---- hooks */

static void on_lead(struct shard *s, unsigned p, uint64_t term)
{
    struct phost_partition *const at = of(s, p);
    MUST(at->led == 0 && term > 0 && partition_term(s, p) == term, "it leads already");
    at->led = term;
    at->times_led++;
}

static void on_cease(struct shard *s, unsigned p)
{
    struct phost_partition *const at = of(s, p);
    MUST(at->led != 0 && partition_term(s, p) == 0, "it does not lead");
    at->led = 0;
    at->ceased++;
}

static void on_applied(struct shard *s, unsigned p, uint64_t origin, uint64_t op)
{
    of(s, p)->origin = origin;
    of(s, p)->op = op;
}

static void on_sealed(struct shard *s, unsigned p, uint32_t incarnation, uint64_t end)
{
    MUST(incarnation == partition_state(s, p).incarnation, "another incarnation is sealed");
    of(s, p)->sealed = end;
}

static void on_held(struct shard *s, unsigned p, uint32_t incarnation, uint64_t moved)
{
    MUST(incarnation == partition_state(s, p).incarnation, "another incarnation is held");
    of(s, p)->held = moved;
}

static const struct partitions_hooks hooks = {.lead = on_lead,
                                              .cease = on_cease,
                                              .applied = on_applied,
                                              .sealed = on_sealed,
                                              .held = on_held};

/* ---- nodes */

static void on_joined(struct fake_cluster *c, unsigned number)
{
    struct node *const node = c->nodes[number]->node;
    const struct partitions_conf conf = {.checkpoint = phost.disks[number].persistence.checkpoint,
                                         .groups = phost.groups,
                                         .hooks = &hooks,
                                         .by_hand = true};
    phost.cluster = c;
    node->replicas = PHOST_NODES;
    MUST(partitions_create(node, &conf), "no memory");
    struct partition_conf serve = {.incarnation = phost.incarnation,
                                   .servers_count = PHOST_NODES,
                                   .self = 100 + number,
                                   .changed = 7,
                                   .begins = 0};
    for (unsigned i = 0; i < PHOST_NODES; i++) {
        serve.servers[i] = (struct groups_server){.number = 100 + i};
        serve.servers[i].node.bytes[0] = (uint8_t)(i + 1);
    }
    for (unsigned i = 0; i < PHOST_PARTITIONS; i++) {
        struct phost_partition *const p = &phost.of[number][i];
        *p = (struct phost_partition){.said = p->said};
        const struct partition_conf *const said = p->said.incarnation == 0 ? &serve : &p->said;
        MUST(partition_serve(phost_enter(number, i), phost_numbers[i], said) == PARTITION_OK,
             "a partition is not served");
    }
    shard_self = NULL;
}

void phost_begin(void)
{
    static const unsigned shards[PHOST_NODES] = {SHARDS, SHARDS, SHARDS};
    memset(&phost, 0, sizeof phost);
    phost.incarnation = 1;
    phost.groups = groups_conf_defaults();
    phost.groups.consensus.snapshot_every = 32;
    phost.groups.consensus.trailing_max = 8;
    for (unsigned i = 0; i < PHOST_NODES; i++) {
        fake_disk_create(&phost.disks[i]);
    }
    phost.cluster =
        fake_cluster_create_on(PHOST_NODES, shards, settings, NULL, phost.disks, on_joined);
}

void phost_end(void)
{
    fake_cluster_destroy(phost.cluster);
    for (unsigned i = 0; i < PHOST_NODES; i++) {
        fake_disk_check(&phost.disks[i]);
        fake_disk_destroy(&phost.disks[i]);
    }
}

void phost_crash(unsigned node)
{
    fake_cluster_crash(phost.cluster, node, NULL, NULL);
}

void phost_close(unsigned node)
{
    fake_cluster_close(phost.cluster, node);
}

void phost_start(unsigned node)
{
    fake_cluster_start(phost.cluster, node, SHARDS, settings);
}

struct shard *phost_enter(unsigned node, unsigned i)
{
    struct fake_node *const n = phost.cluster->nodes[node];
    return fake_node_enter(n, n->node->partition_shard[phost_numbers[i]]);
}

struct partition_state phost_state(unsigned node, unsigned i)
{
    const struct partition_state state = partition_state(phost_enter(node, i), phost_numbers[i]);
    shard_self = NULL;
    return state;
}

static bool is_there(unsigned node)
{
    return phost.cluster->nodes[node] != NULL;
}

static void add_server(struct partition_conf *conf, unsigned node)
{
    struct groups_server *const to = &conf->servers[conf->servers_count + conf->newcomers_count];
    *to = (struct groups_server){.number = 100 + node};
    to->node.bytes[0] = (uint8_t)(node + 1);
}

void phost_serve(unsigned node, unsigned i, struct partition_conf conf, unsigned servers,
                 unsigned newcomers)
{
    conf.self = 100 + node;
    for (unsigned k = 0; k < PHOST_NODES; k++) {
        if ((servers >> k & 1) != 0) {
            add_server(&conf, k);
            conf.servers_count++;
        }
    }
    for (unsigned k = 0; k < PHOST_NODES; k++) {
        if ((newcomers >> k & 1) != 0) {
            add_server(&conf, k);
            conf.newcomers_count++;
        }
    }
    phost.of[node][i].said = conf;
    if (is_there(node)) {
        MUST(partition_serve(phost_enter(node, i), phost_numbers[i], &conf) == PARTITION_OK,
             "a partition is not served");
        shard_self = NULL;
    }
}

/* ---- running */

unsigned phost_leader_but(unsigned i, unsigned but)
{
    for (unsigned ms = 0; ms < 30000; ms += STEP_MS) {
        unsigned found = PHOST_NODES;
        uint64_t term = 0;
        for (unsigned node = 0; node < PHOST_NODES; node++) {
            if (is_there(node) && node != but && phost.of[node][i].led > term) {
                term = phost.of[node][i].led;
                found = node;
            }
        }
        if (found < PHOST_NODES) {
            return found;
        }
        fake_cluster_advance(phost.cluster, STEP_MS);
    }
    MUST(false, "nobody leads");
    return 0;
}

unsigned phost_leader(unsigned i)
{
    return phost_leader_but(i, PHOST_NODES);
}

bool phost_agrees(unsigned i)
{
    struct partition_hash first = {0};
    uint64_t applied = 0;
    bool any = false;
    for (unsigned node = 0; node < PHOST_NODES; node++) {
        if (!is_there(node)) {
            continue;
        }
        const struct partition_state state = phost_state(node, i);
        const struct partition_hash hash = phost_hash(node, i);
        if (state.checkpointed != state.applied || (any && state.applied != applied) ||
            (any && (hash.sessions_hash != first.sessions_hash ||
                     hash.beside_hash != first.beside_hash))) {
            return false;
        }
        applied = state.applied;
        first = hash;
        any = true;
    }
    return true;
}

void phost_settle(void)
{
    for (unsigned ms = 0; ms < 30000; ms += STEP_MS) {
        bool all = true;
        for (unsigned i = 0; i < PHOST_PARTITIONS; i++) {
            all = all && phost_agrees(i);
        }
        if (all) {
            return;
        }
        fake_cluster_advance(phost.cluster, STEP_MS);
    }
    MUST(false, "the nodes do not agree");
}

/* ---- entries */

uint64_t phost_serial(unsigned i, uint32_t counter)
{
    return serial_make(phost_numbers[i], 1, counter);
}

const char *phost_id(unsigned i, unsigned number)
{
    static char ids[64][32];
    static unsigned next;
    char *const id = ids[next++ % 64];
    for (unsigned at = 0, left = number;; at++) {
        const int len = snprintf(id, 32, "client-%u", at);
        if (client_hash_of(phost.cluster->nodes[0] != NULL ? phost.cluster->nodes[0]->node
                                                           : phost.cluster->nodes[1]->node,
                           bytes_of(id, (size_t)len)) %
                    PARTITIONS ==
                phost_numbers[i] &&
            left-- == 0) {
            return id;
        }
    }
}

void phost_say_bytes(unsigned i, struct bytes entry)
{
    for (unsigned ms = 0; ms < 30000; ms += STEP_MS) {
        const unsigned leader = phost_leader(i);
        const enum group_err err =
            group_propose(phost_enter(leader, i), phost_numbers[i], entry, TICKET);
        shard_self = NULL;
        if (err == GROUP_OK) {
            phost.times_said++;
            fake_cluster_settle(phost.cluster);
            return;
        }
        fake_cluster_advance(phost.cluster, STEP_MS);
    }
    MUST(false, "an entry is not taken");
}

void phost_say(unsigned i, const struct entry *e)
{
    struct field_writer w = {.at = NULL};
    field_writer_begin(&w);
    entry_write(&w, e);
    phost_say_bytes(i, field_written(&w));
    field_writer_fini(&w);
}

struct bytes phost_message(const char *topic, const char *payload)
{
    static uint8_t all[512];
    const struct stored_message m = {.topic = bytes_text(topic), .qos = 1};
    const int len = snprintf((char *)all + STORED_MESSAGE_HEAD, sizeof all - STORED_MESSAGE_HEAD,
                             "%s%s", topic, payload);
    stored_message_head(&m, all);
    return bytes_of(all, STORED_MESSAGE_HEAD + (size_t)len);
}

void phost_opened(unsigned i, uint64_t serial, const char *id, const char *will_topic)
{
    struct entry e = {.type = ENTRY_OPENED,
                      .serial = serial,
                      .opened = {.client_id = bytes_text(id), .expiry_s = 3600}};
    if (will_topic != NULL) {
        e.opened.will =
            (struct stored_will){.message = phost_message(will_topic, "gone"), .delay_s = 5};
    }
    phost_say(i, &e);
}

void phost_subscribed(unsigned i, uint64_t serial, const char *filter)
{
    phost_say(i,
              &(struct entry){.type = ENTRY_SUBSCRIBED,
                              .serial = serial,
                              .subscribed = {.filter = bytes_text(filter), .options = {.qos = 1}}});
}

void phost_queued(unsigned i, uint64_t serial, uint64_t number, uint64_t origin, uint64_t op)
{
    struct field_writer w = {.at = NULL};
    char payload[32];
    snprintf(payload, sizeof payload, "%u", (unsigned)number);
    const struct entry e = {
        .type = origin == 0 ? ENTRY_QUEUED : ENTRY_DISPATCHED,
        .queued = {.message = phost_message("topic", payload), .stream = origin, .operation = op}};
    field_writer_begin(&w);
    entry_write(&w, &e);
    entry_write_recipient(&w, serial, &(struct stored_delivery){.number = number, .qos = 1});
    phost_say_bytes(i, field_written(&w));
    field_writer_fini(&w);
}

void phost_closed(unsigned i, uint64_t serial, uint64_t sent_end)
{
    phost_say(i, &(struct entry){.type = ENTRY_CLOSED,
                                 .serial = serial,
                                 .closed = {.expiry_s = 3600,
                                            .ends_ms = UINT64_MAX,
                                            .sent_end = sent_end,
                                            .will_due_ms = UINT64_MAX}});
}

/* ---- what has come of it */

struct partition_hash phost_hash(unsigned node, unsigned i)
{
    struct records_overlay o;
    struct partition_hash hash;
    records_overlay_init(&o, phost.disks[node].persistence.checkpoint);
    MUST(partition_hash(&o.records, phost_numbers[i], &hash) == CHECKPOINT_OK,
         "records that cannot be read");
    records_overlay_fini(&o);
    return hash;
}

struct session *phost_session(unsigned node, unsigned i, const char *id)
{
    struct session *const session = session_find(phost_enter(node, i), bytes_text(id));
    shard_self = NULL;
    return session;
}
