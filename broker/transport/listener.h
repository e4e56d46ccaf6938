/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener: what the connections of one listener have in common, as it was configured at the start.
 *
 * Owner: the main thread, which makes it before the shards run and unmakes it after. Shards read
 * it; what changes meanwhile is `tls_context`, written by main (release), read by shards (acquire):
 * what it was before goes when all of them have passed a quiescent point; and `connections`, which
 * all shards count (relaxed).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/config/address_ranges.h"
#include "broker/config/config.h"
#include "broker/config/listen_url.h"
#include "proto/nodiscard.h"

struct tls_context;

struct listener {
    struct config_listener settings; /* copies */
    struct listen_url url;
    bool proxy;                                /* connections begin with a PROXY header */
    struct address_ranges proxy_from;          /* from these only */
    _Atomic(struct tls_context *) tls_context; /* a reference; NULL unless url.tls */
    _Atomic int64_t connections;               /* accepted and not yet closed */
};

/* false: no memory. Its TLS context is for others to load. */
NODISCARD bool listener_init(struct listener *l, const struct config_listener *settings);
void listener_fini(struct listener *l); /* fine with zeros */

/* Has it that many connections more than it may have? A reload does not change what it may. */
static inline bool listener_is_over(const struct listener *l, int64_t by)
{
    const int64_t most = l->settings.connections_max;
    return most > 0 && atomic_load_explicit(&l->connections, memory_order_relaxed) > most + by;
}

/* Does something come before MQTT? */
static inline bool listener_has_layers(const struct listener *l)
{
    return l->proxy || l->url.tls || l->url.websocket;
}

/* What a client that offers protocols in TLS has to offer. */
const char *listener_alpn(const struct listener *l);
