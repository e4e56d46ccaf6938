/* SPDX-License-Identifier: Apache-2.0 */
/* The side that has the packets: the socket of a connection, as far as it is here. It tells by the
 * handlers of broker/io, as a socket's io does. */
#include <assert.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/log/log.h"
#include "broker/relay/relay_parts.h"
#include "broker/unix_socket.h"

/* ---- beginning */

static void refuse(struct shard *s, unsigned peer, unsigned lane, uint64_t id,
                   enum node_relay_end why)
{
    const struct node_relay end = {
        .type = NODE_FRAME_RELAY_END, .id = id | NODE_RELAY_OF_FAR, .why = (uint8_t)why};
    relay_say_to(s, lane, peer, &end);
}

static struct conn_from origin_of(const struct node_relay *open)
{
    struct conn_from from = {.listener = open->listener,
                             .port = open->port,
                             .local = (open->flags & NODE_RELAY_LOCAL) != 0};
    if (from.local) {
        from.at.peer =
            (struct unix_peer){.uid = open->uid, .gid = open->gid, .pid = (int32_t)open->pid};
    } else {
        memcpy(&from.at.address, open->address, sizeof from.at.address);
    }
    return from;
}

/* NULL: no memory. */
static struct relay *make(struct shard *s, unsigned peer, unsigned lane,
                          const struct node_relay *open)
{
    size_t text_len = 0;
    for (unsigned i = 0; i < NODE_RELAY_NAMES; i++) {
        text_len += open->names[i].len;
    }
    struct relay *const r = relay_make(s, true, peer, lane, open->id, text_len);
    uint8_t *to = r == NULL ? NULL : r->text;
    for (unsigned i = 0; r != NULL && i < NODE_RELAY_NAMES; i++) {
        r->name_len[i] = (uint8_t)open->names[i].len;
        if (open->names[i].len > 0) {
            memcpy(to, open->names[i].at, open->names[i].len);
            to += open->names[i].len;
        }
    }
    return r;
}

static void broken(struct shard *s, struct relay *r)
{
    char address[CONN_ADDRESS_TEXT];
    shard_count(s, METRIC_relays_broken);
    log_event(LOG_WARNING, "relay_broken", LOG_BYTES("node", peers_name(s, r->peer)),
              LOG_TEXT("peer", conn_address(r->conn, address, sizeof address)));
    far_lost(s, r);
}

void far_open(struct shard *s, unsigned peer, unsigned lane, const struct node_relay *open)
{
    struct relay *const former = relay_find(s, true, peer, open->id);
    if (former != NULL) {
        broken(s, former);
        return;
    }
    if (relay_home(s->node, node_relay_partition(open->id)) != RELAY_HERE) {
        refuse(s, peer, lane, open->id, NODE_RELAY_MOVED);
        return;
    }
    const struct conn_from from = origin_of(open);
    struct relay *const r = open->listener < s->listener_count ? make(s, peer, lane, open) : NULL;
    if (r == NULL) {
        refuse(s, peer, lane, open->id, NODE_RELAY_REFUSED);
        return;
    }
    r->conn = conn_open_far(s, &from, r);
    if (r->conn == NULL) {
        relay_free(s, r);
        refuse(s, peer, lane, open->id, NODE_RELAY_REFUSED);
        return;
    }
    shard_count(s, METRIC_relays_taken);
}

/* ---- what near says */

static void on_data(struct shard *s, struct relay *r, struct bytes data)
{
    struct conn *const c = r->conn;
    if (!relay_take_room(r, data.len)) {
        broken(s, r);
        return;
    }
    metrics_add(&s->metrics, METRIC_relay_bytes_received, data.len);
    r->owed += (uint32_t)data.len;
    r->reading = r->reading && !r->reading_once;
    conn_io_handlers.received(s, &c->socket, data.at, data.len);
    if (r->reading) { /* else what was taken in makes no room, as in a socket */
        relay_give_credit(s, r, 0);
    }
}

void far_heard(struct shard *s, struct relay *r, const struct node_relay *words)
{
    struct conn *const c = r->conn;
    switch (words->type) {
    case NODE_FRAME_RELAY_DATA:
        on_data(s, r, words->data);
        break;
    case NODE_FRAME_RELAY_CREDIT:
        if (words->credit > NODE_RELAY_WINDOW - r->credit) {
            broken(s, r);
            return;
        }
        r->credit += words->credit;
        if (r->sending) {
            relay_list_add(s, r, RELAY_DUE);
        }
        break;
    default:
        if (words->why != NODE_RELAY_ENDED) {
            relay_is_over(s, r);
            conn_abort(c);
        } else if (!c->peer_ended) {
            conn_io_handlers.ended(s, &c->socket, 0);
        }
    }
}

void far_lost(struct shard *s, struct relay *r)
{
    (void)s;
    conn_abort(r->conn);
}

/* ---- what the connection asks for */

void relay_receive(struct conn *c, bool once)
{
    struct relay *const r = c->relay;
    r->reading = true;
    r->reading_once = once;
    relay_give_credit(c->shard, r, 0);
}

void relay_receive_stop(struct conn *c)
{
    c->relay->reading = false;
}

void relay_send(struct conn *c)
{
    c->relay->sending = true;
    relay_list_add(c->shard, c->relay, RELAY_DUE);
}

void far_go_on(struct shard *s, struct relay *r)
{
    struct conn *const c = r->conn;
    struct iovec iov[IO_IOV_MAX];
    size_t bytes, taken = 0;
    bool stalled = false;
    if (!r->sending) {
        return;
    }
    const unsigned n = outbuf_gather(&c->out, iov, IO_IOV_MAX, &bytes);
    for (unsigned i = 0; i < n && r->credit > 0 && !stalled; i++) {
        taken += relay_say_data(s, r, bytes_of(iov[i].iov_base, iov[i].iov_len), &stalled);
    }
    if (taken > 0) {
        r->sending = false;
        c->send_bytes = taken;
        conn_io_handlers.sent(s, &c->socket, 0);
    } else if (stalled) {
        relay_list_add(s, r, RELAY_STALLED);
    } /* else until CREDIT */
}

void relay_shutdown_write(struct conn *c)
{
    struct relay *const r = c->relay;
    relay_say_end(c->shard, r, NODE_RELAY_ENDED);
    r->ended_due = true; /* near sees to the rest */
    relay_list_add(c->shard, r, RELAY_EVENTS);
}

void relay_hang_up(struct conn *c)
{
    struct relay *const r = c->relay;
    relay_say_end(c->shard, r, NODE_RELAY_GONE);
    r->sending = false;
    r->closed_due = true;
    relay_list_add(c->shard, r, RELAY_EVENTS);
}

void far_tell(struct shard *s, struct relay *r)
{
    struct conn *const c = r->conn;
    if (r->closed_due) {
        r->closed_due = false;
        r->closed = true;
        conn_io_handlers.closed(s, &c->socket);
    } else if (r->ended_due) {
        r->ended_due = false;
        conn_io_handlers.ended(s, &c->socket, 0);
    }
}

/* ---- what it asks */

bool relay_is_closed(const struct conn *c)
{
    return c->relay->closed;
}

bool relay_client_has_gone(const struct conn *c)
{
    return c->relay->over;
}

struct bytes relay_client_name(const struct conn *c, enum config_name_from from)
{
    static const uint8_t kinds[] = {
        [CONFIG_FROM_COMMON_NAME] = NODE_RELAY_COMMON_NAME,
        [CONFIG_FROM_SAN_DNS] = NODE_RELAY_DNS,
        [CONFIG_FROM_SAN_URI] = NODE_RELAY_URI,
        [CONFIG_FROM_SAN_EMAIL] = NODE_RELAY_EMAIL,
    };
    const struct relay *const r = c->relay;
    size_t at = 0;
    if (from == CONFIG_FROM_NONE) {
        return bytes_of(NULL, 0);
    }
    for (unsigned i = 0; i < kinds[from]; i++) {
        at += r->name_len[i];
    }
    return bytes_of(r->text + at, r->name_len[kinds[from]]);
}

struct bytes relay_node_name(const struct conn *c)
{
    return peers_name(c->shard, c->relay->peer);
}
