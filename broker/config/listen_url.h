/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen_url: where to listen, and what is spoken there.
 *
 *   tcp://HOST:PORT            MQTT. HOST: IPv4, [IPv6], localhost (127.0.0.1), or * (all
 *                              addresses, IPv4); PORT: 1..65535, or 0 for any that is free
 *   tls://HOST:PORT            the same inside of TLS
 *   ws://HOST:PORT[/PATH]      MQTT inside of WebSocket; without a path any is taken
 *   wss://HOST:PORT[/PATH]     the same inside of TLS
 *   unix:///PATH               MQTT by a Unix socket
 *
 * Owner: the caller; a plain value. No name is looked up.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proto/nodiscard.h"

#define LISTEN_URL_PATH_BYTES sizeof(((struct sockaddr_un *)NULL)->sun_path)
#define LISTEN_URL_HOST_BYTES 46u /* INET6_ADDRSTRLEN */

struct listen_url {
    bool unix_socket;
    bool tls;
    bool websocket;
    bool loopback;                    /* only this machine can reach it */
    char host[LISTEN_URL_HOST_BYTES]; /* numeric, without brackets; "" of a Unix socket */
    uint16_t port;                    /* 0: any; or a Unix socket */
    char path[LISTEN_URL_PATH_BYTES]; /* of the Unix socket; or of WebSocket, "" for any */
    struct sockaddr_storage address;  /* for bind() */
    socklen_t address_len;
};

/* NULL: *out is written. Otherwise what is wrong and what would be right; a constant text. */
NODISCARD const char *listen_url_parse(struct listen_url *out, const char *url);

/* Of the text between two places: digits alone, 0 to 65535. */
NODISCARD bool listen_port_parse(const char *at, const char *end, uint16_t *port);

/* All addresses of the machine: nothing that could be told to others. */
bool listen_url_is_wildcard(const struct listen_url *url);

/* Of HOST:PORT alone, for what is no listener of clients. */
NODISCARD const char *listen_address_parse(struct listen_url *out, const char *address);
