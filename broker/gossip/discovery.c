/* SPDX-License-Identifier: Apache-2.0 */
/*
 * discovery: whom this node asks who there is, and by which address others reach it. What seeds
 * name is asked as long as no living member is there; nothing that they do not name is forgotten.
 */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/gossip/address.h"
#include "broker/gossip/parts.h"
#include "broker/log/log.h"

#define ALONE_FIRST_MS 1000u
#define ALONE_MS       10000u /* or while a seed names somebody who is not known */
#define KNOWN_MS       30000u
#define JOIN_MS        10000u

/* ---- The own address */

static bool is_wildcard(const struct node_address *address)
{
    static const uint8_t any_v6[16], any_v4[16] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address->ip, any_v6, 16) == 0 || memcmp(address->ip, any_v4, 16) == 0;
}

/* The address from which packets to that one go. false: there is no way to it. */
static bool find_own(const struct gossiper *g, const struct node_address *to,
                     struct node_address *own)
{
    struct sockaddr_storage address;
    socklen_t len = address_to(&address, g->conf.family, to);
    const int fd = len == 0 ? -1 : socket(g->conf.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool found = connect(fd, (const struct sockaddr *)&address, len) == 0; /* sends nothing */
    len = sizeof address;
    found = found && getsockname(fd, (struct sockaddr *)&address, &len) == 0;
    close(fd);
    *own = address_of(&address);
    own->port = g->conf.listen.port;
    return found;
}

static bool begin(struct gossiper *g, const struct node_address *own, uint64_t now_ms)
{
    g->own = *own;
    if (!speech_begin(g, now_ms)) {
        g->own.port = 0;
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "the members of the cluster"));
        return false;
    }
    char node[UUID_TEXT_BYTES], address[ADDRESS_TEXT_BYTES];
    uuid_print(node, g->conf.identity.node.bytes);
    node_address_print(address, own);
    log_event(LOG_INFO, "cluster_started", LOG_TEXT("node", node),
              LOG_BYTES("name", identity_name(&g->conf.identity)), LOG_TEXT("address", address),
              LOG_NUMBER("generation", g->conf.identity.generation),
              LOG_NUMBER("seeds", g->conf.seeds.count));
    return true;
}

bool discovery_begin(struct gossiper *g, uint64_t now_ms)
{
    const struct node_address *const own =
        g->conf.advertise.port != 0 ? &g->conf.advertise : &g->conf.listen;
    g->ask_ms = GOSSIPER_NEVER;
    g->joined_by_ms = now_ms;
    if (g->conf.seeds.count > 0) {
        g->resolver = resolver_start(&g->conf.seeds, g->wake);
        g->ask_ms = now_ms;
        g->joined_by_ms = now_ms + JOIN_MS;
        if (g->resolver == NULL) {
            return false;
        }
    }
    return is_wildcard(own) || begin(g, own, now_ms);
}

/* ---- Seeds */

static bool is_own(const struct gossiper *g, const struct node_address *address)
{
    return node_address_equal(address, &g->own) || node_address_equal(address, &g->conf.listen);
}

static bool is_known(const struct gossiper *g, const struct node_address *address)
{
    const struct member *m;
    for (size_t i = 0; (m = membership_at(g->membership, i)) != NULL; i++) {
        if (member_state_lives(m->state) && node_address_equal(&m->address, address)) {
            return true;
        }
    }
    return is_own(g, address);
}

static void tell_failed(struct gossiper *g, const struct resolved *r)
{
    g->figures.seeds_failed = r->failed;
    if (r->failed > 0 && !g->warned) {
        log_event(LOG_WARNING, "seed_not_found",
                  LOG_TEXT("seed", g->conf.seeds.at[r->failed_at].host),
                  LOG_TEXT("error", r->error), LOG_NUMBER("failed", r->failed));
    } else if (r->failed == 0 && g->warned) {
        log_event(LOG_INFO, "seeds_found", LOG_NUMBER("addresses", r->count));
    }
    g->warned = r->failed > 0;
}

static uint64_t pause_after(struct gossiper *g, bool unknown)
{
    if (membership_counters(g->membership).living > 1) {
        g->pause_ms = 0;
        return unknown ? ALONE_MS : KNOWN_MS;
    }
    g->pause_ms = g->pause_ms == 0 ? ALONE_FIRST_MS : g->pause_ms * 2;
    g->pause_ms = g->pause_ms < ALONE_MS ? g->pause_ms : ALONE_MS;
    return g->pause_ms;
}

static void contact_all(struct gossiper *g, const struct resolved *r, uint64_t now_ms)
{
    bool unknown = false, others = r->failed > 0;
    for (unsigned i = 0; i < r->count; i++) {
        others = others || !is_own(g, &r->at[i]);
        if (!is_known(g, &r->at[i])) {
            unknown = true;
            membership_contact(g->membership, now_ms, &r->at[i]);
        }
    }
    if (!others) {
        g->joined_by_ms = now_ms; /* it is the only seed itself: there is nobody to wait for */
    }
    g->ask_ms = now_ms + pause_after(g, unknown);
}

static void take(struct gossiper *g, const struct resolved *r, uint64_t now_ms)
{
    struct node_address own;
    tell_failed(g, r);
    for (unsigned i = 0; i < r->count && g->own.port == 0; i++) {
        if (find_own(g, &r->at[i], &own)) {
            (void)begin(g, &own, now_ms);
        }
    }
    if (g->own.port != 0) {
        contact_all(g, r, now_ms);
    } else {
        g->ask_ms = now_ms + ALONE_FIRST_MS;
    }
}

void discovery_turn(struct gossiper *g, uint64_t now_ms)
{
    struct resolved resolved;
    if (g->resolver != NULL && resolver_take(g->resolver, &resolved)) {
        take(g, &resolved, now_ms);
    }
    if (g->resolver != NULL && g->ask_ms <= now_ms) {
        resolver_ask(g->resolver);
        g->ask_ms = now_ms + KNOWN_MS; /* or sooner, when the answer has come */
    }
    const bool found = g->membership != NULL && membership_counters(g->membership).living > 1;
    if (found || g->joined_by_ms <= now_ms) {
        g->joined_by_ms = GOSSIPER_NEVER;
        if (atomic_exchange_explicit(g->conf.joining, false, memory_order_relaxed)) {
            log_event(LOG_INFO, "cluster_joined", LOG_BOOL("alone", !found));
        }
    }
}

uint64_t discovery_due(const struct gossiper *g)
{
    return g->ask_ms < g->joined_by_ms ? g->ask_ms : g->joined_by_ms;
}
