/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/admin.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "broker/admin/exposition.h"
#include "broker/admin/health.h"
#include "broker/config/listen_url.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/patience.h"

#define LIVES_WITHIN_MS 1000u
#define REQUEST_BYTES   16384u /* of headers, for each connection */
#define BACKLOG         16

/* ---- answers */

static enum MHD_Result respond(struct MHD_Connection *c, unsigned status, const char *type,
                               struct MHD_Response *response)
{
    if (response == NULL) {
        return MHD_NO; /* no memory: the connection is closed */
    }
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (result == MHD_YES) {
        result = MHD_queue_response(c, status, response);
    }
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *c, unsigned status, const char *text)
{
    /* It does not write through the pointer with that mode. */
    return respond(c, status, "text/plain; charset=utf-8",
                   MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                                   MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result get_metrics(struct MHD_Connection *c, const struct node *node)
{
    size_t len;
    const bool openmetrics = exposition_wants_openmetrics(
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
    char *const text = exposition_write(node, openmetrics, &len);
    if (text == NULL) {
        return MHD_NO;
    }
    struct MHD_Response *const response =
        MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
    }
    return respond(c, MHD_HTTP_OK, openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_PLAIN,
                   response);
}

static enum MHD_Result get_livez(struct MHD_Connection *c, const struct node *node)
{
    char text[HEALTH_TEXT_BYTES];
    const bool lives = health_lives(node, LIVES_WITHIN_MS, text);
    return respond_text(c, lives ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

static enum MHD_Result get_readyz(struct MHD_Connection *c, const struct node *node)
{
    char text[HEALTH_TEXT_BYTES];
    const bool ready = health_is_ready(node, text);
    return respond_text(c, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

static enum MHD_Result get_index(struct MHD_Connection *c, const struct node *node)
{
    (void)node;
    return respond_text(c, MHD_HTTP_OK, "/metrics\n/livez\n/readyz\n");
}

/* ---- requests */

static const struct resource {
    const char *path;
    enum MHD_Result (*get)(struct MHD_Connection *c, const struct node *node);
} resources[] = {
    {"/", get_index},
    {"/metrics", get_metrics},
    {"/livez", get_livez},
    {"/readyz", get_readyz},
};

static const struct resource *find(const char *path)
{
    for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++) {
        if (strcmp(resources[i].path, path) == 0) {
            return &resources[i];
        }
    }
    return NULL;
}

/* MHD_AccessHandlerCallback. Called for the headers, and again for what is behind them, which
 * nobody here wants: answered at once, the connection ends with the answer. */
/* NOLINTBEGIN(readability-non-const-parameter): the library has it so */
static enum MHD_Result on_request(void *node, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *http_version, const char *upload,
                                  size_t *upload_len, void **request)
{
    (void)http_version, (void)upload, (void)upload_len, (void)request;
    const struct resource *const resource = find(path);
    if (resource == NULL) {
        return respond_text(c, MHD_HTTP_NOT_FOUND, "there are /metrics, /livez and /readyz\n");
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return respond_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    return resource->get(c, node);
}
/* NOLINTEND(readability-non-const-parameter) */

/* ---- beginning and end */

static int listen_on(const struct listen_url *where)
{
    static const int on = 1;
    const int fd = socket(where->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        !patience_bind(fd, where) || listen(fd, BACKLOG) != 0) {
        const int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static unsigned port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } own = {0};
    socklen_t len = sizeof own;
    if (getsockname(fd, &own.any, &len) != 0) {
        return 0;
    }
    return ntohs(own.any.sa_family == AF_INET ? own.v4.sin_port : own.v6.sin6_port);
}

bool admin_start(struct admin *a, const struct node *node, const char *listen)
{
    if (listen[0] == '\0') {
        return true;
    }
    struct listen_url where;
    const char *const wrong = listen_address_parse(&where, listen);
    assert(wrong == NULL); /* config_load() has tried */
    (void)wrong;
    const int fd = listen_on(&where);
    if (fd < 0) {
        log_event(LOG_ERROR, "admin_listen_failed", LOG_TEXT("address", listen),
                  LOG_ERRNO("error", errno));
        return false;
    }
    const unsigned port = port_of(fd);
    a->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0, NULL, NULL, on_request,
        (void *)(uintptr_t)node, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        ADMIN_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, ADMIN_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES, MHD_OPTION_END);
    if (a->daemon == NULL) {
        log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "admin"));
        close(fd);
        return false;
    }
    log_event(LOG_INFO, "admin_listening", LOG_TEXT("host", where.host), LOG_NUMBER("port", port));
    return true;
}

void admin_stop(struct admin *a)
{
    if (a->daemon != NULL) {
        MHD_stop_daemon(a->daemon); /* the socket, too */
        a->daemon = NULL;
    }
}
