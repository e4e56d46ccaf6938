/* SPDX-License-Identifier: Apache-2.0 */
/* publish: a message of the operator's. */
#pragma once

#include <stdbool.h>

#include "broker/admin/api/answer.h"

struct api_request;
struct message;

/* Takes the reference. 200 with how many filters matched, or a problem. route: to those who are
 * subscribed, and not only into what is retained. */
struct api_answer publish_send(struct api_request *r, struct message *message, bool route);
