/* SPDX-License-Identifier: Apache-2.0 */
/*
 * speech: what the membership says, sealed and on its way; and what others say to it.
 *
 * A stream of gossip is "DLGS" and then messages, each with two bytes of its length before it
 * (big-endian). Whoever wants to say something opens one; answers come back by it.
 */
#include <assert.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "broker/gossip/address.h"
#include "broker/gossip/parts.h"
#include "broker/log/log.h"
#include "cluster/identity_file.h"

#define LENGTH_BYTES 2u
#define SEALED_MAX   (GOSSIP_MESSAGE_MAX + SEAL_BYTES)
#define RECEIVE_MAX  64u /* datagrams in a turn */

#define RENEW_FIRST_MS 1000u
#define RENEW_MOST_MS  300000u
#define TELL_TWINS_MS  10000u

static_assert(LENGTH_BYTES + SEALED_MAX <= TCP_IN_BYTES, "a message fits");

/* ---- What the membership asks for */

static void send_datagram(struct gossiper *g, const struct node_address *to, struct bytes sealed)
{
    struct sockaddr_storage address;
    const socklen_t len = address_to(&address, g->conf.family, to);
    if (len == 0 || sendto(g->conf.udp, sealed.at, sealed.len, MSG_NOSIGNAL,
                           (const struct sockaddr *)&address, len) < 0) {
        g->figures.datagrams_dropped++;
    } else {
        g->figures.datagrams_sent++;
    }
}

static void send_by_stream(struct gossiper *g, const struct node_address *to, struct bytes sealed)
{
    const uint64_t now_ms = g->conf.clock_ms();
    uint8_t out[GOSSIPER_MAGIC_BYTES + LENGTH_BYTES + SEALED_MAX];
    size_t len = 0;
    struct tcp_conn *c = tcp_find_stream(&g->tcp, to);
    if (c == NULL) {
        c = tcp_connect(&g->tcp, TCP_STREAM, to, g->conf.family, now_ms, GOSSIPER_CONNECT_MS);
        memcpy(out, GOSSIPER_STREAM_MAGIC, GOSSIPER_MAGIC_BYTES);
        len = GOSSIPER_MAGIC_BYTES;
    }
    if (c == NULL) {
        return;
    }
    out[len++] = (uint8_t)(sealed.len >> 8);
    out[len++] = (uint8_t)sealed.len;
    memcpy(out + len, sealed.at, sealed.len);
    c->used_ms = now_ms;
    /* Nothing may come any more by one that goes nowhere: what is sent does not keep it. */
    c->end_ms = c->connecting || c->asked ? c->end_ms : now_ms + GOSSIPER_IDLE_MS;
    c->asked = true;
    (void)tcp_put(&g->tcp, c, bytes_of(out, len + sealed.len));
}

static void on_send(void *context, const struct membership_via *via, struct node_uuid to,
                    struct bytes message)
{
    struct gossiper *const g = context;
    uint8_t out[SEALED_MAX];
    (void)to; /* it is in the message */
    if (seal_make(g->seal, out, message) != SEAL_OK) {
        g->figures.datagrams_dropped++;
        return;
    }
    const struct bytes sealed = bytes_of(out, message.len + SEAL_BYTES);
    if (via->carrier == MEMBERSHIP_DATAGRAM) {
        send_datagram(g, &via->address, sealed);
    } else {
        send_by_stream(g, &via->address, sealed);
    }
}

static void on_conflict(struct gossiper *g)
{
    if (g->renew_ms != GOSSIPER_NEVER) {
        return;
    }
    const uint64_t now_ms = g->conf.clock_ms();
    const bool again = g->renewed_ms != 0 && now_ms - g->renewed_ms < 2 * RENEW_MOST_MS;
    g->renew_pause_ms = !again                                  ? RENEW_FIRST_MS
                        : g->renew_pause_ms * 2 < RENEW_MOST_MS ? g->renew_pause_ms * 2
                                                                : RENEW_MOST_MS;
    g->renew_ms = now_ms + g->renew_pause_ms;
    g->figures.conflicts++;
    char node[UUID_TEXT_BYTES];
    uuid_print(node, g->conf.identity.node.bytes);
    log_event(LOG_ERROR, "node_conflict", LOG_TEXT("node", node),
              LOG_NUMBER("generation", g->conf.identity.generation),
              LOG_NUMBER("heard", membership_generation_heard(g->membership)),
              LOG_TEXT("meaning", "another process says to be this node, or its data directory is "
                                  "an older copy; it starts over with a higher generation"),
              LOG_TEXT("remedy", "end the one that runs on a copy of data.dir, and delete node and "
                                 "node.id in that copy"));
}

static void on_event(void *context, enum membership_event event, const struct member *member)
{
    struct gossiper *const g = context;
    char node[UUID_TEXT_BYTES], address[ADDRESS_TEXT_BYTES];
    uuid_print(node, member->node.bytes);
    node_address_print(address, &member->address);
    const struct bytes name = bytes_of(member->name, member->name_len);
    const uint64_t generation = member->incarnation.generation;
    g->changed = true;
    g->living_ms = event == MEMBERSHIP_JOINED || event == MEMBERSHIP_RESTARTED ||
                           event == MEMBERSHIP_DIED || event == MEMBERSHIP_LEFT
                       ? g->conf.clock_ms()
                       : g->living_ms;
    switch (event) {
    case MEMBERSHIP_JOINED:
        log_event(LOG_INFO, "node_joined", LOG_BYTES("name", name), LOG_TEXT("node", node),
                  LOG_TEXT("address", address), LOG_NUMBER("generation", generation));
        break;
    case MEMBERSHIP_RESTARTED:
        log_event(LOG_INFO, "node_restarted", LOG_BYTES("name", name), LOG_TEXT("node", node),
                  LOG_TEXT("address", address), LOG_NUMBER("generation", generation));
        break;
    case MEMBERSHIP_SUSPECTED:
        log_event(LOG_DEBUG, "node_suspected", LOG_BYTES("name", name), LOG_TEXT("node", node),
                  LOG_TEXT("address", address), LOG_NUMBER("generation", generation));
        break;
    case MEMBERSHIP_REFUTED:
        log_event(LOG_DEBUG, "node_refuted", LOG_BYTES("name", name), LOG_TEXT("node", node),
                  LOG_TEXT("address", address), LOG_NUMBER("generation", generation));
        break;
    case MEMBERSHIP_DIED:
        log_event(LOG_WARNING, "node_died", LOG_BYTES("name", name), LOG_TEXT("node", node),
                  LOG_TEXT("address", address), LOG_NUMBER("generation", generation));
        break;
    case MEMBERSHIP_LEFT:
        log_event(LOG_INFO, "node_left", LOG_BYTES("name", name), LOG_TEXT("node", node),
                  LOG_TEXT("address", address), LOG_NUMBER("generation", generation),
                  LOG_BOOL("for_good", member->gone));
        break;
    case MEMBERSHIP_UPDATED:
        log_event(LOG_DEBUG, "node_changed", LOG_BYTES("name", name), LOG_TEXT("node", node),
                  LOG_TEXT("address", address), LOG_NUMBER("generation", generation));
        break;
    case MEMBERSHIP_FORGOTTEN:
        log_event(LOG_DEBUG, "node_forgotten", LOG_BYTES("name", name), LOG_TEXT("node", node),
                  LOG_TEXT("address", address), LOG_NUMBER("generation", generation));
        break;
    case MEMBERSHIP_CONFLICT:
        on_conflict(g);
        break;
    }
}

/* ---- What comes */

/* A second one of some node cannot be heard by anybody (seal.h), and would never know: it is told
 * what is known, and finds itself in that. Now and then only, as nothing says who has really sent
 * it. */
static void tell_twin(struct gossiper *g, const struct membership_via *via, uint64_t now_ms)
{
    if (g->told_ms == 0 || now_ms - g->told_ms >= TELL_TWINS_MS) {
        const struct node_address address = via->address;
        g->told_ms = now_ms;
        membership_contact(g->membership, now_ms, &address);
    }
}

/* false: it was none of a member's. */
static bool receive(struct gossiper *g, const struct membership_via *via, struct bytes sealed,
                    uint64_t now_ms)
{
    uint8_t message[SEALED_MAX];
    size_t len;
    struct seal_sender sender;
    if (g->membership == NULL) {
        return true; /* it does not know its address yet; others try again */
    }
    const enum seal_err err = sealed.len > SEALED_MAX
                                  ? SEAL_MALFORMED
                                  : seal_open(g->seal, message, &len, &sender, sealed);
    if (err != SEAL_OK) {
        g->figures.refused[err]++;
        if (err == SEAL_TWIN || err == SEAL_EARLIER_START) {
            tell_twin(g, via, now_ms);
        }
        return err == SEAL_TWIN || err == SEAL_EARLIER_START || err == SEAL_REPLAYED;
    }
    const enum gossip_err bad =
        membership_receive(g->membership, now_ms, via, sender.node, bytes_of(message, len));
    if (bad != GOSSIP_OK) {
        char address[ADDRESS_TEXT_BYTES];
        node_address_print(address, &via->address);
        log_event(LOG_WARNING, "gossip_malformed", LOG_TEXT("address", address),
                  LOG_TEXT("meaning", "a node of the cluster speaks a version that this one does "
                                      "not understand"));
    }
    return true;
}

void speech_datagrams(struct gossiper *g, uint64_t now_ms)
{
    uint8_t in[SEALED_MAX + 1]; /* one more: what is too long is not cut to be fair */
    for (unsigned i = 0; i < RECEIVE_MAX; i++) {
        struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
        socklen_t from_len = sizeof from;
        const ssize_t n =
            recvfrom(g->conf.udp, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
        if (n < 0) {
            return;
        }
        g->figures.datagrams_received++;
        const struct membership_via via = {.carrier = MEMBERSHIP_DATAGRAM,
                                           .address = address_of(&from)};
        (void)receive(g, &via, bytes_of(in, (size_t)n), now_ms);
    }
}

void speech_stream(struct gossiper *g, struct tcp_conn *c, uint64_t now_ms)
{
    const uint32_t serial = c->serial;
    while (c->fd >= 0 && c->serial == serial && c->in_len >= LENGTH_BYTES) {
        uint8_t sealed[SEALED_MAX];
        const size_t len = (size_t)(c->in[0] << 8 | c->in[1]);
        if (len > SEALED_MAX) {
            g->figures.refused[SEAL_MALFORMED]++;
            tcp_close(&g->tcp, c);
            return;
        }
        if (c->in_len < LENGTH_BYTES + len) {
            return;
        }
        const struct membership_via via = {.carrier = MEMBERSHIP_STREAM, .address = c->peer};
        memcpy(sealed, c->in + LENGTH_BYTES, len);
        tcp_used(c, LENGTH_BYTES + len);
        c->proven = true; /* before the answer looks for a place; if it is not: closed */
        c->used_ms = now_ms;
        c->end_ms = now_ms + GOSSIPER_IDLE_MS;
        c->asked = false;
        const bool good = receive(g, &via, bytes_of(sealed, len), now_ms);
        if (!good && c->fd >= 0 && c->serial == serial) {
            tcp_close(&g->tcp, c);
            return;
        }
    }
}

/* ---- Beginning, and again */

static bool random_bytes(void *out, size_t len)
{
    return getrandom(out, len, 0) == (ssize_t)len;
}

static struct node_load load_now(const struct gossiper *g)
{
    struct node_load load = g->conf.load == NULL ? (struct node_load){.admits = LOAD_ANY}
                                                 : g->conf.load(g->conf.load_context);
    load.encrypts = g->conf.tls != CONFIG_CLUSTER_TLS_OFF;
    return load;
}

static void say_load(struct gossiper *g, uint64_t now_ms)
{
    uint8_t data[LOAD_BYTES];
    load_encode(data, g->conf.shards, &g->said);
    membership_set_data(g->membership, now_ms, bytes_of(data, sizeof data));
    g->said_ms = now_ms;
}

bool speech_begin(struct gossiper *g, uint64_t now_ms)
{
    struct membership_conf conf = membership_lan();
    struct seal_conf seal = {.identity = g->conf.identity, .senders_max = MEMBERSHIP_MEMBERS_MAX};
    const struct membership_shell shell = {.context = g, .send = on_send, .event = on_event};
    conf.identity = g->conf.identity;
    conf.address = g->own;
    if (!random_bytes(&conf.seed, sizeof conf.seed) || !random_bytes(seal.salt, sizeof seal.salt)) {
        return false;
    }
    struct seal *const fresh = seal_create(&seal);
    struct membership *const membership = membership_create(&conf, &shell, now_ms);
    if (fresh == NULL || membership == NULL) {
        seal_destroy(fresh);
        membership_destroy(membership);
        return false;
    }
    seal_destroy(g->seal);
    membership_destroy(g->membership);
    g->seal = fresh;
    g->membership = membership;
    seal_set_keys(g->seal, g->conf.ring.at, g->conf.ring.count);
    g->said = load_now(g);
    say_load(g, now_ms);
    return true;
}

void speech_load(struct gossiper *g, uint64_t now_ms)
{
    if (now_ms < g->look_ms || g->stopping) {
        return;
    }
    g->look_ms = now_ms + LOAD_LOOK_MS;
    const struct node_load load = load_now(g);
    if (load_is_to_be_told(&g->said, &load, now_ms - g->said_ms,
                           membership_counters(g->membership).living)) {
        g->said = load;
        say_load(g, now_ms);
    }
}

/* false: it could not be kept; it is tried again. */
static bool raise_generation(struct gossiper *g)
{
    struct identity next = g->conf.identity;
    const uint64_t heard = membership_generation_heard(g->membership);
    next.generation = heard > next.generation ? heard : next.generation;
    if (next.generation == UINT64_MAX) {
        return false;
    }
    next.generation++;
    int sys_errno = 0;
    if (g->conf.dir >= 0 &&
        identity_file_keep(g->conf.dir, &next, &sys_errno) != IDENTITY_FILE_OK) {
        log_event(LOG_ERROR, "identity_not_kept", LOG_ERRNO("error", sys_errno));
        return false;
    }
    g->conf.identity = next;
    return true;
}

void speech_renew(struct gossiper *g, uint64_t now_ms)
{
    if (now_ms < g->renew_ms) {
        return;
    }
    g->renew_ms = now_ms + RENEW_MOST_MS; /* if it fails */
    if (raise_generation(g) && speech_begin(g, now_ms)) {
        g->renew_ms = GOSSIPER_NEVER;
        g->renewed_ms = now_ms;
        g->changed = true;
        g->ask_ms = now_ms;
        g->pause_ms = 0;
        log_event(LOG_INFO, "node_renewed", LOG_NUMBER("generation", g->conf.identity.generation));
    }
}
