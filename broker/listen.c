/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/config/listen_url.h"
#include "broker/descriptor.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/patience.h"
#include "broker/shard/shard.h"
#include "broker/transport/listener.h"
#include "broker/unix_socket.h"

#define BACKLOG 4096

static bool set(int fd, int level, int option)
{
    const int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

/* TCP_NODELAY is handed down to what is accepted: a broker sends whole packets, and Nagle's waiting
 * would only delay the last one. */
static bool set_options(int fd, int family)
{
    return family == AF_UNIX ||
           (set(fd, SOL_SOCKET, SO_REUSEADDR) && set(fd, SOL_SOCKET, SO_REUSEPORT) &&
            set(fd, IPPROTO_TCP, TCP_NODELAY) &&
            (family != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY)));
}

/* Before listen(), when nobody gets in yet. "": what the umask has left. */
static bool set_mode(const struct listener *l)
{
    const char *const mode = l->settings.unix_mode;
    return mode[0] == '\0' || chmod(l->url.path, (mode_t)strtoul(mode, NULL, 8)) == 0;
}

static int listening_socket(const struct listener *l)
{
    const struct listen_url *const url = &l->url;
    const int family = url->address.ss_family;
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    const bool ok = set_options(fd, family) &&
                    bind(fd, (const struct sockaddr *)&url->address, url->address_len) == 0 &&
                    set_mode(l) && listen(fd, BACKLOG) == 0;
    if (!ok) {
        return descriptor_drop(fd);
    }
    return fd;
}

/* Port 0 was asked for: the others bind to the port that the first one got. */
static bool take_port(struct listen_url *url, int fd)
{
    socklen_t len = sizeof url->address;
    if (getsockname(fd, (struct sockaddr *)&url->address, &len) != 0) {
        return false;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&url->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&url->address;
    url->port = ntohs(url->address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return true;
}

static bool becomes_free(const struct listen_url *url)
{
    /* SO_REUSEPORT would let two brokers of one user share a port, each with half of the clients.
     * Not listening here: a client that came just now would be let in, and thrown out. */
    const int fd = socket(url->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    const bool ok = set(fd, SOL_SOCKET, SO_REUSEADDR) &&
                    (url->address.ss_family != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
                    patience_bind(fd, url);
    (void)descriptor_drop(fd);
    return ok;
}

static bool open_network(struct listen_sockets *l, struct node *node, unsigned number)
{
    struct listener *const listener = &node->listeners[number];
    if (!becomes_free(&listener->url)) {
        return false;
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        const int fd = listening_socket(listener);
        if (fd < 0 || (i == 0 && !take_port(&listener->url, fd))) {
            return false;
        }
        l->fds[l->count++] = fd;
        shard_listen(node->shards[i], number, fd);
    }
    return true;
}

/* A path is one socket: all shards accept on it. */
static bool open_unix(struct listen_sockets *l, struct node *node, unsigned number)
{
    const struct listener *const listener = &node->listeners[number];
    struct patience patience = {0};
    while (!unix_make_way((const struct sockaddr_un *)&listener->url.address)) {
        if (!patience_waits(&patience)) {
            return false;
        }
    }
    const int fd = listening_socket(listener);
    if (fd < 0) {
        return false;
    }
    l->fds[l->count++] = fd;
    for (unsigned i = 0; i < node->shard_count; i++) {
        shard_listen(node->shards[i], number, fd);
    }
    return true;
}

static bool open_one(struct listen_sockets *l, struct node *node, unsigned number)
{
    return node->listeners[number].url.unix_socket ? open_unix(l, node, number)
                                                   : open_network(l, node, number);
}

static const char *remedy(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "another process listens there: end it, or choose another port with --listen";
    case EEXIST:
        return "there is a file of that name that is no socket: choose another path";
    default:
        return "check the address or path, and the right to use it";
    }
}

/* Not to the world, unless it is known who comes, or that is not wanted to be known. */
static bool may_be_open(const struct listener *l, const struct config *config)
{
    return l->url.loopback || config->allow_anonymous || config->auth.password_file[0] != '\0' ||
           config->token.keys_file[0] != '\0' || config->token.keys_url[0] != '\0' ||
           config->http.url[0] != '\0' ||
           l->settings.client_certificate == CONFIG_CLIENT_REQUIRED ||
           l->settings.user_from != CONFIG_FROM_NONE;
}

bool listen_open(struct listen_sockets *l, struct node *node, const struct config *config)
{
    *l = (struct listen_sockets){0};
    l->fds = calloc((size_t)config->listeners_count * node->shard_count, sizeof *l->fds);
    if (l->fds == NULL) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "listeners"));
        return false;
    }
    for (unsigned i = 0; i < config->listeners_count; i++) {
        struct listener *const listener = &node->listeners[node->listener_count];
        if (!listener_init(listener, &config->listeners[i])) {
            log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", config->listeners[i].url));
            return false;
        }
        const struct listen_url *const url = &listener->url;
        const char *const text = listener->settings.url;
        if (!may_be_open(listener, config)) {
            log_event(
                LOG_WARNING, "listener_left_out", LOG_TEXT("url", text),
                LOG_TEXT("reason", "anyone could connect: nothing tells who a client is"),
                LOG_TEXT("remedy",
                         "set auth.password_file, token.keys_file, token.keys_url or http.url, "
                         "require client "
                         "certificates, or set allow_anonymous: true if that is what you want"));
            listener_fini(listener);
            continue;
        }
        node->listener_count++;
        if (!open_one(l, node, node->listener_count - 1)) {
            const int error = errno;
            log_event(LOG_ERROR, "listen_failed", LOG_TEXT("url", text), LOG_ERRNO("error", error),
                      LOG_TEXT("remedy", remedy(error)));
            return false;
        }
        log_event(LOG_INFO, "listening", LOG_TEXT("url", text), LOG_TEXT("host", url->host),
                  LOG_NUMBER("port", url->port));
    }
    if (node->listener_count == 0) {
        log_event(
            LOG_ERROR, "no_listener",
            LOG_TEXT("remedy",
                     "add a loopback listener, set auth.password_file, "
                     "token.keys_file, token.keys_url or http.url, require client certificates, or "
                     "set allow_anonymous: true"));
    }
    return node->listener_count > 0;
}

/* To shut a listening socket down leaves it bound, if it was to a port by number. */
static void pause_one(int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0 || address.ss_family == AF_UNIX ||
        shutdown(fd, SHUT_RD) != 0) {
        return;
    }
    (void)bind(fd, (const struct sockaddr *)&address, len); /* EINVAL: it is */
}

void listen_pause(struct listen_sockets *l)
{
    for (unsigned i = 0; i < l->count && !l->paused; i++) {
        pause_one(l->fds[i]);
    }
    l->paused = true;
}

bool listen_resume(struct listen_sockets *l)
{
    bool ok = true;
    for (unsigned i = 0; i < l->count && l->paused; i++) {
        ok = listen(l->fds[i], BACKLOG) == 0 && ok;
    }
    l->paused = false;
    return ok;
}

void listen_close(struct listen_sockets *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        unix_unlink(l->fds[i]); /* while it is ours still */
        close(l->fds[i]);
    }
    free(l->fds);
    *l = (struct listen_sockets){0};
}
