/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acl_json: a client's own rules, as a token or a server brings them:
 *
 *   [{"permission": "allow", "action": "all", "topic": ["a/${username}/#", "b"]},
 *    {"permission": "deny", "action": "publish", "topic": "c", "qos": [1, 2], "retain": true}]
 *
 * permission: "allow" or "deny". action: "publish", "subscribe", or "all"; left out: "all".
 * qos: a number or several; left out: all. retain: of PUBLISH, true or false; left out: either.
 * Other members are a mistake, as they may well be limits that we do not know.
 *
 * Any bytes are fair input. Memory: the list, which is the caller's to destroy (acl_destroy()).
 * At the bounds below: a mistake, told as any other; nothing is taken then.
 */
#pragma once

#include <jansson.h>

#include "broker/auth/acl.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* A rule for each topic; and bytes of all topics, or of the text that acl_json_parse() takes. */
#define ACL_JSON_RULES_MAX 1000u
#define ACL_JSON_BYTES_MAX 65536u

/* NULL: *wrong says why, a constant text with nothing of the input in it. An empty list is fine. */
NODISCARD struct acl *acl_json_read(const json_t *rules, const char **wrong);
NODISCARD struct acl *acl_json_parse(struct bytes text, const char **wrong);
