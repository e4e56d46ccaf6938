/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/admin.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "broker/admin/api/api.h"
#include "broker/admin/exposition.h"
#include "broker/admin/health.h"
#include "broker/config/file_text.h"
#include "broker/config/listen_url.h"
#include "broker/descriptor.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/patience.h"

#define LIVES_WITHIN_MS 1000u
#define PEM_BYTES_MAX   (1u << 20)
#define STACK_BYTES     (512u << 10) /* of a connection's thread */
#define REQUEST_BYTES   (256u << 10) /* of headers, for each connection: topics are long */
#define BEHIND_SHARDS   10           /* nice */
#define BACKLOG         16
#define STREAM_BYTES    8192u
#define TLS_PRIORITIES  "SECURE128:-VERS-TLS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

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
    return respond_text(c, MHD_HTTP_OK, "/metrics\n/livez\n/readyz\n/api/v1/openapi.yaml\n");
}

/* What may take a while does so behind the shards, where there are too few processors for all. It
 * is of this thread alone, which ends with the connection. */
static void step_back(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), BEHIND_SHARDS);
}

/* ---- the API */

static enum MHD_Result respond_json(struct MHD_Connection *c, const struct api_answer *answer)
{
    const bool problem = answer->status >= 400;
    char *const text = json_dumps(answer->json, JSON_COMPACT);
    if (text == NULL) {
        return MHD_NO;
    }
    struct MHD_Response *const response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return MHD_NO;
    }
    if (answer->status == MHD_HTTP_UNAUTHORIZED) {
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                                      "Bearer realm=\"dunlin\"");
    }
    if (answer->allow != NULL) {
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return respond(c, answer->status, problem ? "application/problem+json" : "application/json",
                   response);
}

/* MHD_ContentReaderCallback, and MHD_ContentReaderFreeCallback. */
static ssize_t read_stream(void *stream, uint64_t at, char *to, size_t max)
{
    static_assert(API_STREAM_ENDS == MHD_CONTENT_READER_END_OF_STREAM &&
                      API_STREAM_BREAKS == MHD_CONTENT_READER_END_WITH_ERROR,
                  "the library's");
    struct api_stream *const s = stream;
    (void)at;
    return s->read(s, to, max);
}

static void close_stream(void *stream)
{
    struct api_stream *const s = stream;
    s->close(s);
}

static enum MHD_Result respond_stream(struct MHD_Connection *c, const struct api_answer *answer)
{
    struct MHD_Response *const response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BYTES, read_stream, answer->stream, close_stream);
    if (response == NULL) {
        close_stream(answer->stream);
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return respond(c, answer->status, answer->type, response);
}

static enum MHD_Result respond_api(struct MHD_Connection *c, struct api_answer answer)
{
    if (answer.json != NULL) {
        const enum MHD_Result result = respond_json(c, &answer);
        json_decref(answer.json);
        return result;
    }
    if (answer.stream != NULL) {
        return respond_stream(c, &answer);
    }
    if (answer.bytes != NULL) {
        struct MHD_Response *const response =
            MHD_create_response_from_buffer(answer.bytes_len, answer.bytes, MHD_RESPMEM_MUST_FREE);
        if (response == NULL) {
            free(answer.bytes);
        }
        return respond(c, answer.status, answer.type, response);
    }
    if (answer.text != NULL) {
        return respond(c, answer.status, answer.type,
                       MHD_create_response_from_buffer(strlen(answer.text),
                                                       (void *)(uintptr_t)answer.text,
                                                       MHD_RESPMEM_PERSISTENT));
    }
    return respond_text(c, answer.status, "");
}

/* Of its three parts, whichever it is: the headers, a part of the body, the end of it. */
static enum MHD_Result on_api(struct admin *a, struct MHD_Connection *c, const char *path,
                              const char *method, const char *upload, size_t *upload_len,
                              struct api_request **request)
{
    if (*request == NULL) {
        struct api_answer refusal;
        step_back();
        *request = api_begin(&a->api, c, method, path, &refusal);
        return *request == NULL ? respond_api(c, refusal) : MHD_YES;
    }
    if (*upload_len > 0) {
        api_body(*request, upload, *upload_len);
        *upload_len = 0;
        return MHD_YES;
    }
    return respond_api(c, api_end(*request));
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
 * only the API wants: answered at once, the connection ends with the answer. */
/* NOLINTBEGIN(readability-non-const-parameter): the library has it so */
static enum MHD_Result on_request(void *admin, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *http_version, const char *upload,
                                  size_t *upload_len, void **request)
{
    struct admin *const a = admin;
    (void)http_version;
    if (strncmp(path, API_PREFIX, sizeof API_PREFIX - 1) == 0) {
        return on_api(a, c, path, method, upload, upload_len, (struct api_request **)request);
    }
    const struct resource *const resource = find(path);
    if (resource == NULL) {
        return respond_text(c, MHD_HTTP_NOT_FOUND,
                            "there are /metrics, /livez, /readyz and /api/v1\n");
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return respond_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    return resource->get(c, a->api.node);
}

/* MHD_RequestCompletedCallback. */
static void on_completed(void *admin, struct MHD_Connection *c, void **request,
                         enum MHD_RequestTerminationCode how)
{
    (void)admin, (void)c, (void)how;
    api_forget(*request);
    *request = NULL;
}

/* The API decodes for itself (api/percent.h). */
static size_t leave_encoded(void *context, struct MHD_Connection *c, char *text)
{
    (void)context, (void)c;
    return strlen(text);
}
/* NOLINTEND(readability-non-const-parameter) */

/* MHD's messages, of which few are for an operator. */
__attribute__((format(printf, 2, 0))) static void on_message(void *context, const char *format,
                                                             va_list args)
{
    char text[256];
    (void)context;
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    log_event(LOG_DEBUG, "admin_http", LOG_TEXT("message", text));
}

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
        return descriptor_drop(fd);
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

/* ---- the certificate */

static uint64_t files_stamp(const struct admin *a)
{
    return file_stamp_add(file_stamp_add(0, a->certificate_file), a->key_file);
}

static char *read_pem(const char *path)
{
    char *text;
    size_t len;
    const int error = file_text_read(path, PEM_BYTES_MAX, &text, &len);
    if (error != 0) {
        log_event(LOG_ERROR, "admin_certificate_refused", LOG_TEXT("file", path),
                  LOG_ERRNO("error", error));
        return NULL;
    }
    return text;
}

static void wipe(char *pem)
{
    if (pem != NULL) {
        explicit_bzero(pem, strlen(pem));
        free(pem);
    }
}

static void forget_files(struct admin *a)
{
    wipe(a->certificate);
    wipe(a->key);
    a->certificate = a->key = NULL;
}

static bool read_files(struct admin *a)
{
    a->certificate = read_pem(a->certificate_file);
    a->key = a->certificate == NULL ? NULL : read_pem(a->key_file);
    return a->key != NULL;
}

static bool name_files(struct admin *a, const struct config_admin *config)
{
    if (config->certificate[0] == '\0') {
        return true;
    }
    a->certificate_file = strdup(config->certificate);
    a->key_file = strdup(config->key);
    if (a->certificate_file == NULL || a->key_file == NULL) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "admin.certificate"));
        return false;
    }
    a->watch.loaded = a->watch.seen = files_stamp(a);
    return read_files(a);
}

/* ---- the daemon */

/* Each has a descriptor of its own of the socket, as it closes what it was given when it cannot be
 * started, too. */
static struct MHD_Daemon *run(struct admin *a)
{
    const int fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return NULL;
    }
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, a->certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, a->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    if (a->certificate == NULL) {
        tls[0].option = MHD_OPTION_END;
    } else {
        flags |= MHD_USE_TLS;
    }
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, a, MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, ADMIN_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, ADMIN_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)REQUEST_BYTES, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_encoded, NULL, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

static void log_not_run(const struct admin *a)
{
    if (a->certificate == NULL) {
        log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "admin"));
        return;
    }
    log_event(LOG_ERROR, "admin_certificate_refused", LOG_TEXT("file", a->certificate_file),
              LOG_TEXT("key", a->key_file),
              LOG_TEXT("error", "they are not PEM, or do not belong together"));
}

static bool start_daemon(struct admin *a, const char *address, const struct listen_url *where)
{
    a->fd = listen_on(where);
    if (a->fd < 0) {
        log_event(LOG_ERROR, "admin_listen_failed", LOG_TEXT("address", address),
                  LOG_ERRNO("error", errno));
        return false;
    }
    const unsigned port = port_of(a->fd);
    a->daemon = run(a);
    if (a->daemon == NULL) {
        log_not_run(a);
        close(a->fd);
        return false;
    }
    log_event(LOG_INFO, "admin_listening", LOG_TEXT("host", where->host), LOG_NUMBER("port", port),
              LOG_BOOL("tls", a->certificate != NULL));
    if (!where->loopback && a->certificate == NULL) {
        log_event(LOG_WARNING, "admin_without_tls",
                  LOG_TEXT("meaning", "who sees the network's traffic can read the API's keys"),
                  LOG_TEXT("remedy", "set admin.certificate and admin.key"));
    }
    return true;
}

bool admin_start(struct admin *a, struct node *node, const struct config *config)
{
    struct listen_url where;
    if (config->admin.listen[0] == '\0') {
        return true;
    }
    const char *const wrong = listen_address_parse(&where, config->admin.listen);
    assert(wrong == NULL); /* config_load() has tried */
    (void)wrong;
    if (!name_files(a, &config->admin) || !keyring_open(&a->keys, config->admin.keys_file)) {
        return false;
    }
    if (!api_open(&a->api, node, config, &a->keys)) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "admin"));
        return false;
    }
    return start_daemon(a, config->admin.listen, &where);
}

void admin_stop(struct admin *a)
{
    if (a->daemon != NULL) {
        MHD_stop_daemon(a->daemon);
        a->daemon = NULL;
        close(a->fd);
    }
    forget_files(a);
    free(a->certificate_file);
    free(a->key_file);
    a->certificate_file = a->key_file = NULL;
    keyring_close(&a->keys);
    api_close(&a->api);
}

/* ---- other files */

bool admin_is_needed(const struct admin *a)
{
    return keyring_is_needed(&a->keys) || a->certificate != NULL;
}

/* The library takes certificates at its start only: another daemon takes the socket over. */
static void renew(struct admin *a)
{
    struct admin fresh = {.certificate_file = a->certificate_file, .key_file = a->key_file};
    if (!read_files(&fresh)) {
        forget_files(&fresh);
        return;
    }
    struct MHD_Daemon *const former = a->daemon;
    char *const certificate = a->certificate, *const key = a->key;
    a->certificate = fresh.certificate;
    a->key = fresh.key;
    a->daemon = run(a);
    if (a->daemon == NULL) {
        log_not_run(a);
        a->daemon = former;
        fresh.certificate = a->certificate;
        fresh.key = a->key;
        a->certificate = certificate;
        a->key = key;
        forget_files(&fresh);
        return;
    }
    const int fd = MHD_quiesce_daemon(former); /* it would shut the socket down, for both */
    MHD_stop_daemon(former);
    close(fd);
    wipe(certificate);
    wipe(key);
    log_event(LOG_INFO, "admin_certificate_read", LOG_TEXT("file", a->certificate_file));
}

void admin_refresh(struct admin *a, bool all)
{
    if (a->daemon == NULL) {
        return;
    }
    keyring_refresh(&a->keys, all);
    if (a->certificate == NULL) {
        return;
    }
    const uint64_t stamp = files_stamp(a);
    const bool changed = file_watch_has_changed(&a->watch, stamp);
    if (changed || (all && stamp != a->watch.loaded)) {
        a->watch.loaded = stamp;
        renew(a);
    }
}

bool admin_has_banned(struct admin *a)
{
    return atomic_exchange_explicit(&a->api.bans_changed, false, memory_order_acquire);
}
