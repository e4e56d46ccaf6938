/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url: where the broker is: tcp://HOST:PORT, tls://, ws:// and wss:// with an optional path.
 * mqtt:// and mqtts:// are other words for tcp:// and tls://.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

struct url {
    bool is_tls;
    bool is_websocket;
    char host[256];
    char port[8];
    char path[256]; /* of a WebSocket; "/mqtt" by default */
    struct sockaddr_storage address;
    socklen_t address_len;
};

/* NULL, or why not. Looks the host up. */
const char *url_parse(struct url *url, const char *text);
