/* SPDX-License-Identifier: Apache-2.0 */
/* node: what it is, and for how long; and what it can be asked. */
#include <time.h>

#include "broker/admin/api/api.h"
#include "broker/admin/api/openapi.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/counters.h"
#include "broker/node.h"
#include "broker/transport/listener.h"
#include "broker/version.h"

static json_t *listeners_of(const struct node *node)
{
    json_t *const all = json_array();
    for (unsigned i = 0; i < node->listener_count; i++) {
        const struct listener *const l = &node->listeners[i];
        const int64_t connections = atomic_load_explicit(&l->connections, memory_order_relaxed);
        json_t *const one = json_pack("{s:i, s:s, s:I}", "listener", (int)i, "url", l->settings.url,
                                      "connections", (json_int_t)connections);
        if (json_array_append_new(all, one) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

struct api_answer node_get(struct api_request *r)
{
    struct node *const node = r->node;
    const int64_t start_s = r->api->start_s;
    json_t *const json =
        json_pack("{s:s, s:o, s:I, s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "version",
                  DUNLIN_VERSION, "started_at", answer_time(start_s * 1000), "uptime_s",
                  (json_int_t)(time(NULL) - start_s), "shards", (int)node->shard_count, "ending",
                  (int)atomic_load_explicit(&node->ending, memory_order_relaxed), "connections",
                  (json_int_t)counters_now(&node->connections), "clients",
                  (json_int_t)counters_now(&node->clients), "sessions",
                  (json_int_t)counters_now(&node->sessions), "retained",
                  (json_int_t)counters_now(&node->retained), "filters",
                  (json_int_t)index_filter_count(node->index), "listeners", listeners_of(node));
    return answer_json(200, json);
}

struct api_answer openapi_get(struct api_request *r)
{
    (void)r;
    return (struct api_answer){.status = 200, .text = openapi_text, .type = "application/yaml"};
}
