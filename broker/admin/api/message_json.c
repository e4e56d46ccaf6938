/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/message_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/admin/api/binary.h"
#include "broker/admin/api/request.h"
#include "broker/message.h"
#include "broker/node.h"
#include "proto/property.h"
#include "proto/topic.h"
#include "proto/utf8.h"

#define PROPERTIES_BYTES_MAX 65536u

/* ---- out */

static json_t *pair(const struct property *p)
{
    return json_pack("[o, o]", answer_text(p->string), answer_text(p->value));
}

/* Those that a message is passed on with (message.h). */
static int add_property(json_t *object, json_t *users, const struct property *p)
{
    switch (p->id) {
    case PROPERTY_PAYLOAD_FORMAT_INDICATOR:
        return json_object_set_new(object, "payload_format_indicator", json_integer(p->number));
    case PROPERTY_CONTENT_TYPE:
        return json_object_set_new(object, "content_type", answer_text(p->string));
    case PROPERTY_RESPONSE_TOPIC:
        return json_object_set_new(object, "response_topic", answer_text(p->string));
    case PROPERTY_CORRELATION_DATA:
        return binary_add(object, "correlation_data", p->string);
    case PROPERTY_USER_PROPERTY:
        return json_array_append_new(users, pair(p));
    default:
        return 0;
    }
}

static json_t *properties_json(const struct message *m)
{
    json_t *const object = json_object();
    json_t *const users = json_array();
    struct bytes rest = message_properties(m);
    struct property p;
    int failed = 0;
    while (property_next(&rest, &p)) {
        failed |= add_property(object, users, &p);
    }
    if (json_array_size(users) > 0) {
        failed |= json_object_set(object, "user_properties", users);
    }
    json_decref(users);
    if (failed != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *message_json(const struct message *m)
{
    json_t *const json =
        json_pack("{s:o, s:i, s:b, s:o}", "topic", answer_text(message_topic(m)), "qos", m->qos,
                  "retain", m->retain, "properties", properties_json(m));
    if (json != NULL && binary_add(json, "payload", message_payload(m)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* ---- in */

static struct bytes text_of(const json_t *text)
{
    return bytes_of(json_string_value(text), json_string_length(text));
}

/* Of at most 65,535 bytes, as MQTT has it. */
static bool is_text(const json_t *json)
{
    return json_is_string(json) && json_string_length(json) <= UINT16_MAX &&
           utf8_valid(text_of(json));
}

static const char *put_text(struct property_writer *w, enum property_id id, const json_t *text)
{
    if (text == NULL) {
        return NULL;
    }
    if (!is_text(text) || (id == PROPERTY_RESPONSE_TOPIC && !topic_name_valid(text_of(text)))) {
        return "properties: content_type is a text, response_topic a topic name";
    }
    property_put_string(w, id, text_of(text));
    return NULL;
}

static const char *put_users(struct property_writer *w, const json_t *users)
{
    static const char wrong[] = "properties: user_properties is a list of pairs of texts";
    if (users != NULL && !json_is_array(users)) {
        return wrong;
    }
    for (size_t i = 0; i < json_array_size(users); i++) {
        const json_t *const pair = json_array_get(users, i);
        const json_t *const name = json_array_get(pair, 0), *const value = json_array_get(pair, 1);
        if (json_array_size(pair) != 2 || !is_text(name) || !is_text(value)) {
            return wrong;
        }
        property_put_pair(w, text_of(name), text_of(value));
    }
    return NULL;
}

static const char *put_format(struct property_writer *w, const json_t *format)
{
    if (format == NULL) {
        return NULL;
    }
    const json_int_t value = json_integer_value(format);
    if (!json_is_integer(format) || value < 0 || value > 1) {
        return "properties: payload_format_indicator is 0 or 1";
    }
    property_put_number(w, PROPERTY_PAYLOAD_FORMAT_INDICATOR, (uint32_t)value);
    return NULL;
}

static const char *put_correlation(struct property_writer *w, const json_t *object)
{
    struct bytes data;
    const char *const wrong = binary_take(object, "correlation_data", &data);
    if (wrong != NULL) {
        return "properties: correlation_data is a text, or correlation_data_base64 is base64";
    }
    if (data.at != NULL && data.len <= UINT16_MAX) {
        property_put_string(w, PROPERTY_CORRELATION_DATA, data);
    }
    const bool too_long = data.len > UINT16_MAX;
    free((uint8_t *)(uintptr_t)data.at);
    return too_long ? "properties: correlation_data has more than 65535 bytes" : NULL;
}

static const char *put_all(struct property_writer *w, const json_t *object)
{
    static const char names[] = "payload_format_indicator content_type response_topic "
                                "correlation_data correlation_data_base64 user_properties";
    if (object == NULL) {
        return NULL;
    }
    if (!json_is_object(object)) {
        return "properties: it is no object";
    }
    for (void *i = json_object_iter((json_t *)(uintptr_t)object); i != NULL;
         i = json_object_iter_next((json_t *)(uintptr_t)object, i)) {
        if (!request_is_among(names, json_object_iter_key(i))) {
            return "properties: one of them is none that a message can have";
        }
    }
    const char *wrong = put_format(w, json_object_get(object, "payload_format_indicator"));
    if (wrong == NULL) {
        wrong = put_text(w, PROPERTY_CONTENT_TYPE, json_object_get(object, "content_type"));
    }
    if (wrong == NULL) {
        wrong = put_text(w, PROPERTY_RESPONSE_TOPIC, json_object_get(object, "response_topic"));
    }
    if (wrong == NULL) {
        wrong = put_correlation(w, object);
    }
    if (wrong == NULL) {
        wrong = put_users(w, json_object_get(object, "user_properties"));
    }
    return wrong != NULL ? wrong : w->overflow ? "properties: they have more than 64 KiB" : NULL;
}

/* What is not given is 0. */
static bool number_of(const json_t *object, const char *name, json_int_t most, json_int_t *number)
{
    const json_t *const json = json_object_get(object, name);
    *number = json_integer_value(json);
    return json == NULL || (json_is_integer(json) && *number >= 0 && *number <= most);
}

static const char *judge(const json_t *object, json_int_t *qos, json_int_t *expiry_s)
{
    const json_t *const topic = json_object_get(object, "topic");
    const json_t *const retain = json_object_get(object, "retain");
    if (!is_text(topic) || !topic_name_valid(text_of(topic)) || text_of(topic).at[0] == '$') {
        return "topic: it has to be a topic name, without wildcards, that does not begin with $";
    }
    if (retain != NULL && !json_is_boolean(retain)) {
        return "retain: it has to be true or false";
    }
    if (!number_of(object, "qos", 2, qos)) {
        return "qos: it has to be 0, 1 or 2";
    }
    if (!number_of(object, "expiry_s", UINT32_MAX, expiry_s)) {
        return "expiry_s: it has to be a number of seconds";
    }
    return NULL;
}

static struct message *make(const struct api_request *r, const json_t *object,
                            struct bytes properties, struct bytes payload, const char **wrong)
{
    json_int_t qos, expiry_s;
    *wrong = judge(object, &qos, &expiry_s);
    struct message *const m =
        *wrong != NULL
            ? NULL
            : message_create(text_of(json_object_get(object, "topic")), properties, payload);
    if (m != NULL) {
        m->qos = (uint8_t)qos;
        m->retain = json_is_true(json_object_get(object, "retain"));
        m->has_expiry = json_object_get(object, "expiry_s") != NULL;
        m->expires_ms = r->node->clock_ms() + (uint64_t)expiry_s * 1000;
    }
    return m;
}

struct message *message_make(const struct api_request *r, const json_t *object,
                             struct api_answer *problem)
{
    struct bytes payload = bytes_of(NULL, 0);
    struct property_writer w = {.at = malloc(PROPERTIES_BYTES_MAX), .size = PROPERTIES_BYTES_MAX};
    struct message *m = NULL;
    const char *wrong = w.at == NULL ? "properties: there is no memory for them"
                                     : put_all(&w, json_object_get(object, "properties"));
    if (wrong == NULL) {
        wrong = binary_take(object, "payload", &payload);
    }
    if (wrong == NULL) {
        m = make(r, object, bytes_of(w.at, w.len), payload, &wrong);
    }
    free(w.at);
    free((uint8_t *)(uintptr_t)payload.at);
    if (m == NULL) {
        *problem = wrong == NULL ? answer_json(500, NULL) : answer_problem(400, "%s", wrong);
    }
    return m;
}
