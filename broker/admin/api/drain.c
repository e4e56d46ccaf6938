/* SPDX-License-Identifier: Apache-2.0 */
/* drain: how far it has come; to have main begin one, as SIGTERM does; and to have it stop. */
#include "broker/drain.h"

#include <string.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/counters.h"
#include "broker/departure.h"
#include "broker/node.h"

#define RATE_MAX 1000000

static const char *const phases[] = {[DRAIN_NONE] = "none",
                                     [DRAIN_WAITING] = "waiting",
                                     [DRAIN_LEAVING] = "leaving",
                                     [DRAIN_FLUSHING] = "flushing",
                                     [DRAIN_OVER] = "over"};

static struct api_answer answer_drain(const struct node *node, unsigned status)
{
    const int phase = atomic_load_explicit(&node->drain, memory_order_relaxed);
    const bool wanted = phase != DRAIN_NONE || atomic_load(&node->drain_wanted) == DRAIN_WANT_BEGIN;
    const uint32_t rate = atomic_load_explicit(&node->drain_per_second, memory_order_relaxed);
    const bool leaving = phase == DRAIN_LEAVING;
    return answer_json(status,
                       json_pack("{s:b, s:s, s:I, s:o, s:b}", "wanted", (int)wanted, "phase",
                                 phases[phase], "clients", (json_int_t)counters_now(&node->clients),
                                 "clients_per_second", leaving ? json_integer(rate) : json_null(),
                                 "for_good", (int)(wanted && atomic_load(&node->leave_for_good))));
}

struct api_answer drain_get(struct api_request *r)
{
    return answer_drain(r->node, 200);
}

/* Under way, or about to be: asked again changes nothing. */
static bool is_wanted(const struct node *node)
{
    return atomic_load(&node->drain) != DRAIN_NONE ||
           atomic_load(&node->drain_wanted) == DRAIN_WANT_BEGIN;
}

struct api_answer drain_begin_asked(struct api_request *r, bool for_good)
{
    struct api_answer problem;
    json_t *const body =
        r->body_len == 0 ? json_object() : request_object(r, "clients_per_second", &problem);
    if (body == NULL) {
        return problem;
    }
    const json_t *const rate = json_object_get(body, "clients_per_second");
    const json_int_t n = json_integer_value(rate);
    const bool fair = rate == NULL || (json_is_integer(rate) && n >= 1 && n <= RATE_MAX);
    json_decref(body);
    if (!fair) {
        return answer_problem(400, "clients_per_second: it has to be a number, 1 to 1000000");
    }
    if (is_wanted(r->node)) {
        return for_good && !atomic_load(&r->node->leave_for_good)
                   ? answer_problem(409, "a drain is under way already: stop it first")
                   : answer_drain(r->node, 202);
    }
    atomic_store(&r->node->leave_for_good, for_good);
    atomic_store(&r->node->drain_rate, (uint32_t)n);
    atomic_store(&r->node->drain_wanted, DRAIN_WANT_BEGIN);
    node_wake_main(r->node);
    return answer_drain(r->node, 202);
}

struct api_answer drain_post(struct api_request *r)
{
    return drain_begin_asked(r, false);
}

struct api_answer drain_delete(struct api_request *r)
{
    const int phase = atomic_load(&r->node->drain);
    if (phase == DRAIN_OVER || (phase != DRAIN_NONE && atomic_load(&r->node->drain_fixed))) {
        return answer_problem(409, "it cannot be stopped: a signal has begun it, or it is over");
    }
    atomic_store(&r->node->drain_wanted, DRAIN_WANT_STOP);
    node_wake_main(r->node);
    return answer_drain(r->node, 202);
}
