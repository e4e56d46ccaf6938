/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/callback.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "broker/auth/acl.h"
#include "broker/auth/acl_json.h"
#include "broker/auth/password_base64.h"
#include "proto/utf8.h"

/* ---- the question */

static bool add(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0; /* which is fine with NULL, and fails */
}

static json_t *base64_of(struct bytes bytes)
{
    const size_t size = PASSWORD_BASE64_TEXT(bytes.len);
    char *const text = malloc(size);
    if (text == NULL) {
        return NULL;
    }
    const size_t len = password_base64_encode(text, bytes, PASSWORD_BASE64_PADDED);
    json_t *const value = json_stringn(text, len);
    explicit_bzero(text, size);
    free(text);
    return value;
}

/* As `name`, or as `base64_name` if it is no text. */
static bool add_bytes(json_t *object, const char *name, const char *base64_name, struct bytes bytes)
{
    json_t *const text = json_stringn(bytes.len == 0 ? "" : (const char *)bytes.at, bytes.len);
    return text != NULL ? add(object, name, text) : add(object, base64_name, base64_of(bytes));
}

char *callback_question(const struct callback_client *client)
{
    char *text = NULL;
    json_t *const question = json_object();
    if (question == NULL) {
        return NULL;
    }
    bool ok = add_bytes(question, "client_id", "client_id_base64", client->client_id) &&
              add(question, "address", json_string(client->address)) &&
              add(question, "listener", json_string(client->listener)) &&
              add(question, "protocol_level", json_integer(client->protocol_level));
    if (client->has_uid) {
        ok = add(question, "uid", json_integer(client->uid)) && ok;
    }
    if (client->has_user_name) {
        ok = add_bytes(question, "user_name", "user_name_base64", client->user_name) && ok;
    }
    if (client->has_password) {
        ok = add_bytes(question, "password", "password_base64", client->password) && ok;
    }
    if (client->again) {
        ok = add(question, "again", json_true()) && ok;
    }
    if (ok) {
        text = json_dumps(question, JSON_COMPACT);
    }
    json_decref(question);
    return text;
}

/* ---- the answer */

static const char *read_result(struct callback_verdict *out, const json_t *value)
{
    static const struct {
        const char *word;
        enum callback_result result;
    } words[] = {{"allow", CALLBACK_ALLOW}, {"deny", CALLBACK_DENY}, {"ignore", CALLBACK_IGNORE}};
    const char *const word = json_string_value(value);
    for (size_t i = 0; word != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i].word) == 0) {
            out->result = words[i].result;
            return NULL;
        }
    }
    return "its result is not allow, deny, or ignore";
}

/* A user name of MQTT: UTF-8 without the character 0 (1.5.4). */
static const char *read_user(struct callback_verdict *out, const json_t *value)
{
    if (value == NULL) {
        return NULL;
    }
    const struct bytes name =
        bytes_of(json_string_value(value), json_is_string(value) ? json_string_length(value) : 0);
    if (name.len == 0 || name.len > sizeof out->user || !utf8_valid(name)) {
        return "its user_name is not a text of 1 to 256 bytes";
    }
    out->has_user = true;
    out->user_len = (uint16_t)name.len;
    memcpy(out->user, name.at, name.len);
    return NULL;
}

static const char *read_expiry(struct callback_verdict *out, const json_t *value)
{
    const json_int_t seconds = json_integer_value(value);
    if (value == NULL) {
        return NULL;
    }
    if (!json_is_integer(value) || seconds < 1 || seconds > UINT32_MAX) {
        return "its expires_in_s is not a number of seconds from 1 on";
    }
    out->expires_in_s = (uint32_t)seconds;
    return NULL;
}

/* Last, as nothing can be wrong afterwards: there is nobody to destroy them then. */
static const char *read_rules(struct callback_verdict *out, const json_t *value)
{
    const char *wrong = NULL;
    if (value != NULL) {
        out->acl = acl_json_read(value, &wrong);
    }
    return wrong;
}

/* What we do not know may well be a restriction, and is no answer then. */
static bool knows_all(json_t *answer)
{
    static const char *const known[] = {"result", "user_name", "expires_in_s", "acl"};
    size_t there = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        there += json_object_get(answer, known[i]) != NULL;
    }
    return there == json_object_size(answer);
}

static const char *read_all(struct callback_verdict *out, json_t *answer)
{
    const char *wrong = NULL;
    if (!json_is_object(answer)) {
        return "it is not a JSON object";
    }
    if (!knows_all(answer)) {
        return "it has a member that is none of result, user_name, expires_in_s, acl";
    }
    wrong = read_result(out, json_object_get(answer, "result"));
    wrong = wrong != NULL ? wrong : read_user(out, json_object_get(answer, "user_name"));
    wrong = wrong != NULL ? wrong : read_expiry(out, json_object_get(answer, "expires_in_s"));
    return wrong != NULL ? wrong : read_rules(out, json_object_get(answer, "acl"));
}

void callback_read(struct callback_verdict *out, struct bytes answer)
{
    json_error_t error;
    *out = (struct callback_verdict){.result = CALLBACK_UNCLEAR};
    json_t *const read =
        answer.len > CALLBACK_ANSWER_BYTES_MAX
            ? NULL
            : json_loadb((const char *)answer.at, answer.len, JSON_REJECT_DUPLICATES, &error);
    out->wrong = read_all(out, read);
    if (out->wrong != NULL) {
        out->result = CALLBACK_UNCLEAR;
    }
    json_decref(read);
}
