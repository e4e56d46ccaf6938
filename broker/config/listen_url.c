/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/listen_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define FORM "write it as tcp://HOST:PORT, for example tcp://127.0.0.1:1883"

static const struct {
    const char *prefix;
    bool unix_socket, tls, websocket;
} schemes[] = {
    {"tcp://", .tls = false},         {"tls://", .tls = true},
    {"ws://", .websocket = true},     {"wss://", .tls = true, .websocket = true},
    {"unix://", .unix_socket = true},
};

/* The text between two places, when it fits; false: it does not, or is empty. */
static bool copy(char *out, size_t out_bytes, const char *from, const char *end)
{
    const size_t len = (size_t)(end - from);
    if (len == 0 || len >= out_bytes) {
        return false;
    }
    memcpy(out, from, len);
    out[len] = '\0';
    return true;
}

bool listen_port_parse(const char *at, const char *end, uint16_t *port)
{
    unsigned sum = 0;
    if (at == end) {
        return false;
    }
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') {
            return false;
        }
        sum = sum * 10 + (unsigned)(*at - '0');
        if (sum > UINT16_MAX) {
            return false;
        }
    }
    *port = (uint16_t)sum;
    return true;
}

static bool fill_ipv6(struct listen_url *u)
{
    struct sockaddr_in6 *const in6 = (struct sockaddr_in6 *)&u->address;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(u->port);
    if (inet_pton(AF_INET6, u->host, &in6->sin6_addr) != 1) {
        return false;
    }
    u->address_len = sizeof *in6;
    u->loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
                  (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
    inet_ntop(AF_INET6, &in6->sin6_addr, u->host, sizeof u->host);
    return true;
}

static bool fill_ipv4(struct listen_url *u)
{
    struct sockaddr_in *const in = (struct sockaddr_in *)&u->address;
    in->sin_family = AF_INET;
    in->sin_port = htons(u->port);
    if (strcmp(u->host, "*") == 0) {
        strcpy(u->host, "0.0.0.0");
    } else if (strcmp(u->host, "localhost") == 0) {
        strcpy(u->host, "127.0.0.1");
    }
    if (inet_pton(AF_INET, u->host, &in->sin_addr) != 1) {
        return false;
    }
    u->address_len = sizeof *in;
    u->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    return true;
}

/* A path is sent as it stands in the first line of a request: nothing in it may need an escape. */
static bool is_request_path(const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "/-._~!$&'()*+,;=:@";
    return strspn(path, plain) == strlen(path);
}

static const char *parse_unix(struct listen_url *u, const char *path)
{
    struct sockaddr_un *const un = (struct sockaddr_un *)&u->address;
    if (path[0] != '/') {
        return "its path has to begin with a slash, as in unix:///run/dunlin/mqtt.sock";
    }
    if (strlen(path) >= sizeof un->sun_path) {
        return "its path is too long; the system takes 107 bytes";
    }
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, path);
    strcpy(u->path, path);
    u->address_len = sizeof *un;
    u->loopback = true;
    return NULL;
}

static const char *parse_network(struct listen_url *u, const char *host)
{
    const bool bracketed = host[0] == '[';
    const char *const host_end = host + strcspn(host, "/");
    const char *const second = bracketed ? NULL : memchr(host, ':', (size_t)(host_end - host));
    if (second != NULL && memchr(second + 1, ':', (size_t)(host_end - second - 1)) != NULL) {
        return "an IPv6 address stands in brackets, for example tcp://[::1]:1883";
    }
    const char *const end = bracketed ? strchr(host, ']') : host + strcspn(host, ":/");
    if (end == NULL || !copy(u->host, sizeof u->host, host + bracketed, end)) {
        return "its host is missing or too long; " FORM;
    }
    const char *const colon = end + bracketed;
    const char *const path = colon + strcspn(colon, "/");
    if (*colon != ':' || !listen_port_parse(colon + 1, path, &u->port)) {
        return "its port is not a number from 1 to 65535, or 0 for any that is free; " FORM;
    }
    if (*path != '\0' && !u->websocket) {
        return "only ws:// and wss:// have a path; " FORM;
    }
    if (strlen(path) >= sizeof u->path || !is_request_path(path)) {
        return "its path is too long, or has a character that would have to be escaped";
    }
    strcpy(u->path, path);
    if (bracketed ? !fill_ipv6(u) : !fill_ipv4(u)) {
        return "its host is not an IPv4 address, [an IPv6 address], localhost, or *; other names "
               "are not looked up";
    }
    return NULL;
}

const char *listen_url_parse(struct listen_url *out, const char *url)
{
    if (strstr(url, "://") == NULL) {
        return "it has no scheme; " FORM;
    }
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        const size_t len = strlen(schemes[i].prefix);
        if (strncmp(url, schemes[i].prefix, len) == 0) {
            struct listen_url u = {.unix_socket = schemes[i].unix_socket,
                                   .tls = schemes[i].tls,
                                   .websocket = schemes[i].websocket};
            const char *const wrong =
                u.unix_socket ? parse_unix(&u, url + len) : parse_network(&u, url + len);
            if (wrong == NULL) {
                *out = u;
            }
            return wrong;
        }
    }
    return "its scheme is not tcp, tls, ws, wss, or unix; " FORM;
}

const char *listen_address_parse(struct listen_url *out, const char *address)
{
    struct listen_url u = {.port = 0};
    if (parse_network(&u, address) != NULL) {
        return "is not HOST:PORT, where HOST is an IPv4 address, [an IPv6 address], localhost, or "
               "*";
    }
    *out = u;
    return NULL;
}

bool listen_url_is_wildcard(const struct listen_url *url)
{
    return strcmp(url->host, "0.0.0.0") == 0 || strcmp(url->host, "::") == 0;
}
