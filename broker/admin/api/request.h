/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request: one request of the API, as its handler sees it: what stands in its path, its query, and
 * its body.
 *
 * Owner: its thread. Memory: the body, API_BODY_BYTES_MAX at most, and what is decoded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "broker/admin/api/answer.h"
#include "broker/admin/key_file.h"
#include "broker/shard/errand.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct MHD_Connection;
struct api;
struct node;
struct route;
struct shard;

#define PATH_PARTS_MAX 2u

struct api_request {
    struct api *api;
    struct node *node;
    struct MHD_Connection *http;
    const struct route *route;
    struct key key;                       /* whose it is */
    char *path;                           /* owned; `in_path` points into it */
    struct bytes in_path[PATH_PARTS_MAX]; /* what stands for each {}; decoded; at NULL: none */
    char *body;                           /* owned, with a NUL behind it; NULL: there is none */
    size_t body_len;
    bool body_too_large, out_of_memory;
    bool counted; /* in api->under_way */
};

/* Is it one of the words, between which there is a blank? */
bool request_is_among(const char *words, const char *word);

bool request_has(const struct api_request *r, const char *name); /* in the query */

/* The value of that name in the query, decoded; false: it is not there, or is no text that is
 * percent-encoded. *out->at, with a NUL behind it, is the caller's to free. */
NODISCARD bool request_query(struct api_request *r, const char *name, struct bytes *out);

/* 0: it is not given, or a number below `least` or above `most`: *wrong is set then. */
uint32_t request_number(struct api_request *r, const char *name, uint32_t by_default,
                        uint32_t least, uint32_t most, bool *wrong);

/* The body, which has to be an object of those members (separated by blanks) and no others. NULL:
 * *problem says why. To be given back. */
NODISCARD json_t *request_object(struct api_request *r, const char *members,
                                 struct api_answer *problem);

/* ---- a list in pages: limit and cursor of the query */

#define PAGE_LIMIT_DEFAULT 100u
#define PAGE_LIMIT_MAX     1000u

/* Where a page begins: of the shard, at that place in it (and there). What they mean is the list's
 * affair. */
struct page_place {
    uint32_t shard;
    uint64_t place, within;
    bool full; /* the page ends here; not in a cursor */
};

/* Each: false: *problem says why. */
NODISCARD bool request_limit(struct api_request *r, uint32_t *limit, struct api_answer *problem);
NODISCARD bool request_page(struct api_request *r, uint32_t *limit, struct page_place *begin,
                            struct api_answer *problem);

/* {"items": […], "cursor": …}; the latter only if there is a next page. Takes `items`. */
struct api_answer answer_page(const struct api_request *r, json_t *items,
                              const struct page_place *next);

/* The same where a page begins behind a text. No cursor: nothing is written. */
NODISCARD bool request_text_cursor(struct api_request *r, uint32_t *shard, uint8_t *text,
                                   size_t text_max, size_t *len, struct api_answer *problem);
struct api_answer answer_text_page(const struct api_request *r, json_t *items, uint32_t shard,
                                   struct bytes text);

/* ---- shards */

/* ERRAND_ANSWERED, or *problem says why not. The errand stays the caller's to put. */
NODISCARD bool request_ask(struct api_request *r, struct shard *s, struct errand *e,
                           struct api_answer *problem);

int64_t request_unix_ms(const struct api_request *r, uint64_t clock_ms); /* of the shards' clock */
