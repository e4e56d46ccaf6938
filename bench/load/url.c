/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/url.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    bool is_tls, is_websocket;
    const char *port;
} schemes[] = {
    {"tcp://", false, false, "1883"}, {"mqtt://", false, false, "1883"},
    {"tls://", true, false, "8883"},  {"mqtts://", true, false, "8883"},
    {"ws://", false, true, "80"},     {"wss://", true, true, "443"},
};

static const char *look_up(struct url *url)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const int err = getaddrinfo(url->host, url->port, &hints, &found);
    if (err != 0) {
        return gai_strerror(err);
    }
    memcpy(&url->address, found->ai_addr, found->ai_addrlen);
    url->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return NULL;
}

/* Copies text[0..len) if it fits and is not empty. */
static bool take(char *out, size_t size, const char *text, size_t len)
{
    if (len == 0 || len >= size) {
        return false;
    }
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

static bool take_host_and_port(struct url *url, const char *text, size_t len)
{
    const char *host = text, *host_end = memchr(text, ':', len), *port = NULL;
    if (len > 0 && text[0] == '[') { /* an IPv6 address */
        host = text + 1;
        host_end = memchr(text, ']', len);
        if (host_end == NULL) {
            return false;
        }
        port = host_end + 1;
    } else {
        port = host_end;
    }
    const char *const end = text + len;
    if (!take(url->host, sizeof url->host, host,
              (size_t)((host_end != NULL ? host_end : end) - host))) {
        return false;
    }
    if (port == NULL || port == end) {
        return true;
    }
    return *port == ':' && take(url->port, sizeof url->port, port + 1, (size_t)(end - port - 1));
}

const char *url_parse(struct url *url, const char *text)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        const size_t len = strlen(schemes[i].name);
        if (strncmp(text, schemes[i].name, len) != 0) {
            continue;
        }
        *url = (struct url){.is_tls = schemes[i].is_tls, .is_websocket = schemes[i].is_websocket};
        snprintf(url->port, sizeof url->port, "%s", schemes[i].port);
        const char *const authority = text + len;
        const size_t authority_len = strcspn(authority, "/");
        const char *const path =
            authority[authority_len] != '\0' ? authority + authority_len : "/mqtt";
        if (!take(url->path, sizeof url->path, path, strlen(path)) ||
            !take_host_and_port(url, authority, authority_len)) {
            return "it is not SCHEME://HOST:PORT";
        }
        return look_up(url);
    }
    return "the scheme is none of tcp, tls, ws, wss";
}
