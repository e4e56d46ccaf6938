/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a server says of a client: a verdict comes of it, within its bounds; what is no
 * answer has a reason, and an answer has none. And any bytes as what a client says of itself: the
 * question is JSON that has it, byte for byte.
 */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/acl.h"
#include "broker/auth/callback.h"
#include "proto/utf8.h"
#include "tests/fuzz/fuzz.h"

static void answer(struct bytes text)
{
    struct callback_verdict v;
    callback_read(&v, text);
    assert((v.result == CALLBACK_UNCLEAR) == (v.wrong != NULL));
    assert(v.acl == NULL || v.result != CALLBACK_UNCLEAR);
    assert(v.user_len <= sizeof v.user);
    assert(!v.has_user || (v.user_len > 0 && utf8_valid(bytes_of(v.user, v.user_len))));
    acl_destroy(v.acl);
}

static void question(struct bytes said)
{
    const struct callback_client client = {.has_password = true,
                                           .password = said,
                                           .client_id = said,
                                           .address = "unix",
                                           .listener = "unix:///run/mqtt",
                                           .protocol_level = 5};
    char *const text = callback_question(&client);
    assert(text != NULL);
    json_t *const again = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    assert(json_is_object(again) && json_object_get(again, "user_name") == NULL);
    const json_t *const plain = json_object_get(again, "password");
    const json_t *const base64 = json_object_get(again, "password_base64");
    assert((plain == NULL) != (base64 == NULL));
    assert(plain == NULL || (json_string_length(plain) == said.len &&
                             memcmp(json_string_value(plain), said.at, said.len) == 0));
    assert(base64 == NULL || json_string_length(base64) == (said.len + 2) / 3 * 4);
    json_decref(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    answer(bytes_of(data, size));
    if (size > 0 && size < 65536) {
        question(bytes_of(data, size));
    }
    return 0;
}
