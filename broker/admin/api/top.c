/* SPDX-License-Identifier: Apache-2.0 */
/* top: the busiest clients and topics, and the slowest subscribers. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/node.h"
#include "broker/route/busy_topics_listing.h"
#include "broker/session/busiest.h"

#define LIMIT_DEFAULT 10u

struct by {
    const char *name;
    int value;
};

/* The first one is what is meant where nothing is said. */
static const struct by of_clients[] = {{"messages", BUSIEST_MESSAGES},
                                       {"messages_in", BUSIEST_MESSAGES_IN},
                                       {"messages_out", BUSIEST_MESSAGES_OUT},
                                       {"bytes", BUSIEST_BYTES},
                                       {"bytes_in", BUSIEST_BYTES_IN},
                                       {"bytes_out", BUSIEST_BYTES_OUT},
                                       {NULL, 0}};
static const struct by of_subscribers[] = {
    {"queued", BUSIEST_QUEUED}, {"oldest", BUSIEST_OLDEST}, {"unsent", BUSIEST_UNSENT}, {NULL, 0}};
static const struct by of_topics[] = {
    {"messages", BUSY_BY_MESSAGES}, {"bytes", BUSY_BY_BYTES}, {NULL, 0}};

/* ---- what is asked for */

static const struct by *take_by(struct api_request *r, const struct by *rows,
                                struct api_answer *problem)
{
    struct bytes text;
    if (!request_has(r, "by")) {
        return rows;
    }
    if (request_query(r, "by", &text)) {
        const struct by *one = rows;
        while (one->name != NULL && !bytes_equal(text, bytes_text(one->name))) {
            one++;
        }
        free((char *)(uintptr_t)text.at);
        if (one->name != NULL) {
            return one;
        }
    }
    *problem = answer_problem(400, "by: it means nothing here; openapi.yaml has what there is");
    return NULL;
}

static bool take_limit(struct api_request *r, uint32_t *limit, struct api_answer *problem)
{
    bool wrong = false;
    *limit = request_number(r, "limit", LIMIT_DEFAULT, 1, BUSIEST_MAX, &wrong);
    if (wrong) {
        *problem = answer_problem(400, "limit: it has to be a number from 1 to %u", BUSIEST_MAX);
    }
    return !wrong;
}

/* Takes `items`; NULL: no memory. */
static struct api_answer answer_items(const char *by, json_t *items)
{
    return answer_json(200, json_pack("{s:s, s:o}", "by", by, "items", items));
}

/* ---- sessions */

struct found {
    struct busy_row *rows; /* owned; [shards * limit] */
    size_t count;
    bool is_stale; /* a shard was looked at long ago, or never */
};

static int compare_rows(const void *a, const void *b)
{
    const double x = ((const struct busy_row *)a)->key, y = ((const struct busy_row *)b)->key;
    return (x < y) - (x > y);
}

static bool ask_all(struct api_request *r, enum busiest_by by, uint32_t limit, struct found *found,
                    struct api_answer *problem)
{
    found->count = 0;
    found->is_stale = false;
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        struct busiest *const b = busiest_create(by, limit);
        if (b == NULL) {
            *problem = answer_json(500, NULL);
            return false;
        }
        const bool fine = request_ask(r, r->node->shards[i], &b->errand, problem);
        if (fine) {
            memcpy(&found->rows[found->count], b->rows, b->count * sizeof b->rows[0]);
            found->count += b->count;
            found->is_stale = found->is_stale || b->since_ms == 0 ||
                              b->since_ms + BUSIEST_STALE_MS < r->node->clock_ms();
        }
        errand_put(&b->errand);
        if (!fine) {
            return false;
        }
    }
    qsort(found->rows, found->count, sizeof found->rows[0], compare_rows);
    found->count = found->count < limit ? found->count : limit;
    return true;
}

static void wait_ms(unsigned ms)
{
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&wait, NULL);
}

typedef json_t *busy_row_fn(const struct busy_row *row);

static struct api_answer list(struct api_request *r, const struct by *rows, bool has_rates,
                              busy_row_fn *row_json)
{
    uint32_t limit;
    struct api_answer problem;
    const struct by *const by = take_by(r, rows, &problem);
    if (by == NULL || !take_limit(r, &limit, &problem)) {
        return problem;
    }
    struct found found = {.rows =
                              calloc((size_t)r->node->shard_count * limit, sizeof found.rows[0])};
    if (found.rows == NULL) {
        return answer_json(500, NULL);
    }
    bool fine = ask_all(r, (enum busiest_by)by->value, limit, &found, &problem);
    if (fine && has_rates && found.is_stale) { /* of the second that begins now */
        wait_ms(BUSIEST_LOOK_MS);
        fine = ask_all(r, (enum busiest_by)by->value, limit, &found, &problem);
    }
    json_t *const items = fine ? json_array() : NULL;
    for (size_t i = 0; fine && i < found.count; i++) {
        fine = json_array_append_new(items, row_json(&found.rows[i])) == 0;
        problem = answer_json(500, NULL);
    }
    free(found.rows);
    if (!fine) {
        json_decref(items);
        return problem;
    }
    return answer_items(by->name, items);
}

static json_t *rate(double per_s)
{
    return json_real((double)(int64_t)(per_s * 10 + 0.5) / 10);
}

static json_t *name_json(const struct busy_row *row)
{
    return answer_text(bytes_of(row->name, row->name_len));
}

static json_t *client_json(const struct busy_row *row)
{
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o}", "client_id", name_json(row), "address",
                     row->address, "messages_in_per_s", rate(row->per_s[FLOW_MESSAGES_IN]),
                     "messages_out_per_s", rate(row->per_s[FLOW_MESSAGES_OUT]), "bytes_in_per_s",
                     rate(row->per_s[FLOW_BYTES_IN]), "bytes_out_per_s",
                     rate(row->per_s[FLOW_BYTES_OUT]));
}

static json_t *subscriber_json(const struct busy_row *row)
{
    return json_pack(
        "{s:o, s:b, s:o, s:I, s:I, s:I, s:o, s:I}", "client_id", name_json(row), "connected",
        row->connected, "address", row->connected ? json_string(row->address) : json_null(),
        "queued_messages", (json_int_t)row->queued, "queued_bytes", (json_int_t)row->queued_bytes,
        "in_flight", (json_int_t)row->in_flight, "oldest_s",
        row->oldest_ms == UINT64_MAX ? json_null() : json_real((double)row->oldest_ms / 1000),
        "unsent_bytes", (json_int_t)row->unsent_bytes);
}

struct api_answer top_clients(struct api_request *r)
{
    return list(r, of_clients, true, client_json);
}

struct api_answer top_subscribers(struct api_request *r)
{
    return list(r, of_subscribers, false, subscriber_json);
}

/* ---- topics */

struct topics {
    struct busy_topic *all; /* owned; [shards * 2 * BUSY_TOPICS_MAX] */
    size_t count;
    uint64_t ms; /* of so long, at least: the shards begin windows at different times */
};

static int compare_names(const void *a, const void *b)
{
    const uint64_t x = ((const struct busy_topic *)a)->hash,
                   y = ((const struct busy_topic *)b)->hash;
    return (x > y) - (x < y);
}

static int compare_counts(const void *a, const void *b)
{
    const uint64_t x = ((const struct busy_topic *)a)->count,
                   y = ((const struct busy_topic *)b)->count;
    return (x < y) - (x > y);
}

static void take_sketch(struct topics *t, const struct busy_sketch *s)
{
    memcpy(&t->all[t->count], s->all, s->used * sizeof s->all[0]);
    t->count += s->used;
}

/* One of each, with what all shards and both windows have of it. */
static void sum_up(struct topics *t)
{
    size_t kept = 0;
    qsort(t->all, t->count, sizeof t->all[0], compare_names);
    for (size_t i = 0; i < t->count; i++) {
        const struct busy_topic *const one = &t->all[i];
        struct busy_topic *const last = kept == 0 ? NULL : &t->all[kept - 1];
        if (last != NULL && last->hash == one->hash && last->len == one->len) {
            last->count += one->count;
            last->error += one->error;
            last->other += one->other;
        } else {
            t->all[kept++] = *one;
        }
    }
    t->count = kept;
    qsort(t->all, t->count, sizeof t->all[0], compare_counts);
}

/* false: *problem. */
static bool ask_topics(struct api_request *r, enum busy_by by, struct topics *t,
                       struct api_answer *problem)
{
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        struct busy_topics_listing *const l = busy_topics_listing_create(by);
        if (l == NULL) {
            *problem = answer_json(500, NULL);
            return false;
        }
        const bool fine = request_ask(r, r->node->shards[i], &l->errand, problem);
        if (fine) {
            take_sketch(t, &l->sketches[0]);
            take_sketch(t, &l->sketches[1]);
            t->ms = l->ms > t->ms ? l->ms : t->ms;
        }
        errand_put(&l->errand);
        if (!fine) {
            return false;
        }
    }
    sum_up(t);
    return true;
}

static json_t *topic_json(const struct busy_topic *t, enum busy_by by, double s)
{
    const size_t len = t->len < BUSY_TOPIC_TEXT_MAX ? t->len : BUSY_TOPIC_TEXT_MAX;
    const bool by_bytes = by == BUSY_BY_BYTES;
    return json_pack("{s:o, s:o, s:o, s:o}", "topic", answer_text(bytes_of(t->text, len)),
                     "messages_per_s", rate((double)(by_bytes ? t->other : t->count) / s),
                     "payload_bytes_per_s", rate((double)(by_bytes ? t->count : t->other) / s),
                     "error_per_s", rate((double)t->error / s));
}

struct api_answer top_topics(struct api_request *r)
{
    uint32_t limit;
    struct api_answer problem;
    const struct by *const by = take_by(r, of_topics, &problem);
    if (by == NULL || !take_limit(r, &limit, &problem)) {
        return problem;
    }
    const size_t most = (size_t)r->node->shard_count * 2 * BUSY_TOPICS_MAX;
    struct topics t = {.all = calloc(most, sizeof t.all[0])};
    if (t.all == NULL) {
        return answer_json(500, NULL);
    }
    const enum busy_by which = (enum busy_by)by->value;
    json_t *items = NULL;
    bool fine = ask_topics(r, which, &t, &problem);
    if (fine) {
        const double s = (double)(t.ms > 1000 ? t.ms : 1000) / 1000;
        items = json_array();
        for (size_t i = 0; fine && i < t.count && i < limit; i++) {
            fine = json_array_append_new(items, topic_json(&t.all[i], which, s)) == 0;
            problem = answer_json(500, NULL);
        }
    }
    free(t.all);
    if (!fine) {
        json_decref(items);
        return problem;
    }
    return answer_items(by->name, items);
}
