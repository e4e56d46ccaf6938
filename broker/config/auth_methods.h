/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth_methods: the ways to find out who a client is, in the order in which they are asked, as in
 * "certificate, password, http".
 *
 * Owner: the caller; nothing is kept.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/config/config.h"

#define AUTH_METHODS_ALL "certificate, token, password, http"

struct auth_methods {
    uint8_t count;
    uint8_t at[CONFIG_AUTH_METHODS]; /* enum config_auth_method, each once */
};

bool auth_methods_have(const struct auth_methods *a, enum config_auth_method method);

/* NULL: *out holds them; or what is wrong with the text. */
const char *auth_methods_parse(struct auth_methods *out, const char *text);

const char *auth_method_name(enum config_auth_method method);
