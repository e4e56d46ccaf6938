/* SPDX-License-Identifier: Apache-2.0 */
/* Clients with tokens on a whole node, where the test says what becomes of each token, and when.
 * The gate's threads are there, but know no key: their verdict is kept from the shard, and
 * rewritten. */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "broker/auth/acl_json.h"
#include "broker/auth/gate.h"
#include "broker/auth/token_keys.h"
#include "broker/login/login.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/fake_client.h"

#define KEYS                                                                                       \
    "{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\","                                               \
    "\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T\"}]}"
#define TOKEN "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"

static _Atomic(struct gate_request *) judged; /* the one that is kept */

static void keep(void *context, struct gate_request *r)
{
    (void)context;
    cr_assert_null(atomic_exchange(&judged, r), "the former has not been taken");
}

static uint64_t wall_s(void)
{
    return 1000000;
}

static struct fake_node *node_of(unsigned shards, const char *const settings[])
{
    const char *wrong;
    struct fake_node *n = fake_node_create(shards, settings);
    struct token_keys *const keys = token_keys_parse(bytes_text(KEYS), &wrong);
    const struct gate_conf conf = {
        .threads = 1, .seed = 1, .clock_ms = n->node->clock_ms, .wall_s = wall_s, .answer = keep};
    n->node->gate = gate_start(&conf, NULL);
    cr_assert(n->node->gate != NULL && keys != NULL);
    atomic_store(&n->node->token_keys, keys);
    return n;
}

static void leave(struct fake_node *n)
{
    struct gate *const gate = n->node->gate;
    struct token_keys *const keys = atomic_load(&n->node->token_keys);
    cr_expect_null(atomic_load(&judged));
    fake_node_destroy(n);
    gate_stop(gate);
    gate_destroy(gate);
    token_keys_destroy(keys);
}

/* Waits for the gate's thread. */
static struct gate_request *verdict(struct fake_node *n)
{
    struct gate_request *r;
    fake_node_settle(n);
    while ((r = atomic_exchange(&judged, NULL)) == NULL) {
        sched_yield();
    }
    return r;
}

/* The token is that user's, and ends in so many milliseconds. */
static void make_right(struct fake_node *n, struct gate_request *r, const char *user, uint64_t ms)
{
    r->verdict = GATE_RIGHT;
    r->facts.user_len = (uint16_t)strlen(user);
    memcpy(r->facts.user, user, strlen(user));
    r->facts.fingerprint = atomic_load(&n->node->token_keys)->keys[0]->fingerprint;
    r->ends_ms = fake_node_now_ms() + ms;
}

/* The shard hears the verdict. */
static void tell(struct fake_node *n, struct gate_request *r)
{
    const unsigned shard = r->inquiry.shard;
    login_answer(n->node->shards[shard], &r->inquiry);
    fake_node_step(n, shard);
    fake_node_settle(n);
}

static void expect(struct fake_client *c, enum mqtt_type type, uint8_t reason)
{
    const struct got *g = client_next(c);
    cr_assert_not_null(g);
    cr_expect_eq(g->type, type, "%d, not %d", g->type, type);
    cr_expect_eq(g->reason, reason, "0x%x, not 0x%x", g->reason, reason);
}

/* ---- as passwords */

static struct fake_client *come_with_password(struct fake_node *n, unsigned shard, const char *id,
                                              uint64_t ms)
{
    struct fake_client *c = client_open(n, shard);
    struct mqtt_packet packet = {.type = MQTT_CONNECT};
    packet.connect.client_id = bytes_text(id);
    packet.connect.has_password = true;
    packet.connect.password = bytes_text(TOKEN);
    c->version = MQTT_V5;
    client_send(c, &packet);
    struct gate_request *const r = verdict(n);
    make_right(n, r, "alice", ms);
    tell(n, r);
    expect(c, MQTT_CONNACK, MQTT_REASON_SUCCESS);
    return c;
}

Test(token_login, a_connection_ends_with_its_token)
{
    struct fake_node *n = node_of(2, SETTINGS());
    struct fake_client *c = come_with_password(n, 1, "client", 5000);
    fake_node_advance(n, 4900);
    cr_expect_not(client_is_ended(c));
    fake_node_advance(n, 200);
    expect(c, MQTT_DISCONNECT, MQTT_REASON_NOT_AUTHORIZED);
    cr_expect_eq(fake_node_count(n, METRIC_logins_ended), 1);
    leave(n);
}

/* Its time is over while it lingers: refused for something else, and not gone yet. */
Test(token_login, a_token_may_end_after_its_connection)
{
    struct fake_node *n = node_of(1, SETTINGS());
    struct fake_client *c = come_with_password(n, 0, "client", 5000);
    fake_node_advance(n, 4900);
    client_send_bytes(c, "\xff\0", 2);
    expect(c, MQTT_DISCONNECT, MQTT_REASON_MALFORMED_PACKET);
    fake_node_advance(n, 500);
    cr_expect_eq(fake_node_count(n, METRIC_logins_ended), 0);
    leave(n);
}
