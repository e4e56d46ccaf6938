/* SPDX-License-Identifier: Apache-2.0 */
/* replication: what the cluster's members are, for GET /cluster. */
#pragma once

#include <jansson.h>

#include "broker/admin/api/answer.h"
#include "proto/nodiscard.h"

struct api_request;

/* null: sessions are not replicated. NULL: *problem says why. */
NODISCARD json_t *replication_json(struct api_request *r, struct api_answer *problem);
