/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/auth_methods.h"

#include <stddef.h>
#include <string.h>

#include "broker/config/comma_list.h"
#include "proto/bytes.h"

static const char *const names[CONFIG_AUTH_METHODS] = {
    [CONFIG_AUTH_CERTIFICATE] = "certificate",
    [CONFIG_AUTH_PASSWORD] = "password",
    [CONFIG_AUTH_TOKEN] = "token",
    [CONFIG_AUTH_HTTP] = "http",
};

const char *auth_method_name(enum config_auth_method method)
{
    return names[method];
}

bool auth_methods_have(const struct auth_methods *a, enum config_auth_method method)
{
    return memchr(a->at, (int)method, a->count) != NULL;
}

static bool find(struct bytes word, uint8_t *method)
{
    for (*method = 0; *method < CONFIG_AUTH_METHODS; (*method)++) {
        if (bytes_equal(word, bytes_text(names[*method]))) {
            return true;
        }
    }
    return false;
}

const char *auth_methods_parse(struct auth_methods *out, const char *text)
{
    struct bytes word;
    *out = (struct auth_methods){.count = 0};
    while (comma_list_next(&text, &word)) {
        uint8_t method;
        if (!find(word, &method)) {
            return "has a word that is no method";
        }
        if (memchr(out->at, method, out->count) != NULL) {
            return "names a method twice";
        }
        out->at[out->count++] = method;
    }
    return out->count == 0 ? "names no method" : NULL;
}
