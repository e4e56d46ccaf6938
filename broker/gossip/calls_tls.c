/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls_tls: connections between nodes that are encrypted: whether one is, its handshake, and what
 * becomes of one that fails.
 *
 * A node says by membership whether it takes them. Who calls begins with TLS if both do, once both
 * have proved that they have the cluster's key: so no stranger gets as far as a certificate, and
 * handshakes are for nodes only. Who is called knows by the first bytes.
 */
#include <assert.h>
#include <string.h>

#include "broker/gossip/parts.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/transport/tls_pipe.h"

static const char *const takes_none = "that node takes none: its cluster.tls is off";

bool calls_may_cost(const struct gossiper *g, const struct tcp_conn *c)
{
    return g->conf.tls_context != NULL &&
           (c->kind == TCP_DIAL || c->kind == TCP_KNOCK || c->kind == TCP_GREETING);
}

/* ---- The log */

static struct node_uuid node_of(const struct gossiper *g, const struct tcp_conn *c)
{
    return c->kind == TCP_DIAL ? g->told[c->number].node : c->knock.dialer;
}

void calls_tls_tell(struct gossiper *g, const struct tcp_conn *c, const char *why)
{
    const struct node_uuid node = node_of(g, c);
    const unsigned number = peer_numbers_find(&g->numbers, node);
    const char **const told = &g->tls_told[number == PEER_NUMBERS_NONE ? PEERS_MAX : number];
    const bool is_known = *told == why;
    *told = why;
    if (why == NULL) {
        return;
    }
    g->figures.tls_failed++;
    if (is_known) {
        return;
    }
    char text[UUID_TEXT_BYTES], address[ADDRESS_TEXT_BYTES];
    const struct member *const m = membership_find(g->membership, node);
    uuid_print(text, node.bytes);
    node_address_print(address, &c->peer);
    log_event(LOG_WARNING, "link_tls_failed",
              LOG_BYTES("node", m == NULL ? bytes_text(text) : bytes_of(m->name, m->name_len)),
              LOG_TEXT("address", address),
              LOG_TEXT("called_by", c->kind == TCP_DIAL ? "this node" : "that node"),
              LOG_TEXT("reason", why));
}

/* ---- Whether */

bool calls_tls_agree(struct gossiper *g, struct tcp_conn *c, const struct member *m)
{
    const bool takes_it = load_decode(bytes_of(m->data, m->data_len)).encrypts;
    c->encrypts = g->conf.tls != CONFIG_CLUSTER_TLS_OFF && takes_it;
    if (g->conf.tls == CONFIG_CLUSTER_TLS_REQUIRED && !takes_it) {
        calls_tls_tell(g, c, takes_none);
        return false;
    }
    return true;
}

/* ---- The handshake */

static enum calls_step fail(struct gossiper *g, struct tcp_conn *c, const char *why)
{
    calls_tls_tell(g, c, why);
    tcp_close(&g->tcp, c);
    return CALLS_FAILED;
}

/* false: it is closed, and calls_closed() was called. */
static bool put_output(struct gossiper *g, struct tcp_conn *c)
{
    struct iovec iov[IO_IOV_MAX];
    for (;;) {
        size_t bytes;
        const unsigned n = tls_pipe_gather(c->tls, iov, IO_IOV_MAX, &bytes);
        if (n == 0) {
            return true;
        }
        for (unsigned i = 0; i < n; i++) {
            if (!tcp_put(&g->tcp, c, bytes_of(iov[i].iov_base, iov[i].iov_len))) {
                return false;
            }
        }
        tls_pipe_sent(c->tls, bytes);
    }
}

/* What has been fed; all of it is used up, unless it has failed. */
static enum tls_result read_all(struct tcp_conn *c, uint8_t *out, size_t size, size_t *len)
{
    enum tls_result result = TLS_DONE;
    if (!c->is_open) {
        result = tls_pipe_handshake(c->tls);
        c->is_open = result == TLS_DONE;
    }
    while (result == TLS_DONE) {
        uint8_t more[TCP_IN_BYTES];
        size_t more_len = 0;
        result = tls_pipe_read(c->tls, more, sizeof more, &more_len);
        if (result == TLS_DONE) {
            if (more_len > size - *len) {
                return TLS_FAILED;
            }
            memcpy(out + *len, more, more_len);
            *len += more_len;
        }
    }
    return result;
}

enum calls_step calls_tls_take(struct gossiper *g, struct tcp_conn *c, uint8_t *out, size_t size,
                               size_t *len)
{
    *len = 0;
    tls_pipe_feed(c->tls, c->in, c->in_len);
    const enum tls_result result = read_all(c, out, size, len);
    tcp_used(c, c->in_len);
    if (result != TLS_WANTS_MORE) {
        const char *const why = tls_pipe_why(c->tls);
        return put_output(g, c) ? fail(g, c, why) : CALLS_GONE; /* the other end is told why */
    }
    if (!put_output(g, c)) {
        return CALLS_GONE;
    }
    return c->is_open ? CALLS_OPEN : CALLS_WAIT;
}

enum calls_step calls_tls_begin(struct gossiper *g, struct tcp_conn *c, bool has_called)
{
    assert(c->tls == NULL);
    if (g->conf.tls_context == NULL) {
        return fail(g, c, "it is encrypted, and cluster.tls is off here");
    }
    c->tls = tls_pipe_create(g->conf.tls_context, has_called);
    return c->tls == NULL ? fail(g, c, "out of memory") : CALLS_WAIT;
}
