/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/binary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/password_base64.h"
#include "proto/utf8.h"

#define NAME_BYTES 64u

int binary_add(json_t *object, const char *name, struct bytes bytes)
{
    char coded[NAME_BYTES];
    if (utf8_valid(bytes)) {
        const char *const text = bytes.len == 0 ? "" : (const char *)bytes.at;
        return json_object_set_new(object, name, json_stringn(text, bytes.len));
    }
    char *const text = malloc(PASSWORD_BASE64_TEXT(bytes.len));
    if (text == NULL) {
        return -1;
    }
    snprintf(coded, sizeof coded, "%s_base64", name);
    const size_t len = password_base64_encode(text, bytes, PASSWORD_BASE64_PADDED);
    const int failed = json_object_set_new(object, coded, json_stringn_nocheck(text, len));
    free(text);
    return failed;
}

static const char *decode(struct bytes text, bool is_coded, struct bytes *out)
{
    uint8_t *const bytes = malloc(text.len + 1);
    size_t len = text.len;
    if (bytes == NULL) {
        return "there is no memory for it";
    }
    if (!is_coded) {
        memcpy(bytes, text.at, text.len);
    } else if (!password_base64_decode(bytes, text.len, &len, text, PASSWORD_BASE64_PADDED)) {
        free(bytes);
        return "payload_base64: it is no base64, with its padding";
    }
    *out = bytes_of(bytes, len);
    return NULL;
}

const char *binary_take(const json_t *object, const char *name, struct bytes *out)
{
    char coded_name[NAME_BYTES];
    snprintf(coded_name, sizeof coded_name, "%s_base64", name);
    const json_t *const plain = json_object_get(object, name);
    const json_t *const coded = json_object_get(object, coded_name);
    const json_t *const one = plain != NULL ? plain : coded;
    *out = bytes_of(NULL, 0);
    if (one == NULL) {
        return NULL;
    }
    if ((plain != NULL && coded != NULL) || !json_is_string(one)) {
        return "payload: it, or payload_base64, has to be one text";
    }
    return decode(bytes_of(json_string_value(one), json_string_length(one)), plain == NULL, out);
}
