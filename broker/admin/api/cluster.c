/* SPDX-License-Identifier: Apache-2.0 */
/* cluster: the nodes, as this one sees them; to look for more, to leave for good, and to forget
 * one. */
#include <inttypes.h>
#include <stdlib.h>

#include "broker/admin/api/replication.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/config/seeds.h"
#include "broker/counters.h"
#include "broker/gossip/gossiper.h"
#include "broker/node.h"
#include "broker/remote/remote.h"
#include "broker/replicated/replicated.h"

#define MEMBERS_MAX (MEMBERSHIP_MEMBERS_MAX + MEMBERSHIP_TOMBSTONES_MAX)

static const char *state_of(const struct member *m)
{
    static const char *const names[] = {[MEMBER_ALIVE] = "alive",
                                        [MEMBER_SUSPECT] = "suspect",
                                        [MEMBER_DEAD] = "dead",
                                        [MEMBER_LEFT] = "left"};
    return names[m->state];
}

typedef bool sum_fn(const struct node *node, struct node_uuid of, uint64_t *low, uint64_t *high);

/* null: it is not known what that one has. */
static json_t *digest_of(const struct node *node, struct node_uuid of, sum_fn *sum)
{
    uint64_t low, high;
    return sum(node, of, &low, &high) ? json_sprintf("%016" PRIx64 "%016" PRIx64, high, low)
                                      : json_null();
}

static bool own_retained(const struct node *node, struct node_uuid of, uint64_t *low,
                         uint64_t *high)
{
    (void)of;
    *low = replicated_gauge(node, REPLICATED_SUM_LOW);
    *high = replicated_gauge(node, REPLICATED_SUM_HIGH);
    return true;
}

static json_t *json_of(const struct node *node_here, const struct member *m, uint64_t now_ms,
                       bool self)
{
    json_t *const retained =
        digest_of(node_here, m->node, self ? own_retained : replicated_peer_sum);
    json_t *const interest = digest_of(node_here, m->node, remote_interest_sum);
    char node[UUID_TEXT_BYTES], address[ADDRESS_TEXT_BYTES];
    uuid_print(node, m->node.bytes);
    node_address_print(address, &m->address);
    const struct node_load load = load_decode(bytes_of(m->data, m->data_len));
    const uint64_t since_s = now_ms > m->since_ms ? (now_ms - m->since_ms) / 1000 : 0;
    return json_pack(
        "{s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:b, s:b, s:b, s:o, s:o}", "name",
        answer_text(bytes_of(m->name, m->name_len)), "node", node, "state", state_of(m), "address",
        address, "generation", (json_int_t)m->incarnation.generation, "since_s",
        (json_int_t)since_s, "clients", load.known ? json_integer(load.clients) : json_null(),
        "admits_per_second",
        load.known && load.admits != LOAD_ANY ? json_integer(load.admits) : json_null(), "draining",
        (int)load.draining, "for_good", (int)m->gone, "self", (int)self, "retained_digest",
        retained, "interest_digest", interest);
}

/* false: *problem says so. */
static bool has_cluster(const struct node *node, struct api_answer *problem)
{
    if (counters_may_look(node) && node->gossiper != NULL) {
        return true;
    }
    *problem = answer_problem(409, "there is no cluster: cluster.listen is not set");
    return false;
}

struct api_answer cluster_get(struct api_request *r)
{
    struct node *const node = r->node;
    struct api_answer problem;
    if (!has_cluster(node, &problem)) {
        return problem;
    }
    struct member *const members = calloc(MEMBERS_MAX, sizeof members[0]);
    if (members == NULL) {
        return answer_json(200, NULL);
    }
    json_t *const replication = replication_json(r, &problem);
    if (replication == NULL) {
        free(members);
        return problem;
    }
    json_t *const list = json_array();
    const size_t count = gossiper_members(node->gossiper, members, MEMBERS_MAX);
    const uint64_t now_ms = node->clock_ms();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_of(node, &members[i], now_ms, i == 0));
    }
    free(members);
    return answer_json(200,
                       json_pack("{s:b, s:o, s:o}", "joining",
                                 (int)atomic_load_explicit(&node->joining, memory_order_relaxed),
                                 "members", list, "replication", replication));
}

struct api_answer cluster_join(struct api_request *r)
{
    struct api_answer problem;
    struct seeds seeds;
    if (!has_cluster(r->node, &problem)) {
        return problem;
    }
    json_t *const body = request_object(r, "seeds", &problem);
    if (body == NULL) {
        return problem;
    }
    const char *const text = json_string_value(json_object_get(body, "seeds"));
    const char *wrong = text == NULL ? "it has to be a text, as in 10.0.0.7:4000,srv:NAME"
                                     : seeds_parse(&seeds, text);
    if (wrong == NULL && seeds.count == 0) {
        wrong = "it names none";
    }
    json_decref(body);
    if (wrong != NULL) {
        return answer_problem(400, "seeds: %s", wrong);
    }
    wrong = gossiper_join(r->node->gossiper, &seeds);
    return wrong == NULL ? cluster_get(r) : answer_problem(409, "%s", wrong);
}

struct api_answer cluster_leave_post(struct api_request *r)
{
    struct api_answer problem;
    return has_cluster(r->node, &problem) ? drain_begin_asked(r, true) : problem;
}

struct api_answer cluster_forget(struct api_request *r)
{
    struct api_answer problem;
    if (!has_cluster(r->node, &problem)) {
        return problem;
    }
    switch (gossiper_forget(r->node->gossiper, r->in_path[0])) {
    case GOSSIPER_IS_GONE:
        return answer_nothing();
    case GOSSIPER_LIVES:
        return answer_problem(409,
                              "it lives, as far as is known here: have it leave, or end it and "
                              "wait until it is called dead");
    case GOSSIPER_AMBIGUOUS:
        return answer_problem(409, "several dead nodes have that name: say which by its UUID");
    case GOSSIPER_UNKNOWN:
        break;
    }
    return answer_problem(404, "no such node");
}
