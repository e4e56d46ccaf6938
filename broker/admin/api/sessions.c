/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/sessions.h"

#include <stdlib.h>
#include <string.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/client_hash.h"
#include "broker/config/config.h"
#include "broker/node.h"

/* ---- what the query asks for */

struct asked {
    struct listing_filter filter;
    char *client_id, *user; /* owned */
};

static void asked_fini(struct asked *a)
{
    free(a->client_id);
    free(a->user);
}

static bool take_state(const char *text, enum listing_state *state)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return false;
    }
    *state = text[0] == 't' ? LISTING_CONNECTED : LISTING_AWAY;
    return true;
}

static bool take_address(const char *text, struct listing_filter *f)
{
    struct address_ranges ranges;
    if (address_ranges_parse(&ranges, text) != NULL || ranges.count != 1) {
        return false;
    }
    f->has_address = true;
    f->address = ranges.all[0];
    f->address.address = address_range_cut(f->address.address, f->address.bits);
    return true;
}

/* Of one that is there; NULL, or what it has to be. Its text is the caller's to free, or goes to
 * *a. */
static const char *take(struct asked *a, const char *name, struct bytes value)
{
    char *const text = (char *)(uintptr_t)value.at;
    if (strcmp(name, "client_id") == 0) {
        a->filter.client_id = value;
        a->client_id = text;
        return value.len <= LISTING_PATTERN_MAX ? NULL : "of 128 bytes at most";
    }
    if (strcmp(name, "user") == 0) {
        a->filter.user = value;
        a->user = text;
        return NULL;
    }
    const bool is_state = strcmp(name, "connected") == 0;
    const bool fine =
        is_state ? take_state(text, &a->filter.state) : take_address(text, &a->filter);
    free(text);
    return fine ? NULL : is_state ? "true or false" : "an address, or a range as in 10.0.0.0/8";
}

static bool take_all(struct api_request *r, struct asked *a, struct api_answer *problem)
{
    static const char *const names[] = {"client_id", "user", "connected", "address"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct bytes value;
        if (!request_has(r, names[i])) {
            continue;
        }
        const char *const wrong =
            request_query(r, names[i], &value) ? take(a, names[i], value) : "percent-encoded";
        if (wrong != NULL) {
            *problem = answer_problem(400, "%s: it has to be %s", names[i], wrong);
            return false;
        }
    }
    bool wrong = false;
    if (request_has(r, "listener")) {
        a->filter.listener = (int)request_number(r, "listener", 0, 0, CONFIG_LISTENERS_MAX, &wrong);
    }
    if (wrong) {
        *problem = answer_problem(400, "listener: it is no number of one; /api/v1/node has them");
    }
    return !wrong;
}

/* ---- pages */

static bool append(const struct api_request *r, const struct listing *l, row_fn *row, json_t *items)
{
    size_t at = 0;
    const struct session_row *one;
    while ((one = rows_next(&l->rows, &at)) != NULL) {
        if (json_array_append_new(items, row(r, one)) != 0) {
            return false;
        }
    }
    return true;
}

/* What a shard has for the page; false: *problem. *next: where to go on. */
static bool ask_shard(struct api_request *r, const struct listing_filter *filter, uint32_t limit,
                      row_fn *row, json_t *items, struct page_place *next,
                      struct api_answer *problem)
{
    const uint32_t room = limit - (uint32_t)json_array_size(items);
    struct listing *const l = listing_create(filter, next->place, room);
    if (l == NULL) {
        *problem = answer_json(500, NULL);
        return false;
    }
    bool fine = request_ask(r, r->node->shards[next->shard], &l->errand, problem);
    if (fine && !append(r, l, row, items)) {
        *problem = answer_json(500, NULL);
        fine = false;
    }
    if (fine && l->ended) {
        *next = (struct page_place){.shard = next->shard + 1};
    } else if (fine) {
        next->place = l->place;
        next->full = true;
    }
    errand_put(&l->errand);
    return fine;
}

static struct api_answer page(struct api_request *r, const struct listing_filter *filter,
                              row_fn *row)
{
    uint32_t limit;
    struct page_place next;
    struct api_answer problem;
    if (!request_page(r, &limit, &next, &problem)) {
        return problem;
    }
    json_t *const items = json_array();
    while (next.shard < r->node->shard_count && !next.full && json_array_size(items) < limit) {
        if (!ask_shard(r, filter, limit, row, items, &next, &problem)) {
            json_decref(items);
            return problem;
        }
    }
    return answer_page(r, items, &next);
}

struct api_answer sessions_page(struct api_request *r, enum listing_state state, row_fn *row)
{
    struct asked a = {.filter = {.state = state, .listener = -1}};
    struct api_answer answer;
    if (take_all(r, &a, &answer)) {
        answer = page(r, &a.filter, row);
    }
    asked_fini(&a);
    return answer;
}

/* ---- one */

unsigned sessions_home(const struct node *node, struct bytes client_id)
{
    return node_shard_of(node, client_hash_of(node, client_id));
}

static struct shard *shard_of(const struct api_request *r)
{
    return r->node->shards[sessions_home(r->node, r->in_path[0])];
}

struct api_answer sessions_one(struct api_request *r, bool connected, row_fn *row)
{
    struct api_answer answer;
    struct listing *const l = listing_create_one(r->in_path[0]);
    if (l == NULL) {
        return answer_json(500, NULL);
    }
    if (request_ask(r, shard_of(r), &l->errand, &answer)) {
        size_t at = 0;
        const struct session_row *const one = rows_next(&l->rows, &at);
        answer = one == NULL || (connected && !one->connected)
                     ? answer_problem(404, "there is no such %s", connected ? "client" : "session")
                     : answer_json(200, row(r, one));
    }
    errand_put(&l->errand);
    return answer;
}

struct api_answer sessions_remove(struct api_request *r, enum removal_of of, const char *words)
{
    struct api_answer answer;
    struct removal *const removal = removal_create(of, r->in_path[0], words);
    if (removal == NULL) {
        return answer_json(500, NULL);
    }
    if (request_ask(r, shard_of(r), &removal->errand, &answer)) {
        answer = removal->was_there
                     ? answer_nothing()
                     : answer_problem(404, "there is no such %s",
                                      of == REMOVAL_OF_SESSION ? "session" : "client");
    }
    errand_put(&removal->errand);
    return answer;
}

/* ---- sessions */

static json_t *session_json(const struct api_request *r, const struct session_row *row)
{
    const bool by_time = row->ends_ms != UINT64_MAX;
    return json_pack(
        "{s:o, s:b, s:o, s:o, s:b, s:b, s:I, s:I, s:I, s:I, s:I}", "client_id",
        answer_text(row_a(&row->row)), "connected", row->connected, "expiry_s",
        row->expiry_s == UINT32_MAX ? json_null() : json_integer(row->expiry_s), "expires_at",
        by_time ? answer_time(request_unix_ms(r, row->ends_ms)) : json_null(), "kept", row->kept,
        "has_will", row->has_will, "subscriptions", (json_int_t)row->subscriptions,
        "queued_messages", (json_int_t)row->queued, "queued_bytes", (json_int_t)row->queued_bytes,
        "in_flight", (json_int_t)row->in_flight, "unreleased", (json_int_t)row->unreleased);
}

struct api_answer sessions_list(struct api_request *r)
{
    return sessions_page(r, LISTING_ALL, session_json);
}

struct api_answer session_get(struct api_request *r)
{
    return sessions_one(r, false, session_json);
}

struct api_answer session_delete(struct api_request *r)
{
    return sessions_remove(r, REMOVAL_OF_SESSION, "");
}
