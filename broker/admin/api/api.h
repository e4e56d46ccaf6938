/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api: /api/v1, what a person or a tool asks of the node and has it do, as JSON over HTTP
 * (docs/api.md, openapi.yaml). The routes are in tbl/route.h, each resource's functions in a file
 * of its own.
 *
 *   api_begin(): key, route, role ─ fine ─▶ api_body() … ─▶ api_end(): handler ─▶ answer
 *        └──────────── refused: the answer, before a body is read
 *
 * Each request has a thread, which may wait; what is a shard's is asked for by an errand
 * (shard/errand.h).
 *
 * Owner: struct api is the main thread's; a request is its thread's.
 * At the bound: API_REQUESTS_MAX at a time, from the key's judgement to the answer: further ones
 * get 503. A body has API_BODY_BYTES_MAX at most (413). A shard that has not answered within
 * API_SHARD_MS: 503.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/admin/api/answer.h"
#include "proto/nodiscard.h"

struct MHD_Connection;
struct api_request;
struct backups;
struct config;
struct keyring;
struct node;

#define API_PREFIX         "/api/"
#define API_REQUESTS_MAX   8u
#define API_BODY_BYTES_MAX (1u << 20)
#define API_SHARD_MS       2000u

struct api {
    struct node *node;
    struct keyring *keys;
    uint32_t run;            /* random: cursors of another run of the process are told from ours */
    int64_t start_s;         /* Unix time */
    char *ban_file;          /* owned; "": there is none */
    struct backups *backups; /* owned */
    _Atomic unsigned under_way;
    _Atomic bool bans_changed; /* by us (release); main reads the file and clears it (acquire) */
};

NODISCARD bool api_open(struct api *api, struct node *node, const struct config *config,
                        struct keyring *keys); /* false: no memory */
void api_close(struct api *api);               /* nobody asks any more; fine with zeros */

/* The headers have come; `path` as it was sent, with its percent signs. NULL: *refusal says why;
 * otherwise api_end() is to follow, or api_forget(). */
NODISCARD struct api_request *api_begin(struct api *api, struct MHD_Connection *c,
                                        const char *method, const char *path,
                                        struct api_answer *refusal);
void api_body(struct api_request *r, const char *part, size_t len);
struct api_answer api_end(struct api_request *r); /* once */
void api_forget(struct api_request *r);           /* frees it; NULL is fine */
