/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket: what a connection asks of its socket, and of what lies between the socket and MQTT, where
 * the socket may be another node's (`far`; broker/relay). The one place that knows which it is.
 *
 * Owner: the shard of the connection, but for what io.h says of io_send_at_once(). What is far has
 * no descriptor, and no transport. Functions are as in io.h and transport/transport.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "broker/conn/conn.h"
#include "broker/io/io.h"
#include "broker/relay/relay.h"
#include "broker/shard/shard.h"
#include "broker/transport/transport.h"

static inline void socket_receive_once(struct conn *c)
{
    if (c->far) {
        relay_receive(c, true);
    } else {
        io_receive_once(c->shard->io, &c->socket);
    }
}

static inline void socket_receive_start(struct conn *c)
{
    if (c->far) {
        relay_receive(c, false);
    } else {
        io_receive_start(c->shard->io, &c->socket);
    }
}

static inline void socket_receive_stop(struct conn *c)
{
    if (c->far) {
        relay_receive_stop(c);
    } else {
        io_receive_stop(c->shard->io, &c->socket);
    }
}

/* What wire_fill() gave; c->send_bytes says how much it is. sent() may find less there. */
static inline void socket_send(struct conn *c, const struct iovec *iov, unsigned n)
{
    if (c->far) {
        relay_send(c);
    } else {
        io_send(c->shard->io, &c->socket, iov, n);
    }
}

/* A visitor leaves what is far to the owner. */
static inline size_t socket_send_at_once(struct conn *c, const struct iovec *iov, unsigned n)
{
    return c->far ? 0 : io_send_at_once(c->shard->io, &c->socket, iov, n);
}

static inline void socket_shutdown_write(struct conn *c)
{
    if (c->far) {
        relay_shutdown_write(c);
    } else {
        io_shutdown_write(c->shard->io, &c->socket);
    }
}

static inline void socket_close(struct conn *c)
{
    if (c->far) {
        relay_hang_up(c);
    } else {
        io_close(c->shard->io, &c->socket);
    }
}

/* closed() was told. */
static inline bool socket_is_closed(const struct conn *c)
{
    return c->far ? relay_is_closed(c) : c->socket.fd < 0;
}

/* ---- who is at the other end, by its certificate */

static inline struct bytes socket_name(const struct conn *c, enum config_name_from from)
{
    return c->far ? relay_client_name(c, from) : transport_name(c->transport, from);
}

static inline struct bytes socket_common_name(const struct conn *c)
{
    return socket_name(c, CONFIG_FROM_COMMON_NAME);
}

/* Whether it is trusted still: of what is far, that is near's to see to. */
static inline enum tls_peer_cost socket_trust_cost(const struct conn *c)
{
    return c->far ? TLS_PEER_NOTHING : transport_trust_cost(c->transport);
}

NODISCARD static inline bool socket_is_trusted(const struct conn *c, const char **why)
{
    return c->far || transport_is_trusted(c->transport, why);
}
