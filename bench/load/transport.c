/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/transport.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "bench/load/client.h"
#include "bench/load/options.h"
#include "bench/load/worker.h"

bool transport_copies(const struct worker *w)
{
    return w->run->options->url.is_tls || w->run->options->url.is_websocket;
}

bool transport_begin(struct worker *w, struct client *c)
{
    const struct url *const url = &w->run->options->url;
    c->transport = (struct transport){.is_websocket = url->is_websocket};
    if (url->is_websocket) {
        char request[WEBSOCKET_REQUEST_BYTES_MAX];
        const size_t len = websocket_request(url, request);
        uint8_t *const at = outgoing_reserve(&c->out, len);
        if (at == NULL) {
            return false;
        }
        memcpy(at, request, len);
        c->transport.websocket.framed = len;
    }
    if (url->is_tls) {
        c->transport.tls = tls_open(w->tls, c->fd);
        return c->transport.tls != NULL;
    }
    return true;
}

static enum transport_state upgrade(struct worker *w, struct client *c)
{
    if (outgoing_len(&c->out) > 0 && transport_send(w, c) != 0) {
        return errno == EAGAIN ? TRANSPORT_WANTS_WRITE : TRANSPORT_FAILED;
    }
    const ssize_t received = transport_receive(w, c);
    if (received > 0 || (received < 0 && errno != EAGAIN)) {
        return TRANSPORT_FAILED; /* the broker speaks first */
    }
    return c->transport.websocket.is_open ? TRANSPORT_OPEN : TRANSPORT_WANTS_READ;
}

enum transport_state transport_open(struct worker *w, struct client *c)
{
    if (c->transport.tls != NULL && !c->transport.is_secured) {
        switch (tls_handshake(c->transport.tls)) {
        case TLS_DONE:
            c->transport.is_secured = true;
            counts_add(&w->counts.resumed, tls_is_resumed(c->transport.tls));
            break;
        case TLS_WANTS_READ:
            return TRANSPORT_WANTS_READ;
        case TLS_WANTS_WRITE:
            return TRANSPORT_WANTS_WRITE;
        case TLS_FAILED:
            return TRANSPORT_FAILED;
        }
    }
    return c->transport.is_websocket ? upgrade(w, c) : TRANSPORT_OPEN;
}

ssize_t transport_receive(struct worker *w, struct client *c)
{
    struct transport *const t = &c->transport;
    const ssize_t len = t->tls != NULL ? tls_receive(t->tls, w->receive, WORKER_RECEIVE_BYTES)
                                       : recv(c->fd, w->receive, WORKER_RECEIVE_BYTES, 0);
    counts_add(&w->counts.reads, 1);
    if (len == 0) {
        errno = ECONNRESET;
        return -1;
    }
    if (len < 0) {
        return -1;
    }
    if (t->tls != NULL) {
        tls_keep_session(w->tls, t->tls);
    }
    if (!t->is_websocket) {
        return len;
    }
    const ssize_t unwrapped = websocket_unwrap(&t->websocket, w->receive, (size_t)len);
    if (unwrapped < 0) {
        errno = EPROTO;
    }
    return unwrapped;
}

static ssize_t send_plain(const struct worker *w, const struct client *c)
{
    const struct iovec iov[2] = {
        {.iov_base = c->out.bytes + c->out.begin, .iov_len = outgoing_len(&c->out)},
        {.iov_base = (void *)(uintptr_t)w->filler, .iov_len = c->body_left},
    };
    if (c->body_left == 0) {
        return send(c->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    }
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = 2};
    return sendmsg(c->fd, &message, MSG_NOSIGNAL);
}

int transport_send(struct worker *w, struct client *c)
{
    struct transport *const t = &c->transport;
    if (t->is_websocket && !websocket_wrap(&t->websocket, &c->out)) {
        errno = ENOMEM;
        return -1;
    }
    const size_t buffered = outgoing_len(&c->out);
    const ssize_t sent =
        t->tls != NULL ? tls_send(t->tls, c->out.bytes + c->out.begin, buffered) : send_plain(w, c);
    counts_add(&w->counts.writes, 1);
    if (sent < 0) {
        return -1;
    }
    const size_t of_buffer = (size_t)sent < buffered ? (size_t)sent : buffered;
    outgoing_sent(&c->out, of_buffer);
    c->body_left -= (size_t)sent - of_buffer;
    t->websocket.framed -= t->is_websocket ? of_buffer : 0;
    return 0;
}

void transport_end(struct client *c)
{
    tls_close(c->transport.tls);
    c->transport = (struct transport){0};
}
