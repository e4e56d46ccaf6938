/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/api.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include <microhttpd.h>

#include "broker/admin/api/backups.h"
#include "broker/admin/api/percent.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/admin/keyring.h"
#include "broker/config/config.h"
#include "broker/log/log.h"
#include "broker/node.h"

#define VERSION_PREFIX "/api/v1"

struct route {
    const char *method, *path;
    enum key_role role;
    api_fn *handler;
    const char *query;
};

static const struct route routes[] = {
#define ROUTE(method, path, role, handler, query) {#method, path, KEY_##role, handler, query},
#include "broker/admin/api/tbl/route.h"
};

#define ROUTES (sizeof routes / sizeof routes[0])

bool api_open(struct api *api, struct node *node, const struct config *config, struct keyring *keys)
{
    *api = (struct api){.node = node, .keys = keys, .start_s = time(NULL)};
    api->ban_file = strdup(config->auth.ban_file);
    api->backups = backups_create(config);
    return api->ban_file != NULL && api->backups != NULL &&
           getrandom(&api->run, sizeof api->run, 0) == (ssize_t)sizeof api->run;
}

void api_close(struct api *api)
{
    backups_destroy(api->backups);
    api->backups = NULL;
    free(api->ban_file);
    api->ban_file = NULL;
}

/* ---- who asks */

static struct in6_addr address_of(struct MHD_Connection *c)
{
    struct in6_addr address = IN6ADDR_ANY_INIT;
    const union MHD_ConnectionInfo *const info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL || info->client_addr == NULL) {
        return address;
    }
    if (info->client_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, info->client_addr, sizeof v6);
        return v6.sin6_addr;
    }
    struct sockaddr_in v4;
    memcpy(&v4, info->client_addr, sizeof v4);
    address.s6_addr[10] = address.s6_addr[11] = 0xff;
    memcpy(&address.s6_addr[12], &v4.sin_addr, sizeof v4.sin_addr);
    return address;
}

static void log_refused(const char *what, const struct in6_addr *address)
{
    char text[INET6_ADDRSTRLEN];
    log_event(LOG_WARNING, "api_refused", LOG_TEXT("reason", what),
              LOG_TEXT("address", inet_ntop(AF_INET6, address, text, sizeof text)));
}

/* Which of them is refused and why takes the same time: all keys are looked at. */
static bool is_let_in(struct api *api, struct MHD_Connection *c, struct key *key,
                      struct api_answer *refusal)
{
    const struct in6_addr address = address_of(c);
    const char *const authorization =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    switch (keyring_judge(api->keys, authorization, &address, api->node->clock_ms(), key)) {
    case KEYRING_RIGHT:
        return true;
    case KEYRING_CLOSED:
        *refusal = answer_problem(403, "the API is closed: admin.keys_file is not set (dunlin "
                                       "admin-key makes one)");
        return false;
    case KEYRING_NO_KEY:
        *refusal = answer_problem(401, "a key is needed: Authorization: Bearer KEY");
        return false;
    case KEYRING_WRONG:
        *refusal = answer_problem(401, "the key is none of admin.keys_file");
        log_refused("wrong key", &address);
        return false;
    case KEYRING_LIMITED:
        *refusal = answer_problem(429, "too many wrong keys came from this address of late");
        return false;
    }
    return false;
}

/* ---- what is asked for */

/* The parts of `path` that stand for each {} in `pattern`; false: it is not that path. */
static bool matches(const char *pattern, const char *path, struct bytes in_path[PATH_PARTS_MAX])
{
    unsigned parts = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '{') {
            const size_t len = strcspn(path, "/");
            if (len == 0) {
                return false;
            }
            assert(parts < PATH_PARTS_MAX);
            in_path[parts++] = bytes_of(path, len);
            path += len;
            pattern++; /* } */
        } else if (*path++ != *pattern) {
            return false;
        }
    }
    return *path == '\0';
}

/* NULL: *refusal says why. */
static const struct route *find(const char *method, const char *path,
                                struct bytes in_path[PATH_PARTS_MAX], struct api_answer *refusal)
{
    static const char *const all[] = {"DELETE", "GET", "POST", "PUT"};
    static _Thread_local char allow[32];
    const bool versioned = strncmp(path, VERSION_PREFIX, sizeof VERSION_PREFIX - 1) == 0;
    const char *const rest = path + (versioned ? sizeof VERSION_PREFIX - 1 : 0);
    const char *const asked = strcmp(method, "HEAD") == 0 ? "GET" : method;
    allow[0] = '\0';
    for (size_t i = 0; versioned && i < ROUTES; i++) {
        if (!matches(routes[i].path, rest, in_path)) {
            continue;
        }
        if (strcmp(routes[i].method, asked) == 0) {
            return &routes[i];
        }
        for (size_t m = 0; m < sizeof all / sizeof all[0]; m++) {
            if (strcmp(routes[i].method, all[m]) == 0) {
                strcat(allow, allow[0] == '\0' ? "" : ", ");
                strcat(allow, all[m]);
            }
        }
    }
    if (allow[0] == '\0') {
        *refusal = answer_problem(404, "there is no such path; /api/v1/openapi.yaml tells which "
                                       "there are");
        return NULL;
    }
    *refusal = answer_problem(405, "this path takes %s", allow);
    refusal->allow = allow;
    return NULL;
}

struct query_check {
    struct MHD_Connection *http;
    const struct route *route;
    char wrong[65]; /* "": nothing is */
};

/* MHD_KeyValueIterator. */
static enum MHD_Result check_parameter(void *context, enum MHD_ValueKind kind, const char *name,
                                       const char *value)
{
    struct query_check *const check = context;
    if (request_is_among(check->route->query, name) && value != NULL &&
        MHD_lookup_connection_value(check->http, kind, name) == value) {
        return MHD_YES;
    }
    strncpy(check->wrong, name, sizeof check->wrong - 1);
    return MHD_NO;
}

static bool has_fine_query(struct MHD_Connection *c, const struct route *route,
                           struct api_answer *refusal)
{
    struct query_check check = {.http = c, .route = route};
    (void)MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, check_parameter, &check);
    if (check.wrong[0] == '\0') {
        return true;
    }
    *refusal =
        answer_problem(400, "%s: it means nothing here, has no value, or is given twice%s%s",
                       check.wrong, route->query[0] == '\0' ? "" : "; there are: ", route->query);
    return false;
}

static bool take_place(struct api *api)
{
    if (atomic_fetch_add_explicit(&api->under_way, 1, memory_order_relaxed) < API_REQUESTS_MAX) {
        return true;
    }
    atomic_fetch_sub_explicit(&api->under_way, 1, memory_order_relaxed);
    return false;
}

static void leave_place(struct api_request *r)
{
    if (r->counted) {
        r->counted = false;
        atomic_fetch_sub_explicit(&r->api->under_way, 1, memory_order_relaxed);
    }
}

static bool is_allowed(struct api *api, struct MHD_Connection *c, const struct route *route,
                       const struct key *key, struct api_answer *refusal)
{
    if (key->role < route->role) {
        *refusal = answer_problem(403, "the key '%s' is %s; this needs one that is %s", key->name,
                                  key_role_name(key->role), key_role_name(route->role));
        return false;
    }
    if (!has_fine_query(c, route, refusal)) {
        return false;
    }
    if (!atomic_load_explicit(&api->node->serving, memory_order_acquire)) {
        *refusal = answer_problem(503, "the broker is starting: what is on disk is being read");
        return false;
    }
    return true;
}

/* Decodes what stands for each {}, in a copy of the path from the first of them on. */
static bool take_path(struct api_request *r, const struct bytes in_path[PATH_PARTS_MAX],
                      struct api_answer *refusal)
{
    if (in_path[0].at == NULL) {
        return true;
    }
    r->path = strdup((const char *)in_path[0].at);
    if (r->path == NULL) {
        *refusal = answer_json(500, NULL);
        return false;
    }
    for (unsigned i = 0; i < PATH_PARTS_MAX && in_path[i].at != NULL; i++) {
        char *const part = r->path + (in_path[i].at - in_path[0].at);
        part[in_path[i].len] = '\0'; /* where the slash was */
        if (!percent_decode(part, &r->in_path[i])) {
            *refusal = answer_problem(400, "the path has a %% that is not followed by two digits");
            return false;
        }
    }
    return true;
}

static struct api_request *let_in(struct api *api, struct MHD_Connection *c, const char *method,
                                  const char *path, struct api_answer *refusal)
{
    struct key key;
    struct bytes in_path[PATH_PARTS_MAX] = {{.at = NULL}};
    if (!is_let_in(api, c, &key, refusal)) {
        return NULL;
    }
    const struct route *const route = find(method, path, in_path, refusal);
    if (route == NULL || !is_allowed(api, c, route, &key, refusal)) {
        return NULL;
    }
    struct api_request *const r = calloc(1, sizeof *r);
    if (r == NULL) {
        *refusal = answer_json(500, NULL);
        return NULL;
    }
    r->api = api;
    r->node = api->node;
    r->http = c;
    r->route = route;
    r->key = key;
    r->counted = take_place(api);
    if (!r->counted) {
        *refusal = answer_problem(503, "%u requests are under way already", API_REQUESTS_MAX);
        api_forget(r);
        return NULL;
    }
    if (!take_path(r, in_path, refusal)) {
        api_forget(r);
        return NULL;
    }
    return r;
}

static void count(_Atomic uint64_t *total)
{
    atomic_fetch_add_explicit(total, 1, memory_order_relaxed);
}

static void count_refused(struct api *api, unsigned status)
{
    if (status == 401 || status == 403 || status == 429) {
        count(&api->node->api_denied);
    } else if (status == 503) {
        count(&api->node->api_busy);
    }
}

struct api_request *api_begin(struct api *api, struct MHD_Connection *c, const char *method,
                              const char *path, struct api_answer *refusal)
{
    struct api_request *const r = let_in(api, c, method, path, refusal);
    if (r == NULL) {
        count_refused(api, refusal->status);
    } else {
        count(&api->node->api_requests);
    }
    return r;
}

/* ---- the body, and the answer */

void api_body(struct api_request *r, const char *part, size_t len)
{
    if (r->body_len + len > API_BODY_BYTES_MAX) {
        r->body_too_large = true;
    }
    if (r->body_too_large || r->out_of_memory) {
        return;
    }
    char *const more = realloc(r->body, r->body_len + len + 1);
    if (more == NULL) {
        r->out_of_memory = true;
        return;
    }
    memcpy(more + r->body_len, part, len);
    r->body = more;
    r->body_len += len;
    r->body[r->body_len] = '\0';
}

static void log_changed(const struct api_request *r, unsigned status)
{
    log_event(LOG_INFO, "api_changed", LOG_TEXT("key", r->key.name),
              LOG_TEXT("method", r->route->method), LOG_TEXT("path", r->route->path),
              LOG_BYTES("what", r->in_path[0]), LOG_BYTES("which", r->in_path[1]),
              LOG_NUMBER("status", status));
}

struct api_answer api_end(struct api_request *r)
{
    struct api_answer answer;
    if (r->body_too_large) {
        answer = answer_problem(413, "the body has more than %u bytes", API_BODY_BYTES_MAX);
    } else if (r->out_of_memory) {
        answer = answer_json(500, NULL);
    } else {
        answer = r->route->handler(r);
    }
    count_refused(r->api, answer.status);
    if (r->route->role == KEY_ADMIN) {
        log_changed(r, answer.status);
    }
    leave_place(r);
    return answer;
}

void api_forget(struct api_request *r)
{
    if (r != NULL) {
        leave_place(r);
        free(r->path);
        free(r->body);
        free(r);
    }
}
