/* SPDX-License-Identifier: Apache-2.0 */
/* META's group: who its servers are, and what its leader decides. */
#include <stdlib.h>
#include <string.h>

#include "broker/log/log.h"
#include "broker/meta/meta_parts.h"
#include "broker/node.h"
#include "broker/shard/shard.h"

/* ---- servers: whose messages are taken, and where they are */

struct gathered {
    struct groups_server at[GROUPS_SERVERS_MAX];
    unsigned count;
};

/* The first word about a number is the one that counts. */
static void add_server(struct gathered *g, uint32_t number, struct node_uuid node)
{
    for (unsigned i = 0; i < g->count; i++) {
        if (g->at[i].number == number || node_uuid_equal(g->at[i].node, node)) {
            return;
        }
    }
    if (number != 0 && g->count < GROUPS_SERVERS_MAX) {
        g->at[g->count++] = (struct groups_server){.number = number, .node = node};
    }
}

/* By META itself; before it says anything, by what the first members have promised; and by what
 * those say who have come since. */
static void gather(const struct meta_run *r, struct gathered *g)
{
    struct bytes rest = formation_members(r->formation);
    struct node_meta_node node;
    g->count = 0;
    for (unsigned i = 0; i < r->state.members_count; i++) {
        add_server(g, r->state.members[i].number, r->state.members[i].uuid);
    }
    for (uint32_t i = 1; cluster_uuid_is_none(r->state.cluster) && rest.len > 0 &&
                         node_meta_node_next(&rest, &node);
         i++) {
        add_server(g, i, node.uuid);
    }
    add_server(g, meta_own_number(r), r->self);
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        const struct meta_peer *const p = &r->peers[peer];
        if (!node_uuid_is_none(p->node) && p->has_said && meta_is_formed(r) &&
            cluster_uuid_equal(p->cluster, formation_cluster(r->formation)) &&
            !meta_was_removed(&r->state, p->node)) {
            add_server(g, p->number, p->node);
        }
    }
}

void meta_set_servers(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    struct gathered g;
    if (!meta_is_formed(r)) {
        return;
    }
    gather(r, &g);
    if (g.count == r->servers_count && memcmp(g.at, r->servers, g.count * sizeof g.at[0]) == 0) {
        return;
    }
    memcpy(r->servers, g.at, g.count * sizeof g.at[0]);
    r->servers_count = g.count;
    if (r->is_open) {
        group_set_servers(s, STORE_META, r->servers, r->servers_count);
    }
}

/* ---- deciding */

/* A member that has said nothing since this node's start is as META has it. Who is none, and has
 * said nothing, or is of another cluster, is not seen. */
static bool see(const struct meta_run *r, const struct meta_peer *p, struct meta_seen *seen)
{
    if (node_uuid_is_none(p->node)) {
        return false;
    }
    const struct meta_member *const m = meta_member_by_uuid(&r->state, p->node);
    *seen = (struct meta_seen){.is_alive = p->is_live, .since_ms = p->since_ms};
    if (p->has_said) {
        const bool is_other = !cluster_uuid_is_none(p->cluster) &&
                              !cluster_uuid_equal(p->cluster, formation_cluster(r->formation));
        seen->node = meta_node_of_peer(p);
        return !is_other;
    }
    if (m != NULL) {
        seen->node = (struct node_meta_node){.uuid = m->uuid,
                                             .features = m->features,
                                             .name = bytes_of(m->name, m->name_len),
                                             .zone = bytes_of(m->zone, m->zone_len)};
    }
    return m != NULL;
}

static bool propose(struct shard *s, const struct node_meta_command *command)
{
    struct meta_run *const r = s->node->meta_run;
    const size_t len = node_meta_command_encode(NULL, command);
    uint8_t *const entry = malloc(len);
    if (entry == NULL) {
        return false; /* it is decided again */
    }
    (void)node_meta_command_encode(entry, command);
    r->proposed++;
    const bool is_taken = group_propose(s, STORE_META, bytes_of(entry, len), 1) == GROUP_OK;
    r->proposed -= !is_taken;
    free(entry);
    return is_taken;
}

/* What is refused, as another thing is under way, is decided again in a second. */
static void act_on(struct shard *s, const struct meta_decision *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        if (!propose(s, &d->commands[i])) {
            return;
        }
    }
    if (d->change != 0 && group_change(s, STORE_META, d->change, d->role) != GROUP_OK) {
        log_event(LOG_DEBUG, "meta_server_unchanged", LOG_NUMBER("number", d->change));
    }
    if (d->lead != 0 && !group_transfer(s, STORE_META, d->lead)) {
        log_event(LOG_DEBUG, "meta_leader_unchanged", LOG_NUMBER("number", d->lead));
    }
}

/* Those that META has made members, and who may not know yet. */
static void welcome(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    uint8_t out[NODE_META_HEAD_MAX];
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        const struct meta_peer *const p = &r->peers[peer];
        const struct meta_member *const m =
            node_uuid_is_none(p->node) ? NULL : meta_member_by_uuid(&r->state, p->node);
        if (m != NULL && p->has_said && cluster_uuid_is_none(p->cluster)) {
            meta_say(s, peer, NODE_FRAME_META_FORM,
                     bytes_of(out, formation_welcome(out, r->state.cluster, m->number)));
        }
    }
}

static void say_replicas(struct meta_run *r)
{
    if (!r->said_replicas && !cluster_uuid_is_none(r->state.cluster) &&
        r->state.replicas != r->replicas) {
        r->said_replicas = true;
        log_event(LOG_WARNING, "replicas_differ", LOG_NUMBER("configured", r->replicas),
                  LOG_NUMBER("in_force", r->state.replicas),
                  LOG_TEXT("meaning", "the cluster has what it was formed with"));
    }
}

void meta_lead(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    struct meta_seen seen[PEERS_MAX + 1];
    uint8_t servers[2 * META_MEMBERS_MAX * NODE_SERVER_BYTES];
    const struct node_meta_command form = {.kind = NODE_META_FORM,
                                           .value = (uint8_t)r->replicas,
                                           .cluster = formation_cluster(r->formation),
                                           .items = formation_members(r->formation)};
    struct meta_view view = {.now_ms = s->now_ms,
                             .self = meta_own_number(r),
                             .seen = seen,
                             .forgotten = r->forgotten,
                             .forgotten_count = r->forgotten_count < META_FORGOTTEN_MAX
                                                    ? r->forgotten_count
                                                    : META_FORGOTTEN_MAX,
                             .reports = &r->reports,
                             .form = form.items.len > 0 ? &form : NULL};
    if (!r->leads || r->proposed > 0) {
        return;
    }
    r->decided_ms = s->now_ms;
    say_replicas(r);
    seen[view.seen_count++] = (struct meta_seen){meta_node_of_self(r), true, r->began_ms};
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        view.seen_count += see(r, &r->peers[peer], &seen[view.seen_count]);
    }
    view.servers = bytes_of(servers, group_servers(s, STORE_META, servers));
    meta_decide(&r->decision, &r->state, &view, &r->limits);
    act_on(s, &r->decision);
    welcome(s);
}
