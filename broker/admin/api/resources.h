/* SPDX-License-Identifier: Apache-2.0 */
/* resources: the handlers that tbl/route.h names. Each has a thread, and may wait. */
#pragma once

#include "broker/admin/api/answer.h"

struct api_request;

typedef struct api_answer api_fn(struct api_request *r);

/* What handlers share: a drain that is asked for, and how far it is. */
struct api_answer drain_begin_asked(struct api_request *r, bool for_good);

#define ROUTE(method, path, role, handler, query) api_fn handler;
#include "broker/admin/api/tbl/route.h"
