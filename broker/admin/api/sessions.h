/* SPDX-License-Identifier: Apache-2.0 */
/* sessions: what the lists of sessions and of clients have in common. */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "broker/admin/api/answer.h"
#include "broker/conn/removal.h"
#include "broker/session/listing.h"

struct api_request;
struct node;

/* The shard that the client's session lives on. */
unsigned sessions_home(const struct node *node, struct bytes client_id);

/* One row as JSON; NULL: no memory. */
typedef json_t *row_fn(const struct api_request *r, const struct session_row *row);

/* A page of those that the query asks for (and that are in that state). */
struct api_answer sessions_page(struct api_request *r, enum listing_state state, row_fn *row);

/* The one of the path, which has to be connected if `connected`. */
struct api_answer sessions_one(struct api_request *r, bool connected, row_fn *row);

/* Ends it, or its connection. */
struct api_answer sessions_remove(struct api_request *r, enum removal_of of, const char *words);
