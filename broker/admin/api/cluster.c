/* SPDX-License-Identifier: Apache-2.0 */
/* cluster: the nodes, as this one sees them. */
#include <stdlib.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/counters.h"
#include "broker/gossip/gossiper.h"
#include "broker/node.h"

#define MEMBERS_MAX (MEMBERSHIP_MEMBERS_MAX + MEMBERSHIP_TOMBSTONES_MAX)

static const char *state_of(const struct member *m)
{
    static const char *const names[] = {[MEMBER_ALIVE] = "alive",
                                        [MEMBER_SUSPECT] = "suspect",
                                        [MEMBER_DEAD] = "dead",
                                        [MEMBER_LEFT] = "left"};
    return names[m->state];
}

static json_t *json_of(const struct member *m, uint64_t now_ms, bool self)
{
    char node[UUID_TEXT_BYTES], address[ADDRESS_TEXT_BYTES];
    uuid_print(node, m->node.bytes);
    node_address_print(address, &m->address);
    const struct node_load load = load_decode(bytes_of(m->data, m->data_len));
    const uint64_t since_s = now_ms > m->since_ms ? (now_ms - m->since_ms) / 1000 : 0;
    return json_pack(
        "{s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:b, s:b}", "name", answer_text(bytes_of(m->name, m->name_len)),
        "node", node, "state", state_of(m), "address", address, "generation",
        (json_int_t)m->incarnation.generation, "since_s", (json_int_t)since_s, "clients",
        load.known ? json_integer(load.clients) : json_null(), "admits_per_second",
        load.known && load.admits != LOAD_ANY ? json_integer(load.admits) : json_null(),
        "draining", (int)load.draining, "self", (int)self);
}

struct api_answer cluster_get(struct api_request *r)
{
    struct node *const node = r->node;
    if (!counters_may_look(node) || node->gossiper == NULL) {
        return answer_problem(409, "there is no cluster: cluster.listen is not set");
    }
    struct member *const members = calloc(MEMBERS_MAX, sizeof members[0]);
    if (members == NULL) {
        return answer_json(200, NULL);
    }
    json_t *const list = json_array();
    const size_t count = gossiper_members(node->gossiper, members, MEMBERS_MAX);
    const uint64_t now_ms = node->clock_ms();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_of(&members[i], now_ms, i == 0));
    }
    free(members);
    return answer_json(200,
                       json_pack("{s:b, s:o}", "joining",
                                 (int)atomic_load_explicit(&node->joining, memory_order_relaxed),
                                 "members", list));
}
