/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_json: an application message as JSON, and the other way.
 *
 * A payload, or correlation data, is a text where it is UTF-8, and base64 (RFC 4648, section 4)
 * under a name that says so otherwise.
 */
#pragma once

#include <jansson.h>

#include "broker/admin/api/answer.h"
#include "proto/nodiscard.h"

struct api_request;
struct message;

#define MESSAGE_JSON_PAYLOAD_MAX (1u << 20)

/* Topic, payload, QoS, properties; not when it expires. NULL: no memory. */
json_t *message_json(const struct message *m);

/* Members of an object that message_make() takes. */
#define MESSAGE_MEMBERS "topic payload payload_base64 qos retain expiry_s properties"

/* A reference; NULL: *problem says what is wrong with it. */
NODISCARD struct message *message_make(const struct api_request *r, const json_t *object,
                                       struct api_answer *problem);
