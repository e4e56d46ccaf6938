/* SPDX-License-Identifier: Apache-2.0 */
/* partitions: of kept sessions, as this node has them; and who is a member of the cluster. */
#include <stdlib.h>

#include "broker/admin/api/replication.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/counters.h"
#include "broker/meta/listing.h"
#include "broker/node.h"

static bool may_ask(const struct api_request *r)
{
    return counters_may_look(r->node) && r->node->meta_run != NULL && r->node->partitions != NULL;
}

/* The caller's to errand_put(); NULL: *problem. */
static struct members_listing *ask_members(struct api_request *r, struct api_answer *problem)
{
    struct members_listing *const l = members_listing_create();
    if (l == NULL) {
        *problem = answer_json(500, NULL);
        return NULL;
    }
    if (!request_ask(r, r->node->shards[0], &l->errand, problem)) {
        errand_put(&l->errand);
        return NULL;
    }
    return l;
}

static json_t *number_or_null(uint64_t number)
{
    return number == 0 ? json_null() : json_integer((json_int_t)number);
}

/* null: nobody has that number, as far as is known here. */
static json_t *name_of(const struct meta_state *state, uint64_t number)
{
    const struct meta_member *const m = meta_member_of(state, (uint32_t)number);
    return m == NULL ? json_null() : answer_text(bytes_of(m->name, m->name_len));
}

static json_t *member_json(const struct meta_member *m)
{
    char node[UUID_TEXT_BYTES];
    uuid_print(node, m->uuid.bytes);
    return json_pack("{s:I, s:o, s:s, s:o, s:b}", "number", (json_int_t)m->number, "name",
                     answer_text(bytes_of(m->name, m->name_len)), "node", node, "zone",
                     answer_text(bytes_of(m->zone, m->zone_len)), "leaving",
                     (int)(m->state == META_LEAVING));
}

json_t *replication_json(struct api_request *r, struct api_answer *problem)
{
    if (!may_ask(r)) {
        return json_null();
    }
    struct members_listing *const l = ask_members(r, problem);
    if (l == NULL) {
        return NULL;
    }
    json_t *const members = json_array();
    for (unsigned i = 0; i < l->state.members_count; i++) {
        json_array_append_new(members, member_json(&l->state.members[i]));
    }
    json_t *const json =
        json_pack("{s:I, s:o, s:o, s:o, s:o}", "replicas",
                  (json_int_t)(l->state.replicas > 0 ? l->state.replicas : r->node->replicas),
                  "number", number_or_null(l->number), "leader", number_or_null(l->leader),
                  "leader_name", name_of(&l->state, l->leader), "members", members);
    errand_put(&l->errand);
    if (json == NULL) {
        *problem = answer_json(500, NULL);
    }
    return json;
}

static json_t *replicas_json(const struct node_replicas *replicas)
{
    json_t *const list = json_array();
    for (unsigned i = 0; i < replicas->count; i++) {
        json_array_append_new(list, json_integer((json_int_t)replicas->at[i]));
    }
    return list;
}

static json_t *row_json(const struct meta_state *meta, unsigned p, const struct partition_state *s)
{
    const struct meta_partition *const at = &meta->partitions[p];
    const bool is_here = s->role != PARTITION_ABSENT;
    const uint64_t lag = s->applied > s->checkpointed ? s->applied - s->checkpointed : 0;
    return json_pack(
        "{s:i, s:I, s:s, s:o, s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:b, s:o}", "partition", (int)p,
        "incarnation", (json_int_t)(is_here ? s->incarnation : at->incarnation), "role",
        partition_role_text(s->role), "leader", number_or_null(s->leader), "leader_name",
        name_of(meta, s->leader), "replicas", replicas_json(&at->replicas), "step",
        meta_step_text(at->step), "to", replicas_json(&at->to), "applied", (json_int_t)s->applied,
        "checkpointed", (json_int_t)s->checkpointed, "lag", (json_int_t)lag, "stands_still",
        (int)s->stands_still, "sessions",
        s->role == PARTITION_LEADS ? json_integer((json_int_t)s->sessions) : json_null());
}

/* false: *problem. */
static bool ask_all(struct api_request *r, struct partition_state *states,
                    struct api_answer *problem)
{
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        struct partitions_listing *const l = partitions_listing_create();
        if (l == NULL) {
            *problem = answer_json(500, NULL);
            return false;
        }
        const bool fine = request_ask(r, r->node->shards[i], &l->errand, problem);
        for (unsigned k = 0; fine && k < l->count; k++) {
            states[l->rows[k].partition] = l->rows[k].state;
        }
        errand_put(&l->errand);
        if (!fine) {
            return false;
        }
    }
    return true;
}

struct api_answer cluster_partitions(struct api_request *r)
{
    struct partition_state states[NODE_META_PARTITIONS] = {{.role = PARTITION_ABSENT}};
    struct api_answer problem;
    if (!may_ask(r)) {
        return answer_problem(409, "sessions are on one node each: cluster.replicas is 0");
    }
    struct members_listing *const l = ask_members(r, &problem);
    if (l == NULL) {
        return problem;
    }
    if (!ask_all(r, states, &problem)) {
        errand_put(&l->errand);
        return problem;
    }
    json_t *const items = json_array();
    const bool is_known = !cluster_uuid_is_none(l->state.cluster);
    for (unsigned p = 0; is_known && p < NODE_META_PARTITIONS; p++) {
        json_array_append_new(items, row_json(&l->state, p, &states[p]));
    }
    errand_put(&l->errand);
    return answer_json(200, json_pack("{s:o}", "items", items));
}
