/* SPDX-License-Identifier: Apache-2.0 */
/* drain: how far it has come; and to have main begin one, as SIGTERM does. */
#include "broker/drain.h"

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/counters.h"
#include "broker/node.h"

static const char *const phases[] = {[DRAIN_NONE] = "none",
                                     [DRAIN_WAITING] = "waiting",
                                     [DRAIN_LEAVING] = "leaving",
                                     [DRAIN_OVER] = "over"};

static struct api_answer answer_drain(const struct node *node, unsigned status)
{
    const int phase = atomic_load_explicit(&node->drain, memory_order_relaxed);
    return answer_json(status,
                       json_pack("{s:b, s:s, s:I}", "wanted", (int)atomic_load(&node->drain_wanted),
                                 "phase", phases[phase], "clients",
                                 (json_int_t)counters_now(&node->clients)));
}

struct api_answer drain_get(struct api_request *r)
{
    return answer_drain(r->node, 200);
}

struct api_answer drain_post(struct api_request *r)
{
    atomic_store(&r->node->drain_wanted, true);
    node_wake_main(r->node);
    return answer_drain(r->node, 202);
}
