/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/listen_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define FORM "write it as tcp://HOST:PORT, for example tcp://127.0.0.1:1883"

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

static bool parse_port(const char *at, uint16_t *port)
{
    unsigned sum = 0;
    if (*at == '\0') {
        return false;
    }
    for (; *at != '\0'; at++) {
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

const char *listen_url_parse(struct listen_url *out, const char *url)
{
    static const char scheme[] = "tcp://";
    if (strstr(url, "://") == NULL) {
        return "it has no scheme; " FORM;
    }
    if (strncmp(url, scheme, sizeof scheme - 1) != 0) {
        return "only the scheme tcp:// is supported; " FORM;
    }

    struct listen_url u = {0};
    const char *const host = url + sizeof scheme - 1;
    const bool bracketed = host[0] == '[';
    if (!bracketed && strchr(host, ':') != strrchr(host, ':')) {
        return "an IPv6 address stands in brackets, for example tcp://[::1]:1883";
    }
    const char *const end = bracketed ? strchr(host, ']') : strchrnul(host, ':');
    if (end == NULL || !copy(u.host, sizeof u.host, host + bracketed, end)) {
        return "its host is missing or too long; " FORM;
    }
    const char *const colon = end + bracketed;
    if (*colon != ':' || !parse_port(colon + 1, &u.port)) {
        return "its port is not a number from 1 to 65535, or 0 for any that is free; " FORM;
    }
    if (bracketed ? !fill_ipv6(&u) : !fill_ipv4(&u)) {
        return "its host is not an IPv4 address, [an IPv6 address], localhost, or *; other names "
               "are not looked up";
    }
    *out = u;
    return NULL;
}
