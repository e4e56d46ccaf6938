/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen_url: where to listen, as in tcp://127.0.0.1:1883.
 *
 *   tcp://HOST:PORT    HOST: IPv4, [IPv6], localhost (127.0.0.1), or * (all addresses, IPv4)
 *                      PORT: 1..65535, or 0 for any that is free
 *
 * Owner: the caller; a plain value. No name is looked up.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/nodiscard.h"

#define LISTEN_URL_HOST_BYTES 46u /* INET6_ADDRSTRLEN */

struct listen_url {
    char host[LISTEN_URL_HOST_BYTES]; /* numeric, without brackets */
    uint16_t port;                    /* 0: any */
    bool loopback;                    /* only this machine can reach it */
    struct sockaddr_storage address;  /* for bind() */
    socklen_t address_len;
};

/* NULL: *out is written. Otherwise what is wrong and what would be right; a constant text. */
NODISCARD const char *listen_url_parse(struct listen_url *out, const char *url);
