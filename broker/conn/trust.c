/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/trust.h"

#include <stddef.h>

#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/conn/socket.h"
#include "broker/log/log.h"
#include "broker/login/login.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

/* Of a turn, in steps of a few hundred microseconds at most. */
#define COST_PER_TURN 64u
#define COST_LITTLE   4u
#define COST_MUCH     64u

/* Those without anything to check cost next to nothing; not so if they are a hundred thousand. */
#define LOOKED_AT_PER_TURN 4096u

bool trust_has(struct conn *c, struct bytes client_id)
{
    const char *why;
    if (socket_is_trusted(c, &why)) {
        return true;
    }
    char address[CONN_ADDRESS_TEXT];
    shard_count(c->shard, METRIC_certificates_revoked);
    log_event(LOG_WARNING, "client_certificate_refused",
              LOG_BYTES("common_name", socket_common_name(c)), LOG_BYTES("client_id", client_id),
              LOG_TEXT("peer", conn_address(c, address, sizeof address)), LOG_TEXT("reason", why));
    return false;
}

static unsigned cost_of(const struct conn *c)
{
    switch (socket_trust_cost(c)) {
    case TLS_PEER_NOTHING:
        return 0;
    case TLS_PEER_LITTLE:
        return COST_LITTLE;
    case TLS_PEER_MUCH:
        return COST_MUCH;
    }
    return 0;
}

static unsigned check(struct conn *c)
{
    if (!conn_has_client(c)) {
        return 0;
    }
    const unsigned cost = cost_of(c);
    const struct bytes client_id =
        c->phase == CONN_RELAYED ? relay_client_id(c) : session_client_id(c->session);
    if (cost > 0 && !trust_has(c, client_id)) {
        conn_close(c, MQTT_REASON_NOT_AUTHORIZED, SESSION_WILL_PUBLISH);
    }
    return cost;
}

void trust_turn(struct shard *s)
{
    const uint64_t generation =
        atomic_load_explicit(&s->node->trust_generation, memory_order_acquire);
    if (s->trust_generation != generation) {
        s->trust_generation = generation;
        s->trust_next = s->all.first;
    }
    unsigned cost = 0, looked_at = 0;
    while (s->trust_next != NULL && cost < COST_PER_TURN && looked_at < LOOKED_AT_PER_TURN) {
        struct conn *const c = s->trust_next;
        s->trust_next =
            c->links[CONN_ALL].next; /* later ones have come in by what is trusted now */
        cost += check(c);
        looked_at++;
    }
}

bool trust_is_busy(const struct shard *s)
{
    return s->trust_next != NULL;
}

void trust_forget(struct conn *c)
{
    if (c->shard->trust_next == c) {
        c->shard->trust_next = c->links[CONN_ALL].next;
    }
}
