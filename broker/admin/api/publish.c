/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/publish.h"

#include "broker/admin/api/message_json.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/node.h"
#include "broker/route/publication.h"

static struct api_answer answer_of(const struct publication *p)
{
    switch (p->result) {
    case PUBLICATION_DONE:
        return answer_json(200, json_pack("{s:I}", "matched", (json_int_t)p->matched));
    case PUBLICATION_CONGESTED:
        return answer_problem(503, "there is no room for messages at the moment");
    case PUBLICATION_NOT_STORED:
        return answer_problem(503, "it could not be retained: limits.retained_messages_max, or no "
                                   "room; nobody was sent it");
    case PUBLICATION_REFUSED:
        return answer_problem(503, "another node with subscribers for it refuses it; others may "
                                   "have been sent it");
    }
    return answer_json(500, NULL);
}

struct api_answer publish_send(struct api_request *r, struct message *message, bool route)
{
    struct api_answer answer;
    struct shard *const s = publication_shard(r->node, message);
    struct publication *const p = publication_create(message, route);
    if (p == NULL) {
        return answer_json(500, NULL);
    }
    if (request_ask(r, s, &p->errand, &answer)) {
        answer = answer_of(p);
    }
    errand_put(&p->errand);
    return answer;
}

struct api_answer publish_post(struct api_request *r)
{
    struct api_answer problem;
    json_t *const body = request_object(r, MESSAGE_MEMBERS, &problem);
    struct message *const m = body == NULL ? NULL : message_make(r, body, &problem);
    json_decref(body);
    return m == NULL ? problem : publish_send(r, m, true);
}
