/* SPDX-License-Identifier: Apache-2.0 */
/* clients: those who are connected. */
#include <stdlib.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/admin/api/sessions.h"
#include "broker/node.h"
#include "broker/transport/listener.h"
#include "proto/utf8.h"

static const char *version_text(unsigned version)
{
    return version == MQTT_V5 ? "5.0" : version == MQTT_V311 ? "3.1.1" : "3.1";
}

static json_t *user_of(const struct session_row *row)
{
    return row->has_user ? answer_text(row_b(&row->row)) : json_null();
}

/* By which other node it comes. */
static json_t *node_of(const struct session_row *row)
{
    return row->far ? answer_text(bytes_of(row->node, row->node_len)) : json_null();
}

static json_t *client_json(const struct api_request *r, const struct session_row *row)
{
    return json_pack(
        "{s:o, s:o, s:s, s:i, s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "client_id",
        answer_text(row_a(&row->row)), "user", user_of(row), "address", row->address, "listener",
        row->listener, "node", node_of(row), "protocol", version_text(row->version), "connected_at",
        answer_time(request_unix_ms(r, row->since_ms)), "keep_alive_s",
        (json_int_t)row->keep_alive_ms / 1500, "receive_maximum", (json_int_t)row->receive_maximum,
        "packet_bytes_max", (json_int_t)row->packet_bytes_max, "unsent_bytes",
        (json_int_t)row->unsent_bytes, "in_flight", (json_int_t)row->in_flight, "queued_messages",
        (json_int_t)row->queued);
}

struct api_answer clients_list(struct api_request *r)
{
    return sessions_page(r, LISTING_CONNECTED, client_json);
}

struct api_answer client_get(struct api_request *r)
{
    return sessions_one(r, true, client_json);
}

struct api_answer client_kick(struct api_request *r)
{
    struct bytes words = bytes_of("", 0);
    char *text = NULL;
    if (request_has(r, "reason")) {
        if (!request_query(r, "reason", &words)) {
            return answer_problem(400, "reason: it has a %% that is not followed by two digits");
        }
        text = (char *)(uintptr_t)words.at;
    }
    const bool fine = words.len <= REMOVAL_WORDS_MAX && utf8_valid(words);
    const struct api_answer answer =
        fine ? sessions_remove(r, REMOVAL_OF_CONNECTION, (const char *)words.at)
             : answer_problem(400, "reason: it has more than %u bytes, or is no text",
                              REMOVAL_WORDS_MAX);
    free(text);
    return answer;
}
