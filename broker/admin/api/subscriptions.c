/* SPDX-License-Identifier: Apache-2.0 */
/* subscriptions: of a client, to a filter, or those that a topic matches. */
#include <stdlib.h>
#include <string.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/admin/api/sessions.h"
#include "broker/node.h"
#include "broker/route/subscription_listing.h"
#include "proto/topic.h"
#include "proto/utf8.h"

struct asked {
    enum subscriptions_of of;
    struct bytes text;
};

static const struct {
    const char *name;
    enum subscriptions_of of;
} parameters[] = {{"client_id", OF_SESSION}, {"filter", OF_FILTER}, {"topic", OF_TOPIC}};

#define PARAMETERS (sizeof parameters / sizeof parameters[0])

/* NULL, or what it has to be. */
static const char *judge(const struct asked *a)
{
    struct bytes name, plain;
    if (a->text.len == 0 || a->text.len > UINT16_MAX || !utf8_valid(a->text)) {
        return "a text of 1 to 65535 bytes";
    }
    switch (a->of) {
    case OF_SESSION:
        return NULL;
    case OF_FILTER:
        return topic_is_share(a->text)
                   ? topic_share_parse(a->text, &name, &plain) ? NULL : "$share/NAME/FILTER"
               : topic_filter_valid(a->text) ? NULL
                                             : "a topic filter";
    case OF_TOPIC:
        return topic_name_valid(a->text) ? NULL : "a topic name, without a wildcard";
    }
    return NULL;
}

/* Its text is the caller's to free, if it is there. false: *problem. */
static bool take(struct api_request *r, struct asked *a, struct api_answer *problem)
{
    size_t which = PARAMETERS;
    for (size_t i = 0; i < PARAMETERS; i++) {
        if (request_has(r, parameters[i].name)) {
            if (which != PARAMETERS) {
                which = PARAMETERS;
                break;
            }
            which = i;
        }
    }
    if (which == PARAMETERS) {
        *problem = answer_problem(400, "one of client_id, filter and topic has to be given");
        return false;
    }
    a->of = parameters[which].of;
    const bool decoded = request_query(r, parameters[which].name, &a->text);
    const char *const wrong = decoded ? judge(a) : "percent-encoded";
    if (wrong != NULL) {
        *problem = answer_problem(400, "%s: it has to be %s", parameters[which].name, wrong);
    }
    return wrong == NULL;
}

static json_t *row_json(const struct subscription_row *row)
{
    return json_pack("{s:o, s:o, s:i, s:b, s:b, s:o, s:b}", "client_id",
                     answer_text(row_a(&row->row)), "filter", answer_text(row_b(&row->row)), "qos",
                     row->qos, "no_local", row->no_local, "retain_as_published",
                     row->retain_as_published, "identifier",
                     row->identifier == 0 ? json_null() : json_integer(row->identifier),
                     "connected", row->connected);
}

static bool append(const struct subscription_listing *l, json_t *items)
{
    size_t at = 0;
    const struct subscription_row *row;
    while ((row = rows_next(&l->rows, &at)) != NULL) {
        if (json_array_append_new(items, row_json(row)) != 0) {
            return false;
        }
    }
    return true;
}

/* What a shard has for the page; false: *problem. *next: where to go on. */
static bool ask_shard(struct api_request *r, const struct asked *a, uint32_t room, json_t *items,
                      struct page_place *next, struct api_answer *problem)
{
    struct subscription_listing *const l =
        subscription_listing_create(a->of, a->text, next->place, next->within, room);
    if (l == NULL) {
        *problem = answer_json(500, NULL);
        return false;
    }
    bool fine = request_ask(r, r->node->shards[next->shard], &l->errand, problem);
    if (fine && !append(l, items)) {
        *problem = answer_json(500, NULL);
        fine = false;
    }
    if (fine && l->ended) {
        *next = (struct page_place){.shard = next->shard + 1, .within = UINT64_MAX};
    } else if (fine) {
        next->place = l->place;
        next->within = l->within;
        next->full = true;
    }
    errand_put(&l->errand);
    return fine;
}

/* A session is of one shard. */
static bool is_over(const struct api_request *r, const struct asked *a,
                    const struct page_place *next, unsigned home)
{
    return next->shard >= r->node->shard_count || (a->of == OF_SESSION && next->shard > home);
}

static struct api_answer page(struct api_request *r, const struct asked *a)
{
    uint32_t limit;
    struct page_place next;
    struct api_answer problem;
    if (!request_page(r, &limit, &next, &problem)) {
        return problem;
    }
    const unsigned home = a->of == OF_SESSION ? sessions_home(r->node, a->text) : 0;
    if (!request_has(r, "cursor")) {
        next = (struct page_place){.shard = home, .within = UINT64_MAX};
    }
    json_t *const items = json_array();
    while (!is_over(r, a, &next, home) && !next.full && json_array_size(items) < limit) {
        const uint32_t room = limit - (uint32_t)json_array_size(items);
        if (!ask_shard(r, a, room, items, &next, &problem)) {
            json_decref(items);
            return problem;
        }
    }
    if (is_over(r, a, &next, home)) {
        next.shard = UINT32_MAX;
    }
    return answer_page(r, items, &next);
}

struct api_answer subscriptions_list(struct api_request *r)
{
    struct asked a = {.text = bytes_of(NULL, 0)};
    struct api_answer answer;
    if (take(r, &a, &answer)) {
        answer = page(r, &a);
    }
    free((char *)(uintptr_t)a.text.at);
    return answer;
}
