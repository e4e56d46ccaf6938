/* SPDX-License-Identifier: Apache-2.0 */
/* explain: why a client gets, or does not get, a message of a topic. */
#include <stdlib.h>
#include <string.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/admin/api/sessions.h"
#include "broker/explain/member.h"
#include "broker/explain/publisher.h"
#include "broker/explain/steps.h"
#include "broker/explain/subscriber.h"
#include "broker/node.h"
#include "proto/mqtt.h"
#include "proto/topic.h"
#include "proto/utf8.h"

/* ---- what is asked */

/* A text of the query, the caller's to free; not given: as it was. false: *problem. */
static bool take_text(struct api_request *r, const char *name, struct bytes *out,
                      struct api_answer *problem)
{
    if (!request_has(r, name)) {
        return true;
    }
    if (!request_query(r, name, out)) {
        *problem = answer_problem(400, "%s: it has to be percent-encoded", name);
        return false;
    }
    if (out->len == 0 || out->len > UINT16_MAX || !utf8_valid(*out)) {
        *problem = answer_problem(400, "%s: it has to be a text of 1 to 65535 bytes", name);
        return false;
    }
    return true;
}

static bool take_address(struct api_request *r, struct explain_question *q,
                         struct api_answer *problem)
{
    struct bytes text = bytes_of(NULL, 0);
    bool fine = take_text(r, "address", &text, problem);
    if (fine && text.at != NULL) {
        struct address_ranges ranges;
        fine = address_ranges_parse(&ranges, (const char *)text.at) == NULL && ranges.count == 1 &&
               ranges.all[0].bits == 128;
        if (fine) {
            q->address = ranges.all[0].address;
        } else {
            *problem = answer_problem(400, "address: it has to be an address, as 10.0.0.7");
        }
    }
    free((char *)(uintptr_t)text.at);
    return fine;
}

static bool take_retain(struct api_request *r, struct explain_question *q,
                        struct api_answer *problem)
{
    struct bytes text = bytes_of(NULL, 0);
    bool fine = take_text(r, "retain", &text, problem);
    if (fine && text.at != NULL) {
        q->message.retain = bytes_equal(text, bytes_text("true"));
        fine = q->message.retain || bytes_equal(text, bytes_text("false"));
        if (!fine) {
            *problem = answer_problem(400, "retain: it has to be true or false");
        }
    }
    free((char *)(uintptr_t)text.at);
    return fine;
}

static bool take_numbers(struct api_request *r, struct explain_question *q,
                         struct api_answer *problem)
{
    bool wrong = false;
    q->message.qos = (uint8_t)request_number(r, "qos", 1, 0, 2, &wrong);
    if (wrong) {
        *problem = answer_problem(400, "qos: it has to be 0, 1 or 2");
        return false;
    }
    q->message.payload_bytes = request_number(r, "size", 0, 0, MQTT_PACKET_BYTES_MAX, &wrong);
    if (wrong) {
        *problem = answer_problem(400, "size: it has to be a number of bytes up to %u",
                                  MQTT_PACKET_BYTES_MAX);
    }
    return !wrong;
}

static bool take_all(struct api_request *r, struct explain_question *q, struct api_answer *problem)
{
    if (!take_text(r, "topic", &q->topic, problem) ||
        !take_text(r, "client_id", &q->client_id, problem) ||
        !take_text(r, "publisher", &q->publisher, problem) || !take_address(r, q, problem) ||
        !take_retain(r, q, problem) || !take_numbers(r, q, problem)) {
        return false;
    }
    if (q->topic.at == NULL || !topic_name_valid(q->topic)) {
        *problem = answer_problem(400, "topic: it has to be a topic name, without a wildcard");
        return false;
    }
    if (q->client_id.at == NULL && q->publisher.at == NULL) {
        *problem = answer_problem(400, "client_id or publisher has to be given");
        return false;
    }
    return true;
}

/* ---- facts; each: false: *problem */

static bool ask_subscriber(struct api_request *r, const struct explain_question *q,
                           struct explain_facts *f, struct api_answer *problem)
{
    struct explain_subscriber *const x = explain_subscriber_create(q);
    if (x == NULL) {
        *problem = answer_json(500, NULL);
        return false;
    }
    struct shard *const s = r->node->shards[sessions_home(r->node, q->client_id)];
    const bool fine = request_ask(r, s, &x->errand, problem);
    if (fine) {
        f->client = x->found;
    }
    errand_put(&x->errand);
    return fine;
}

static bool ask_publisher(struct api_request *r, const struct explain_question *q,
                          struct explain_facts *f, struct api_answer *problem)
{
    struct explain_publishing *const x = explain_publishing_create(q, &f->client);
    if (x == NULL) {
        *problem = answer_json(500, NULL);
        return false;
    }
    const struct bytes whose = q->publisher.at != NULL ? q->publisher : q->client_id;
    struct shard *const s = r->node->shards[sessions_home(r->node, whose)];
    const bool fine = request_ask(r, s, &x->errand, problem);
    if (fine) {
        f->publisher = x->found;
        f->strategy = x->strategy;
        f->groups_kept = x->groups_kept;
        memcpy(f->groups, x->groups, sizeof f->groups);
    }
    errand_put(&x->errand);
    return fine;
}

static bool ask_member(struct api_request *r, struct explain_group *g, struct api_answer *problem)
{
    if (g->next == 0 || g->next_shard >= INDEX_PEER_FIRST) { /* it is another node's */
        return true;
    }
    struct explain_member *const x = explain_member_create(g->next);
    if (x == NULL) {
        *problem = answer_json(500, NULL);
        return false;
    }
    const bool fine = request_ask(r, r->node->shards[g->next_shard], &x->errand, problem);
    if (fine) {
        memcpy(g->next_client, x->client_id, sizeof g->next_client);
    }
    errand_put(&x->errand);
    return fine;
}

static bool ask_all(struct api_request *r, const struct explain_question *q,
                    struct explain_facts *f, struct api_answer *problem)
{
    f->message = q->message;
    if ((q->client_id.at != NULL && !ask_subscriber(r, q, f, problem)) ||
        !ask_publisher(r, q, f, problem)) {
        return false;
    }
    for (uint32_t i = 0; i < f->groups_kept; i++) {
        if (!ask_member(r, &f->groups[i], problem)) {
            return false;
        }
    }
    return true;
}

/* ---- the answer */

static const char *const verdicts[] = {
    [EXPLAIN_EFFECT_NONE] = "yes",
    [EXPLAIN_EFFECT_MAYBE] = "maybe",
    [EXPLAIN_EFFECT_LATER] = "later",
    [EXPLAIN_EFFECT_NO] = "no",
};

static const char *const effects[] = {
    [EXPLAIN_EFFECT_NONE] = "none",
    [EXPLAIN_EFFECT_MAYBE] = "maybe",
    [EXPLAIN_EFFECT_LATER] = "later",
    [EXPLAIN_EFFECT_NO] = "no",
};

struct telling {
    json_t *steps;
    bool failed; /* no memory */
};

static void append_step(void *context, const struct explain_step *step)
{
    struct telling *const t = context;
    json_t *const one =
        json_pack("{s:s, s:s, s:s, s:o}", "code", explain_code_text(step->code), "about",
                  step->about == EXPLAIN_PUBLISHER ? "publisher" : "client", "effect",
                  effects[step->effect], "says", answer_text(bytes_text(step->sentence)));
    t->failed = json_array_append_new(t->steps, one) != 0 || t->failed;
}

static struct api_answer tell(const struct explain_facts *f)
{
    struct telling t = {.steps = json_array()};
    const struct explain_verdict v = explain_steps(f, append_step, &t);
    if (t.failed) {
        json_decref(t.steps);
        return answer_json(500, NULL);
    }
    return answer_json(200, json_pack("{s:s, s:o, s:o}", "verdict", verdicts[v.effect], "reason",
                                      v.reason == EXPLAIN_CODES
                                          ? json_null()
                                          : json_string(explain_code_text(v.reason)),
                                      "steps", t.steps));
}

struct api_answer explain_get(struct api_request *r)
{
    struct explain_question q = {.address = IN6ADDR_ANY_INIT};
    struct api_answer answer;
    struct explain_facts *const f = calloc(1, sizeof *f); /* too much for a stack, perhaps */
    if (f == NULL) {
        return answer_json(500, NULL);
    }
    if (take_all(r, &q, &answer) && ask_all(r, &q, f, &answer)) {
        answer = tell(f);
    }
    free(f);
    free((char *)(uintptr_t)q.topic.at);
    free((char *)(uintptr_t)q.client_id.at);
    free((char *)(uintptr_t)q.publisher.at);
    return answer;
}
