/* SPDX-License-Identifier: Apache-2.0 */
/* retained: messages that are kept for those who subscribe later. */
#include <stdlib.h>
#include <string.h>

#include "broker/admin/api/message_json.h"
#include "broker/admin/api/publish.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/message.h"
#include "broker/node.h"
#include "broker/route/index.h"
#include "broker/route/retained_listing.h"
#include "proto/topic.h"
#include "proto/utf8.h"

/* ---- a list; a cursor has the topic that the page before ended with */

static json_t *row_json(const struct api_request *r, const struct retained_row *row)
{
    return json_pack("{s:o, s:I, s:i, s:o}", "topic", answer_text(row_a(&row->row)),
                     "payload_bytes", (json_int_t)row->payload_len, "qos", row->qos, "expires_at",
                     row->has_expiry ? answer_time(request_unix_ms(r, row->expires_ms))
                                     : json_null());
}

static bool append(const struct api_request *r, const struct retained_listing *l, json_t *items)
{
    size_t at = 0;
    const struct retained_row *row;
    while ((row = rows_next(&l->rows, &at)) != NULL) {
        if (json_array_append_new(items, row_json(r, row)) != 0) {
            return false;
        }
    }
    return true;
}

struct place {
    uint32_t shard;
    bool full;
    size_t after_len;
    uint8_t after[RETAINED_TOPIC_BYTES];
};

static bool ask_shard(struct api_request *r, struct bytes filter, uint32_t room, json_t *items,
                      struct place *next, struct api_answer *problem)
{
    struct retained_listing *const l =
        retained_listing_create(filter, bytes_of(next->after, next->after_len), room);
    if (l == NULL) {
        *problem = answer_json(500, NULL);
        return false;
    }
    bool fine = request_ask(r, r->node->shards[next->shard], &l->errand, problem);
    if (fine && !append(r, l, items)) {
        *problem = answer_json(500, NULL);
        fine = false;
    }
    if (fine && l->ended) {
        next->shard++;
        next->after_len = 0;
    } else if (fine) {
        next->full = true;
        next->after_len = l->after_len;
        memcpy(next->after, l->after, l->after_len);
    }
    errand_put(&l->errand);
    return fine;
}

static bool begin(struct api_request *r, uint32_t *limit, struct place *next,
                  struct api_answer *problem)
{
    next->shard = 0;
    next->full = false;
    next->after_len = 0;
    return request_limit(r, limit, problem) &&
           request_text_cursor(r, &next->shard, next->after, sizeof next->after, &next->after_len,
                               problem);
}

static struct api_answer page(struct api_request *r, struct bytes filter, struct place *next)
{
    uint32_t limit;
    struct api_answer problem;
    if (!begin(r, &limit, next, &problem)) {
        return problem;
    }
    json_t *const items = json_array();
    while (next->shard < r->node->shard_count && !next->full && json_array_size(items) < limit) {
        const uint32_t room = limit - (uint32_t)json_array_size(items);
        if (!ask_shard(r, filter, room, items, next, &problem)) {
            json_decref(items);
            return problem;
        }
    }
    return answer_text_page(r, items, next->shard, bytes_of(next->after, next->after_len));
}

struct api_answer retained_list(struct api_request *r)
{
    struct bytes filter = bytes_text("#");
    char *text = NULL;
    if (request_has(r, "filter")) {
        if (!request_query(r, "filter", &filter)) {
            return answer_problem(400, "filter: it has to be percent-encoded");
        }
        text = (char *)(uintptr_t)filter.at;
    }
    struct place *const next = malloc(sizeof *next);
    const bool valid = filter.len <= UINT16_MAX && utf8_valid(filter) && topic_filter_valid(filter);
    const struct api_answer answer = next == NULL ? answer_json(500, NULL)
                                     : valid      ? page(r, filter, next)
                                             : answer_problem(400, "filter: it is no topic filter");
    free(next);
    free(text);
    return answer;
}

/* ---- one */

static bool is_topic(struct bytes topic)
{
    return topic.len <= UINT16_MAX && utf8_valid(topic) && topic_name_valid(topic);
}

static json_t *message_of(const struct api_request *r, const struct message *m)
{
    json_t *const json = message_json(m);
    json_t *const expires =
        m->has_expiry ? answer_time(request_unix_ms(r, m->expires_ms)) : json_null();
    if (json_object_set_new(json, "expires_at", expires) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

struct api_answer retained_get_one(struct api_request *r)
{
    struct api_answer answer;
    if (!is_topic(r->in_path[0])) {
        return answer_problem(400, "the path has no topic name in it");
    }
    struct retained_listing *const l = retained_listing_create_one(r->in_path[0]);
    if (l == NULL) {
        return answer_json(500, NULL);
    }
    struct shard *const s = r->node->shards[index_owner(r->node->index, r->in_path[0])];
    if (request_ask(r, s, &l->errand, &answer)) {
        answer = l->message == NULL ? answer_problem(404, "there is no such retained message")
                 : l->message->payload_len > MESSAGE_JSON_PAYLOAD_MAX
                     ? answer_problem(413,
                                      "its payload has %u bytes, and more than %u are not "
                                      "shown",
                                      l->message->payload_len, MESSAGE_JSON_PAYLOAD_MAX)
                     : answer_json(200, message_of(r, l->message));
    }
    errand_put(&l->errand);
    return answer;
}

struct api_answer retained_delete_one(struct api_request *r)
{
    if (!is_topic(r->in_path[0])) {
        return answer_problem(400, "the path has no topic name in it");
    }
    struct message *const m = message_create(r->in_path[0], bytes_of(NULL, 0), bytes_of(NULL, 0));
    if (m == NULL) {
        return answer_json(500, NULL);
    }
    m->retain = true;
    m->qos = 1;
    struct api_answer answer = publish_send(r, m, false);
    if (answer.status == 200) {
        json_decref(answer.json);
        return answer_nothing();
    }
    return answer;
}
