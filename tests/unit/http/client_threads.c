/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client with several who ask at once, and a server of our own that answers, or does not. A
 * plain program, so that ThreadSanitizer can watch.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/http/client.h"

#define ASKERS 2u
#define TIMES  100u

static atomic_uint failures, connections;
static atomic_uint answered_ok, answered_stopped, answered_late;
static atomic_bool mute; /* the server reads, and says nothing */

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                             \
            atomic_fetch_add(&failures, 1);                                                        \
        }                                                                                          \
    } while (0)

/* ---- the server: a thread for each connection; a request ends with its body of two bytes */

static void *serve_one(void *at)
{
    static const char said[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nyes!";
    const int fd = *(const int *)at;
    char in[4096];
    size_t len = 0;
    free(at);
    for (ssize_t got; (got = read(fd, in + len, sizeof in - 1 - len)) > 0;) {
        len += (size_t)got;
        in[len] = '\0';
        if (len > 6 && strcmp(in + len - 6, "\r\n\r\n{}") == 0 && !atomic_load(&mute)) {
            CHECK(strstr(in, "Authorization: Bearer x\r\n") != NULL);
            CHECK(write(fd, said, strlen(said)) == (ssize_t)strlen(said));
            len = 0;
        }
    }
    close(fd);
    return NULL;
}

static void *serve(void *listening)
{
    for (int fd; (fd = accept(*(const int *)listening, NULL, NULL)) >= 0;) {
        pthread_t thread;
        int *const mine = malloc(sizeof fd);
        CHECK(mine != NULL);
        *mine = fd;
        atomic_fetch_add(&connections, 1);
        CHECK(pthread_create(&thread, NULL, serve_one, mine) == 0);
        pthread_detach(thread);
    }
    return NULL;
}

static uint16_t listen_somewhere(int *fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(*fd >= 0 && bind(*fd, (const struct sockaddr *)&at, len) == 0 && listen(*fd, 64) == 0);
    CHECK(getsockname(*fd, (struct sockaddr *)&at, &len) == 0);
    return ntohs(at.sin_port);
}

/* ---- the askers */

static void answered(struct http_request *r)
{
    CHECK(r->body == NULL); /* wiped */
    switch (r->err) {
    case HTTP_OK:
        CHECK(r->status == 200 && r->answer_len == 4 && strcmp(r->answer, "yes!") == 0);
        atomic_fetch_add(&answered_ok, 1);
        break;
    case HTTP_STOPPED:
        atomic_fetch_add(&answered_stopped, 1);
        break;
    default:
        CHECK(r->err == HTTP_TIMED_OUT);
        atomic_fetch_add(&answered_late, 1);
        break;
    }
    http_request_fini(r);
    free(r);
}

static bool ask_one(struct http_client *client)
{
    struct http_request *const r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    r->body = strdup("{}");
    r->body_len = 2;
    r->answered = answered;
    if (!http_client_ask(client, r)) {
        http_request_fini(r);
        free(r);
        return false;
    }
    return true;
}

static void *ask(void *client)
{
    for (unsigned i = 0; i < TIMES; i++) {
        CHECK(ask_one(client));
    }
    return NULL;
}

static void wait_for(atomic_uint *count, unsigned wanted)
{
    for (unsigned i = 0; i < 20000 && atomic_load(count) < wanted; i++) {
        usleep(1000);
    }
    CHECK(atomic_load(count) == wanted);
}

static struct http_client *start(uint16_t port, uint32_t timeout_ms, uint32_t waiting_max)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", port);
    const struct http_client_conf conf = {.url = url,
                                          .ca_file = "",
                                          .authorization = "Bearer x",
                                          .timeout_ms = timeout_ms,
                                          .in_flight_max = 3,
                                          .waiting_max = waiting_max,
                                          .answer_bytes_max = 4};
    struct http_client *const client = http_client_start(&conf);
    CHECK(client != NULL);
    return client;
}

/* All are answered, over as many connections as may be in flight. */
static void many_ask(uint16_t port)
{
    struct http_client *const client = start(port, 60000, ASKERS * TIMES);
    pthread_t threads[ASKERS];
    for (unsigned i = 0; i < ASKERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, ask, client) == 0);
    }
    for (unsigned i = 0; i < ASKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    wait_for(&answered_ok, ASKERS * TIMES);
    CHECK(http_client_load(client) == 0);
    CHECK(atomic_load(&connections) <= 3);
    http_client_stop(client);
    CHECK(!ask_one(client));
    http_client_destroy(client);
}

/* What waits and what is in flight is answered when it stops; above the bound nothing is taken. */
static void none_is_left(uint16_t port)
{
    struct http_client *const client = start(port, 60000, 5);
    unsigned taken = 0;
    atomic_store(&mute, true);
    for (unsigned i = 0; i < 100; i++) {
        taken += ask_one(client);
    }
    CHECK(taken >= 5 && taken <= 3 + 5);
    CHECK(http_client_load(client) == taken);
    http_client_stop(client);
    CHECK(atomic_load(&answered_stopped) == taken);
    http_client_destroy(client);
}

static void who_is_silent_is_given_up(uint16_t port)
{
    struct http_client *const client = start(port, 100, 5);
    CHECK(ask_one(client));
    wait_for(&answered_late, 1);
    http_client_stop(client);
    http_client_destroy(client);
}

int main(void)
{
    int fd;
    pthread_t server;
    const uint16_t port = listen_somewhere(&fd);
    CHECK(pthread_create(&server, NULL, serve, &fd) == 0);
    many_ask(port);
    none_is_left(port);
    who_is_silent_is_given_up(port);
    shutdown(fd, SHUT_RDWR);
    pthread_join(server, NULL);
    close(fd);
    return atomic_load(&failures) == 0 ? 0 : 1;
}
