/* SPDX-License-Identifier: Apache-2.0 */
/* resources: the handlers that tbl/route.h names. Each has a thread, and may wait. */
#pragma once

#include "broker/admin/api/answer.h"

struct api_request;

typedef struct api_answer api_fn(struct api_request *r);

#define ROUTE(method, path, role, handler, query) api_fn handler;
#include "broker/admin/api/tbl/route.h"
