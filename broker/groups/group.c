/* SPDX-License-Identifier: Apache-2.0 */
/* One group: its consensus, its records, and what is told of it. */
#include <stdlib.h>
#include <string.h>

#include "broker/groups/groups_parts.h"
#include "broker/log/log.h"
#include "proto/node_field.h"

#define BARRIER UINT64_MAX /* the ticket of the empty entry that a leader begins with */

/* What a record, or a frame, has around the entries of a message. */
#define RECORD_BESIDES 64u

#define ENTRY_MAX ((size_t)8 << 20) /* half of what links take in a frame */

static struct shard_groups *all_of(const struct group *g)
{
    return g->shard->groups;
}

static const struct groups_events *events_of(const struct group *g)
{
    return all_of(g)->conf.events;
}

static uint64_t number_of(const struct group *g, const struct node_uuid *node)
{
    for (unsigned i = 0; i < g->servers_count; i++) {
        if (node_uuid_equal(g->servers[i].node, *node)) {
            return g->servers[i].number;
        }
    }
    return 0;
}

static const struct node_uuid *node_of(const struct group *g, uint64_t number)
{
    for (unsigned i = 0; i < g->servers_count; i++) {
        if (g->servers[i].number == number) {
            return &g->servers[i].node;
        }
    }
    return NULL;
}

/* ---- records */

/* Its position. */
static uint64_t write_record(struct group *g, enum group_record_kind kind, struct bytes record)
{
    const uint8_t first = (uint8_t)kind;
    const struct bytes parts[2] = {bytes_of(&first, 1), record};
    all_of(g)->has_written = true;
    return store_append_group(g->shard, (uint16_t)g->number, parts);
}

static uint64_t write_mark(struct group *g, enum group_record_kind kind)
{
    return write_record(g, kind, bytes_of(NULL, 0));
}

static void on_write(void *context, struct bytes record)
{
    struct group *const g = context;
    if (g->is_closing) {
        return;
    }
    if (g->again_due) {
        g->again_due = false;
        (void)write_mark(g, GROUP_AGAIN);
        g->again_index = g->shard->store->group_index[g->number];
    }
    const uint64_t position = write_record(g, GROUP_RECORD, record);
    if (!fifo_push(&g->positions, &position)) {
        store_out_of_memory();
    }
}

/* When it is durable, what was before is let go of. */
static void let_go_later(struct group *g, uint64_t position, uint64_t journals)
{
    const struct letting_go l = {.position = position,
                                 .index = g->again_index - 1,
                                 .journals = journals,
                                 .group = (uint16_t)g->number};
    if (!fifo_push(&all_of(g)->letting, &l)) {
        store_out_of_memory();
    }
}

void group_write_again(struct group *g)
{
    if (!g->is_started || g->state == GROUP_FAILED) {
        return;
    }
    g->again_due = true;
    const enum consensus_err err = consensus_write_again(g->consensus);
    if (g->again_due) {
        g->again_due = false; /* nothing is written: not now */
    } else if (err != CONSENSUS_OK) {
        (void)write_mark(g, GROUP_GIVEN_UP);
    } else {
        let_go_later(g, write_mark(g, GROUP_WHOLE), g->old_journals);
        g->again_under_way = true;
        g->old_journals = 0;
        shard_count(g->shard, METRIC_groups_written_again);
    }
}

/* ---- what consensus tells */

static void on_send(void *context, uint64_t to, struct bytes message)
{
    struct group *const g = context;
    const struct node_uuid *const node = node_of(g, to);
    if (g->is_closing || node == NULL) {
        shard_count(g->shard, METRIC_groups_messages_dropped);
        return;
    }
    groups_send(g->shard, g->number, node, NODE_FRAME_CONSENSUS, message);
}

static void apply(struct group *g, uint64_t index, struct bytes entry)
{
    if (index <= g->applied) {
        return; /* the checkpoint has it */
    }
    g->applied = index;
    if (entry.len == 0) {
        return; /* a leader's first */
    }
    group_tail_add(g, index, entry);
    events_of(g)->applied(g->shard, g->number, index, entry);
}

static void on_apply(void *context, uint64_t index, struct bytes entry)
{
    apply(context, index, entry);
}

static bool on_snapshot(void *context, struct bytes *data)
{
    return group_tail_snapshot(context, data);
}

static bool on_restore(void *context, struct bytes data)
{
    struct group *const g = context;
    uint64_t checkpoint, index;
    struct bytes entry;
    if (!group_tail_checkpoint_of(data, &checkpoint) || checkpoint > g->checkpointed) {
        return false;
    }
    struct bytes rest = bytes_of(data.at + GROUP_TAIL_HEAD_BYTES, data.len - GROUP_TAIL_HEAD_BYTES);
    while (rest.len > 0 && group_tail_next(&rest, &index, &entry)) {
        apply(g, index, entry);
    }
    return true;
}

static void on_proposed(void *context, uint64_t ticket, enum consensus_end end)
{
    struct group *const g = context;
    if (ticket == BARRIER) {
        g->barrier_over = end == CONSENSUS_COMMITTED;
    } else if (!g->is_mute) {
        events_of(g)->proposed(g->shard, g->number, ticket, end);
    }
}

/* ---- what has become of it */

static struct consensus *enter(struct group *g)
{
    assert(!g->is_inside);
    g->is_inside = true;
    return g->consensus;
}

static bool leads(const struct group *g)
{
    return g->is_started && g->state == GROUP_RUNNING && consensus_leads(g->consensus);
}

/* It leads, and has applied all that was committed before. */
static bool is_leading(const struct group *g)
{
    return leads(g) && g->barrier_over && g->barrier_term == consensus_figures(g->consensus).term;
}

static uint64_t leader_of(const struct group *g)
{
    const uint64_t leader =
        !g->is_started || g->state != GROUP_RUNNING ? 0 : consensus_leader(g->consensus);
    return leader == g->self ? 0 : leader; /* not yet */
}

static void count(struct group *g)
{
    const struct consensus_figures f = consensus_figures(g->consensus);
    struct metrics *const m = &g->shard->metrics;
    metrics_add(m, METRIC_groups_snapshots, f.snapshots - g->counted.snapshots);
    metrics_add(m, METRIC_groups_messages_dropped, f.dropped - g->counted.dropped);
    g->counted = f;
}

static void begin_to_lead(struct group *g)
{
    const uint64_t term = consensus_figures(g->consensus).term;
    if (!leads(g) || g->barrier_term == term) {
        return;
    }
    g->barrier_over = false;
    const uint64_t now_ms = groups_now(g->shard);
    if (consensus_propose(enter(g), bytes_of(NULL, 0), BARRIER, now_ms) == CONSENSUS_OK) {
        g->barrier_term = term;
    }
    g->is_inside = false;
}

static void fail(struct group *g)
{
    g->state = GROUP_FAILED;
    log_event(LOG_ERROR, "group_failed", LOG_NUMBER("group", g->number),
              LOG_TEXT("meaning", "this node serves it no more, until it is started anew"));
}

/* After whatever may have changed it. */
static void look(struct group *g)
{
    struct shard_groups *const all = all_of(g);
    g->is_inside = false;
    if (!g->is_started) {
        return;
    }
    if (consensus_has_failed(g->consensus) && g->state != GROUP_FAILED) {
        fail(g);
    }
    begin_to_lead(g);
    count(g);
    const bool leading = is_leading(g);
    all->has_news = all->has_news || leading != g->told_leads ||
                    (leading && g->counted.term != g->told_term) ||
                    (!leading && leader_of(g) != g->told_leader);
    if (g->state == GROUP_RUNNING) {
        const uint64_t next_ms = consensus_next_ms(g->consensus);
        all->next_ms = next_ms < all->next_ms ? next_ms : all->next_ms;
    }
}

static void tell_following(struct group *g, uint64_t leader)
{
    g->told_leads = false;
    g->told_leader = leader;
    events_of(g)->following(g->shard, g->number, leader);
}

static void tell_leading(struct group *g, uint64_t term)
{
    g->told_leads = true;
    g->told_term = term;
    g->told_leader = 0;
    shard_count(g->shard, METRIC_groups_elected);
    log_event(LOG_INFO, "group_leading", LOG_NUMBER("group", g->number), LOG_NUMBER("term", term));
    events_of(g)->leading(g->shard, g->number, term);
}

static void tell_copy_wanted(struct group *g)
{
    uint64_t index = 0;
    struct node_consensus m;
    struct bytes data = consensus_snapshot(g->consensus);
    g->copy_due = false;
    if (g->install != NULL &&
        node_consensus_decode(&m, bytes_of(g->install->bytes, g->install->len)) == NODE_OK) {
        data = m.data;
    }
    if (group_tail_checkpoint_of(data, &index)) {
        log_event(LOG_INFO, "group_copy_wanted", LOG_NUMBER("group", g->number),
                  LOG_NUMBER("from", g->install_from), LOG_NUMBER("index", index));
        events_of(g)->copy_wanted(g->shard, g->number, g->install_from, index);
    }
}

void group_tell(struct group *g)
{
    const uint64_t term = consensus_figures(g->consensus).term, leader = leader_of(g);
    const bool is_over = g->told_leads && (!is_leading(g) || term != g->told_term);
    const bool is_other = !g->told_leads && !is_leading(g) && leader != g->told_leader;
    if (is_over || is_other) {
        tell_following(g, leader);
    }
    if (is_leading(g) && !g->told_leads) {
        tell_leading(g, consensus_figures(g->consensus).term);
    }
    if (g->copy_due) {
        tell_copy_wanted(g);
    }
}

void group_on_durable(struct group *g, uint64_t position)
{
    const uint64_t *first;
    while ((first = fifo_first(&g->positions)) != NULL && *first <= position) {
        fifo_pop(&g->positions);
        g->durable++;
    }
    if (g->is_started && g->state == GROUP_RUNNING) {
        consensus_durable(enter(g), g->durable, groups_now(g->shard));
        look(g);
    }
}

void group_on_time(struct group *g)
{
    if (!g->is_started || g->state != GROUP_RUNNING) {
        return;
    }
    if (consensus_next_ms(g->consensus) <= groups_now(g->shard)) {
        consensus_turn(enter(g), groups_now(g->shard));
    }
    look(g);
}

void group_ask_off(struct group *g, bool wanted)
{
    if (!wanted) {
        g->is_asked_off = false;
    } else if (leads(g) && !g->is_asked_off) {
        g->is_asked_off = group_transfer(g->shard, g->number, 0);
    }
}

/* ---- messages */

/* The checkpoint, or the disk, has to come further first. */
static bool is_full(const struct group *g)
{
    return g->tail_bytes >= all_of(g)->conf.tail_bytes_max || g->shard->store->trouble != 0 ||
           shard_disk_is_congested(g->shard);
}

static void refuse(struct group *g)
{
    shard_count(g->shard, METRIC_groups_messages_refused);
}

static bool is_too_large(struct group *g, struct bytes body)
{
    if (body.len + RECORD_BESIDES <= g->shard->store->body_bytes_max) {
        return false;
    }
    if (!g->said_large) {
        g->said_large = true;
        log_event(LOG_ERROR, "group_message_too_large", LOG_NUMBER("group", g->number),
                  LOG_NUMBER("bytes", body.len),
                  LOG_TEXT("remedy", "set limits.packet_bytes_max as on the other nodes"));
    }
    return true;
}

static void stand_still(struct group *g, uint64_t from, struct bytes body)
{
    g->install = parcel_create(&(struct node_uuid){{0}}, g->number, NODE_FRAME_CONSENSUS, body);
    if (g->install == NULL) {
        refuse(g); /* it comes again */
        return;
    }
    g->state = GROUP_STANDING;
    g->install_from = from;
    g->copy_due = true;
    all_of(g)->has_news = true;
}

/* A snapshot of a checkpoint that is not here? *is_bad: it is none that could be of use. */
static bool wants_copy(const struct group *g, const struct node_consensus *m, bool *is_bad)
{
    uint64_t index;
    *is_bad = m->kind == NODE_INSTALL && !group_tail_checkpoint_of(m->data, &index);
    return m->kind == NODE_INSTALL && !*is_bad && index > g->checkpointed &&
           m->term >= g->counted.term && m->index > g->counted.committed;
}

void group_take(struct group *g, const struct node_uuid *from, const struct node_consensus *message,
                struct bytes body)
{
    const uint64_t number = number_of(g, from);
    struct node_consensus m = *message;
    bool is_bad;
    const bool copy = wants_copy(g, &m, &is_bad);
    if (m.group != group_name(g->number, g->incarnation) || number == 0 || number == g->self ||
        is_bad || !g->is_started || g->state != GROUP_RUNNING || is_too_large(g, body)) {
        refuse(g);
        return;
    }
    if (copy) {
        stand_still(g, number, body);
        return;
    }
    if (m.kind == NODE_APPEND && m.data.len > 0 && is_full(g)) {
        m.data = bytes_of(NULL, 0); /* so it is just a sign of life */
        shard_count(g->shard, METRIC_groups_entries_deferred);
    }
    if (consensus_received(enter(g), number, &m, groups_now(g->shard)) == CONSENSUS_MALFORMED) {
        refuse(g);
    }
    look(g);
}

/* ---- life */

static struct consensus_conf conf_of(struct group *g)
{
    struct consensus_conf conf = all_of(g)->conf.consensus;
    conf.group = group_name(g->number, g->incarnation);
    conf.self = g->self;
    conf.seed = shard_random(g->shard) ^ g->self << 32; /* two must not always stand together */
    conf.events = (struct consensus_events){.write = on_write,
                                            .send = on_send,
                                            .apply = on_apply,
                                            .snapshot = on_snapshot,
                                            .restore = on_restore,
                                            .proposed = on_proposed,
                                            .context = g};
    return conf;
}

static enum group_err bootstrap(struct group *g, const struct group_conf *conf)
{
    uint8_t servers[GROUPS_SERVERS_MAX * NODE_SERVER_BYTES], data[GROUP_TAIL_HEAD_BYTES];
    const struct bytes first = conf->first;
    struct sink s = node_sink(data);
    size_t len = 0;
    for (unsigned i = 0; first.len == 0 && i < g->servers_count; i++) {
        const struct node_server server = {.id = g->servers[i].number, .role = NODE_SERVER_VOTER};
        len += node_server_encode(servers + len, &server);
    }
    const struct bytes begins = first.len > 0 ? first : bytes_of(servers, len);
    node_put_u64(&s, conf->behind_index);
    const enum consensus_err err =
        conf->behind_index == 0
            ? consensus_bootstrap(g->consensus, begins)
            : consensus_bootstrap_behind(g->consensus, begins, conf->behind_index,
                                         conf->behind_term, bytes_of(data, s.len));
    return err == CONSENSUS_OK ? GROUP_OK : GROUP_NO_MEMORY;
}

/* What the journals have. */
static enum group_err recover(struct group *g, const struct group_conf *conf)
{
    struct group_records *const records = g->shard->node->group_records;
    struct group_run *const run = &records->of[g->number];
    const bool is_well = group_run_settle(run);
    for (const struct group_record *r = run->first; r != NULL; r = r->next) {
        const enum consensus_err err =
            consensus_recover(g->consensus, bytes_of(r->bytes + 1, r->len - 1));
        if (err != CONSENSUS_OK) {
            return err == CONSENSUS_NO_MEMORY ? GROUP_NO_MEMORY : GROUP_CORRUPT;
        }
    }
    g->old_journals = run->journals & ~(UINT64_C(1) << g->shard->id);
    all_of(g)->has_old = all_of(g)->has_old || g->old_journals != 0;
    if (!is_well) {
        (void)write_mark(g, GROUP_GIVEN_UP);
    }
    group_run_clear(run);
    *run = (struct group_run){.first = NULL}; /* it counts once */
    return conf->bootstrap && consensus_is_blank(g->consensus) ? bootstrap(g, conf) : GROUP_OK;
}

/* Or it stands still, as the checkpoint here is older than what the records say. */
static enum group_err start(struct group *g)
{
    uint64_t index = 0;
    const struct bytes snapshot = consensus_snapshot(g->consensus);
    if (snapshot.len > 0 && !group_tail_checkpoint_of(snapshot, &index)) {
        return GROUP_CORRUPT;
    }
    if (index > g->checkpointed) {
        g->state = GROUP_STANDING;
        g->copy_due = all_of(g)->has_news = true;
        return GROUP_OK;
    }
    g->state = GROUP_RUNNING;
    const enum consensus_err err = consensus_start(enter(g), groups_now(g->shard));
    g->is_started = err == CONSENSUS_OK;
    look(g);
    return err == CONSENSUS_OK          ? GROUP_OK
           : err == CONSENSUS_NO_MEMORY ? GROUP_NO_MEMORY
                                        : GROUP_CORRUPT;
}

void group_free(struct group *g, bool is_mute)
{
    struct shard_groups *const all = all_of(g);
    all->of[g->number] = NULL;
    all->count--;
    g->is_closing = true;
    g->is_mute = is_mute;
    consensus_destroy(g->consensus);
    group_tail_drop(g, UINT64_MAX);
    fifo_fini(&g->positions);
    free(g->install);
    free(g);
}

enum group_err group_open(struct shard *s, unsigned group, const struct group_conf *conf)
{
    ASSERT_OWNED(s);
    assert(group_is_one(group) && group_home(s->node, group) == s->id);
    assert(s->groups->of[group] == NULL);
    assert(conf->self > 0);

    if (s->store == NULL || s->store->durability == CONFIG_DURABILITY_MEMORY) {
        return GROUP_NO_DISK;
    }
    struct group *const g = calloc(1, sizeof *g);
    if (g == NULL) {
        return GROUP_NO_MEMORY;
    }
    *g = (struct group){.shard = s,
                        .number = group,
                        .self = conf->self,
                        .incarnation = conf->incarnation,
                        .checkpointed = conf->checkpointed,
                        .applied = conf->checkpointed,
                        .positions.item = sizeof(uint64_t)};
    s->groups->of[group] = g;
    s->groups->count++;
    group_set_servers(s, group, conf->servers, conf->servers_count);
    const struct consensus_conf consensus = conf_of(g);
    g->consensus = consensus_create(&consensus);
    enum group_err err = g->consensus == NULL ? GROUP_NO_MEMORY : recover(g, conf);
    if (err == GROUP_OK) {
        err = start(g);
    }
    if (err != GROUP_OK) {
        group_free(g, true);
    }
    return err;
}

static struct group *open_group(const struct shard *s, unsigned group)
{
    ASSERT_OWNED(s);
    assert(group < RECORD_PARTITIONS);
    return s->groups == NULL ? NULL : s->groups->of[group];
}

/* Its position. */
static uint64_t make_void(struct group *g)
{
    (void)write_mark(g, GROUP_AGAIN);
    g->again_index = g->shard->store->group_index[g->number];
    const uint64_t position = write_mark(g, GROUP_WHOLE);
    let_go_later(g, position, g->old_journals);
    return position;
}

uint64_t group_close(struct shard *s, unsigned group)
{
    struct group *const g = open_group(s, group);
    assert(g != NULL && !g->is_inside);
    const uint64_t position = make_void(g);
    group_free(g, false);
    return position;
}

uint64_t group_forget(struct shard *s, unsigned group)
{
    struct group_run *const run = &s->node->group_records->of[group];
    assert(open_group(s, group) == NULL);
    if (run->first == NULL) {
        return 0;
    }
    struct group gone = {
        .shard = s, .number = group, .old_journals = run->journals & ~(UINT64_C(1) << s->id)};
    group_run_clear(run);
    *run = (struct group_run){.first = NULL};
    return make_void(&gone);
}

void group_set_servers(struct shard *s, unsigned group, const struct groups_server *servers,
                       unsigned count)
{
    struct group *const g = open_group(s, group);
    assert(g != NULL);
    assert(count <= GROUPS_SERVERS_MAX);
    memcpy(g->servers, servers, count * sizeof servers[0]);
    g->servers_count = count;
}

/* ---- what the owner says */

size_t group_entry_max(const struct shard *s)
{
    const size_t around = NODE_CONSENSUS_HEAD_MAX + NODE_ENTRY_BYTES + RECORD_BESIDES;
    const size_t room = s->store == NULL ? 0 : s->store->body_bytes_max - around;
    return room < ENTRY_MAX ? room : ENTRY_MAX;
}

static enum group_err what_it_said(enum consensus_err err)
{
    switch (err) {
    case CONSENSUS_OK:
        return GROUP_OK;
    case CONSENSUS_BUSY:
        return GROUP_BUSY;
    case CONSENSUS_NO_MEMORY:
        return GROUP_NO_MEMORY;
    default:
        return GROUP_NOT_LEADER;
    }
}

enum group_err group_propose(struct shard *s, unsigned group, struct bytes entry, uint64_t ticket)
{
    struct group *const g = open_group(s, group);
    assert(entry.len > 0);
    assert(ticket != BARRIER);

    if (g == NULL || !g->told_leads || !is_leading(g) ||
        g->told_term != consensus_figures(g->consensus).term) {
        return GROUP_NOT_LEADER;
    }
    if (entry.len > group_entry_max(s)) {
        return GROUP_TOO_LARGE;
    }
    if (is_full(g)) {
        return GROUP_BUSY;
    }
    const enum consensus_err err = consensus_propose(enter(g), entry, ticket, groups_now(g->shard));
    look(g);
    if (err == CONSENSUS_OK) {
        shard_count(s, METRIC_groups_proposals);
    }
    return what_it_said(err);
}

void group_checkpointed(struct shard *s, unsigned group, uint64_t index)
{
    struct group *const g = open_group(s, group);
    if (g != NULL && index > g->checkpointed) {
        assert(index <= g->applied);
        g->checkpointed = index;
        group_tail_drop(g, index);
    }
}

/* What was waited for goes on from where the copy is. */
static void go_on(struct group *g)
{
    struct parcel *const install = g->install;
    struct node_consensus m;
    const uint64_t from = g->install_from;
    g->install = NULL;
    g->install_from = 0;
    g->state = GROUP_RUNNING;
    if (node_consensus_decode(&m, bytes_of(install->bytes, install->len)) == NODE_OK) {
        const struct node_uuid *const node = node_of(g, from);
        if (node != NULL) {
            group_take(g, node, &m, bytes_of(install->bytes, install->len));
        }
    }
    look(g);
    free(install);
}

/* What this server had applied behind the copy is to be applied to that. */
static void tell_tail(struct group *g)
{
    for (const struct tail_entry *e = g->tail_first; e != NULL; e = e->next) {
        events_of(g)->applied(g->shard, g->number, e->index, bytes_of(e->bytes, e->len));
    }
}

void group_copied(struct shard *s, unsigned group, uint64_t index)
{
    struct group *const g = open_group(s, group);
    assert(g != NULL && g->state == GROUP_STANDING);
    if (index > g->checkpointed) {
        g->checkpointed = index;
        group_tail_drop(g, index);
        g->applied = index > g->applied ? index : g->applied;
        tell_tail(g);
    }
    if (g->install != NULL) {
        go_on(g);
    } else if (start(g) != GROUP_OK) {
        fail(g);
    }
}

void group_say_beside(struct shard *s, unsigned group, uint64_t to, struct bytes body)
{
    const struct group *const g = open_group(s, group);
    const struct node_uuid *const node = g == NULL ? NULL : node_of(g, to);
    if (node != NULL) {
        groups_send(s, group, node, NODE_FRAME_PARTITION_COPY, body);
    }
}

void group_take_beside(struct group *g, const struct node_uuid *from, struct bytes body)
{
    const uint64_t number = number_of(g, from);
    if (number == 0 || number == g->self || events_of(g)->beside == NULL) {
        refuse(g);
        return;
    }
    events_of(g)->beside(g->shard, g->number, number, body);
}

void group_give_up(struct shard *s, unsigned group)
{
    struct group *const g = open_group(s, group);
    assert(g == NULL || !g->is_inside);
    if (g != NULL && g->state != GROUP_FAILED) {
        fail(g);
        all_of(g)->has_news = true;
    }
}

bool group_transfer(struct shard *s, unsigned group, uint64_t to)
{
    struct group *const g = open_group(s, group);
    if (g == NULL || !leads(g)) {
        return false;
    }
    const enum consensus_err err = consensus_transfer(enter(g), to, groups_now(s));
    look(g);
    return err == CONSENSUS_OK;
}

enum group_err group_change(struct shard *s, unsigned group, uint64_t number,
                            enum node_server_role role)
{
    struct group *const g = open_group(s, group);
    if (g == NULL || !leads(g)) {
        return GROUP_NOT_LEADER;
    }
    const enum consensus_err err = consensus_change(enter(g), number, role, groups_now(s));
    look(g);
    return what_it_said(err);
}

size_t group_servers(const struct shard *s, unsigned group, uint8_t *out)
{
    const struct group *const g = open_group(s, group);
    return g == NULL || !g->is_started ? 0 : consensus_servers(g->consensus, out);
}

struct group_state group_state(const struct shard *s, unsigned group)
{
    const struct group *const g = open_group(s, group);
    if (g == NULL) {
        return (struct group_state){.is_open = false};
    }
    const struct consensus_figures f = consensus_figures(g->consensus);
    return (struct group_state){.is_open = true,
                                .leads = is_leading(g),
                                .stands_still = g->state == GROUP_STANDING,
                                .failed = g->state == GROUP_FAILED,
                                .term = f.term,
                                .leader = is_leading(g) ? g->self : leader_of(g),
                                .applied = g->applied,
                                .lease_ms = is_leading(g) ? consensus_lease_ms(g->consensus) : 0,
                                .tail_bytes = g->tail_bytes,
                                .committed = f.committed,
                                .last = f.last};
}
