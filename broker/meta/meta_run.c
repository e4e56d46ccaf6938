/* SPDX-License-Identifier: Apache-2.0 */
/* The life of META on this node, its turn, and what its group tells. */
#include "broker/meta/meta_run.h"

#include <stdlib.h>
#include <string.h>

#include "broker/log/log.h"
#include "broker/meta/meta_parts.h"
#include "broker/node.h"
#include "broker/shard/shard.h"
#include "cluster/identity.h"

#define NEVER UINT64_MAX

#define DECIDE_MS    100u   /* from one decision to the next, at least */
#define SAY_FIRST_MS 10000u /* until the log hears that this node waits to be of a cluster */
#define SAY_EVERY_MS 60000u

/* ---- what is asked everywhere */

bool meta_is_formed(const struct meta_run *r)
{
    return formation_phase(r->formation) == FORMATION_FORMED;
}

uint32_t meta_own_number(const struct meta_run *r)
{
    return meta_is_formed(r) ? formation_number(r->formation) : 0;
}

void meta_hurry(struct meta_run *r)
{
    r->is_due = true;
}

void meta_show(struct meta_run *r)
{
    atomic_store_explicit(&r->number, meta_own_number(r), memory_order_relaxed);
    atomic_store_explicit(&r->shard->node->member, meta_own_number(r), memory_order_relaxed);
    atomic_store_explicit(&r->members, r->state.members_count, memory_order_relaxed);
    atomic_store_explicit(&r->waits, !meta_is_formed(r), memory_order_relaxed);
}

/* ---- formation */

static void on_form_write(void *context, struct bytes record)
{
    struct meta_run *const r = context;
    memcpy(r->form_record, record.at, record.len);
    r->form_len = record.len;
    r->form_pending = true;
}

static void on_form_send(void *context, struct node_uuid to, struct bytes message)
{
    struct meta_run *const r = context;
    meta_say(r->shard, meta_peer_of(r, to), NODE_FRAME_META_FORM, message);
}

static unsigned gather_seen(const struct meta_run *r, struct formation_seen *seen)
{
    unsigned count = 0;
    seen[count++] = (struct formation_seen){.node = meta_node_of_self(r)};
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        const struct meta_peer *const p = &r->peers[peer];
        if (p->is_live && p->has_said && !node_uuid_is_none(p->node)) {
            seen[count++] = (struct formation_seen){meta_node_of_peer(p), p->cluster};
        }
    }
    return count;
}

/* So that who waits for a node that does not come sees it. */
static void say_waits(struct shard *s, unsigned seen)
{
    struct meta_run *const r = s->node->meta_run;
    const uint64_t due_ms =
        r->said_ms == 0 ? r->began_ms + SAY_FIRST_MS : r->said_ms + SAY_EVERY_MS;
    char who[UUID_TEXT_BYTES] = "";
    if (s->now_ms < due_ms) {
        return;
    }
    r->said_ms = s->now_ms;
    const struct node_uuid waits_for = formation_waits_for(r->formation);
    if (!node_uuid_is_none(waits_for)) {
        uuid_print(who, waits_for.bytes);
    }
    log_event(LOG_WARNING, "cluster_not_formed", LOG_NUMBER("nodes", seen),
              LOG_NUMBER("initial_size", r->initial_size), LOG_TEXT("waits_for", who),
              LOG_TEXT("meaning", "until then clients with sessions that last are not served"));
}

static void form_on(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    struct formation_seen seen[PEERS_MAX + 1];
    const unsigned count = gather_seen(r, seen);
    formation_turn(r->formation, seen, count, s->now_ms);
    say_waits(s, count);
}

static void on_formed(struct meta_run *r)
{
    char cluster[UUID_TEXT_BYTES];
    uuid_print(cluster, formation_cluster(r->formation).bytes);
    log_event(LOG_INFO, "became_member", LOG_TEXT("cluster", cluster),
              LOG_NUMBER("number", formation_number(r->formation)));
    r->was_formed = true;
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        r->peers[peer].owes = !node_uuid_is_none(r->peers[peer].node);
    }
    meta_show(r);
}

/* ---- the group */

static void open_group(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    uint8_t first[NODE_META_FORM_MAX * NODE_SERVER_BYTES];
    const struct bytes members = formation_members(r->formation);
    /* With a state that was kept it has begun long ago, whatever the journal has. */
    const bool begins = members.len > 0 && r->applied == 0;
    meta_set_servers(s);
    struct group_conf conf = {.servers = r->servers,
                              .servers_count = r->servers_count,
                              .self = formation_number(r->formation),
                              .bootstrap = begins,
                              .checkpointed = r->applied};
    if (begins) {
        conf.first = bytes_of(first, meta_first_servers(first, members, r->limits.voters_max));
    }
    r->is_open = true; /* its events may come from within */
    const enum group_err err = group_open(s, STORE_META, &conf);
    if (err != GROUP_OK) {
        r->is_open = false;
        r->has_refused = true;
        log_event(LOG_ERROR, "meta_refused", LOG_NUMBER("error", err),
                  LOG_TEXT("reason", "the group of the cluster's members cannot be opened"));
    }
}

static void log_command(struct shard *s, const struct node_meta_command *c)
{
    const struct meta_run *const r = s->node->meta_run;
    struct bytes rest = c->items;
    struct node_meta_node node;
    switch (c->kind) {
    case NODE_META_FORM:
        log_event(LOG_INFO, "cluster_formed", LOG_NUMBER("members", r->state.members_count),
                  LOG_NUMBER("replicas", r->state.replicas));
        break;
    case NODE_META_ADD:
        if (node_meta_node_next(&rest, &node)) {
            const struct meta_member *const m = meta_member_by_uuid(&r->state, node.uuid);
            log_event(LOG_INFO, "member_added", LOG_NUMBER("number", m == NULL ? 0 : m->number),
                      LOG_BYTES("name", node.name), LOG_BYTES("zone", node.zone));
        }
        break;
    case NODE_META_LEAVING:
        log_event(LOG_INFO, c->value != 0 ? "member_leaving" : "member_stays",
                  LOG_NUMBER("number", c->number));
        break;
    case NODE_META_REMOVE:
        log_event(LOG_INFO, "member_removed", LOG_NUMBER("number", c->number));
        break;
    default:
        log_event(LOG_DEBUG, "meta_applied", LOG_NUMBER("kind", c->kind),
                  LOG_NUMBER("value", c->value));
        break;
    }
}

static void on_applied(struct shard *s, unsigned group, uint64_t index, struct bytes entry)
{
    struct meta_run *const r = s->node->meta_run;
    struct node_meta_command command;
    (void)group;
    if (index <= r->applied) {
        return; /* a copy has it */
    }
    r->applied = index;
    const enum meta_outcome outcome = meta_apply(&r->state, entry, index);
    if (outcome == META_APPLIED && node_meta_command_decode(&command, entry) == NODE_OK) {
        log_command(s, &command);
        r->duties_due = true;
        meta_show(r);
    } else {
        log_event(LOG_DEBUG, "meta_passed_over", LOG_NUMBER("index", index),
                  LOG_TEXT("reason", meta_outcome_text(outcome)));
    }
    meta_state_changed(r, false);
    meta_hurry(r);
}

static void on_proposed(struct shard *s, unsigned group, uint64_t ticket, enum consensus_end end)
{
    struct meta_run *const r = s->node->meta_run;
    (void)group;
    (void)ticket;
    (void)end; /* what is not committed is decided anew */
    r->proposed--;
    meta_hurry(r);
}

static void on_leading(struct shard *s, unsigned group, uint64_t term)
{
    struct meta_run *const r = s->node->meta_run;
    (void)group;
    (void)term;
    r->leads = true;
    r->leader = 0;
    memset(&r->reports, 0, sizeof r->reports);
    r->second_ms = s->now_ms; /* at once */
    meta_hurry(r);
}

static void on_following(struct shard *s, unsigned group, uint64_t leader)
{
    struct meta_run *const r = s->node->meta_run;
    (void)group;
    r->leads = false;
    r->leader = leader;
    meta_hurry(r);
}

static void on_copy_wanted(struct shard *s, unsigned group, uint64_t from, uint64_t index)
{
    struct meta_run *const r = s->node->meta_run;
    (void)group;
    r->wanted = index;
    r->wanted_from = from;
    r->asked_ms = r->asked = 0;
    r->has_copy = r->applied >= index; /* it only has to be written */
    if (r->has_copy) {
        meta_state_changed(r, true);
    }
    meta_hurry(r);
}

const struct groups_events meta_run_events = {.applied = on_applied,
                                              .proposed = on_proposed,
                                              .leading = on_leading,
                                              .following = on_following,
                                              .copy_wanted = on_copy_wanted};

/* ---- the turn */

static void each_second(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    if (s->now_ms < r->second_ms) {
        return;
    }
    r->second_ms = s->now_ms + META_SECOND_MS;
    if (!meta_is_formed(r)) {
        form_on(s);
    }
    if (r->is_open) {
        meta_report(s);
        meta_lead(s);
        meta_post_preferences(s);
    }
}

/* Something has changed, maybe by what was decided last: which may have come to nothing. */
static void decide_soon(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    const uint64_t soon_ms = r->decided_ms + DECIDE_MS;
    r->second_ms = soon_ms < r->second_ms ? soon_ms : r->second_ms;
}

void meta_run_turn(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    if (r == NULL || s->id != 0 || s->store == NULL) {
        return;
    }
    const bool is_hurried = r->is_due;
    r->is_due = false;
    meta_disk_turn(s);
    if (is_hurried && !meta_is_formed(r)) {
        form_on(s); /* others may have come */
    }
    if (r->leads && is_hurried) {
        decide_soon(s);
    }
    each_second(s);
    if (meta_is_formed(r) && !r->was_formed) {
        on_formed(r);
    }
    if (meta_is_formed(r) && !r->is_open && !r->has_refused) {
        open_group(s);
    }
    meta_set_servers(s);
    meta_post_duties(s);
    meta_ask(s);
    meta_say_who(s);
}

uint64_t meta_run_next_ms(const struct shard *s)
{
    const struct meta_run *const r = s->node->meta_run;
    if (r == NULL || s->id != 0 || s->store == NULL) {
        return NEVER;
    }
    const uint64_t disk_ms = meta_disk_next_ms(r);
    return r->is_due ? 0 : disk_ms < r->second_ms ? disk_ms : r->second_ms;
}

/* ---- questions */

uint32_t meta_run_number(const struct node *node)
{
    const struct meta_run *const r = node->meta_run;
    return r == NULL ? 0 : atomic_load_explicit(&r->number, memory_order_relaxed);
}

const struct meta_state *meta_run_state(const struct shard *s)
{
    const struct meta_run *const r = s->node->meta_run;
    return r == NULL || cluster_uuid_is_none(r->state.cluster) ? NULL : &r->state;
}

uint64_t meta_run_gauge(const struct node *node, enum meta_run_gauge gauge)
{
    const struct meta_run *const r = node->meta_run;
    if (r == NULL) {
        return 0;
    }
    switch (gauge) {
    case META_RUN_NUMBER:
        return meta_run_number(node);
    case META_RUN_MEMBERS:
        return atomic_load_explicit(&r->members, memory_order_relaxed);
    default:
        return atomic_load_explicit(&r->waits, memory_order_relaxed);
    }
}

/* ---- beginning and end */

struct meta_run_conf meta_run_conf_defaults(void)
{
    return (struct meta_run_conf){
        .replicas = 3, .initial_size = 3, .limits = meta_limits_defaults()};
}

static void fill(struct meta_run *r, const struct meta_run_conf *conf)
{
    r->self = conf->self->node;
    r->name_len = conf->self->name_len;
    memcpy(r->name, conf->self->name, conf->self->name_len);
    r->zone_len = (uint8_t)conf->zone.len;
    if (conf->zone.len > 0) {
        memcpy(r->zone, conf->zone.at, conf->zone.len);
    }
    r->replicas = conf->replicas;
    r->initial_size = conf->initial_size;
    r->limits = conf->limits;
}

static struct formation *begin_formation(struct meta_run *r, const struct meta_run_conf *conf)
{
    struct formation_conf formation = formation_conf_defaults();
    formation.self = r->self;
    memcpy(formation.random, conf->random, sizeof formation.random);
    formation.initial_size = conf->initial_size;
    formation.events = (struct formation_events){on_form_write, on_form_send, r};
    return formation_create(&formation);
}

bool meta_run_create(struct node *node, const struct meta_run_conf *conf)
{
    struct shard *const s = node->shards[0];
    struct meta_run *const r = calloc(1, sizeof *r);
    if (r == NULL) {
        log_event(LOG_ERROR, "meta_refused", LOG_TEXT("reason", "out of memory"));
        return false;
    }
    node->meta_run = r;
    r->shard = s;
    r->began_ms = node->clock_ms();
    fill(r, conf);
    meta_init(&r->state);
    r->formation = begin_formation(r, conf);
    if (r->formation == NULL) {
        log_event(LOG_ERROR, "meta_refused", LOG_TEXT("reason", "out of memory"));
        return false;
    }
    if (!meta_disk_read(r, s->backlogs.checkpoint)) {
        return false;
    }
    r->was_formed = meta_is_formed(r);
    r->duties_due = true;
    r->is_due = true;
    meta_show(r);
    return true;
}

void meta_run_destroy(struct node *node)
{
    struct meta_run *const r = node->meta_run;
    if (r == NULL) {
        return;
    }
    meta_disk_fini(r);
    formation_destroy(r->formation);
    free(r);
    node->meta_run = NULL;
}
