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
#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/login/login.h"
#include "broker/shard/shard.h"
#include "proto/property.h"
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

/* ---- in exchanges of AUTH */

/* CONNECT (the reason is none) or AUTH, with these data; NULL: none. */
static void say(struct fake_client *c, enum mqtt_type type, uint8_t reason, const char *id,
                const char *data)
{
    uint8_t properties[2048];
    struct property_writer w = {.at = properties, .size = sizeof properties};
    property_put_string(&w, PROPERTY_AUTHENTICATION_METHOD, bytes_text("JWT"));
    if (data != NULL) {
        property_put_string(&w, PROPERTY_AUTHENTICATION_DATA, bytes_text(data));
    }
    struct mqtt_packet packet = {.type = type};
    if (type == MQTT_CONNECT) {
        packet.connect.client_id = bytes_text(id);
        packet.connect.properties.raw = bytes_of(properties, w.len);
    } else {
        packet.auth.reason = reason;
        packet.auth.properties.raw = bytes_of(properties, w.len);
    }
    client_send(c, &packet);
}

static struct fake_client *knock(struct fake_node *n, unsigned shard, const char *id,
                                 const char *data)
{
    struct fake_client *c = client_open(n, shard);
    c->version = MQTT_V5;
    say(c, MQTT_CONNECT, 0, id, data);
    return c;
}

/* Its token ends in so many milliseconds. */
static struct fake_client *come(struct fake_node *n, unsigned shard, const char *id, uint64_t ms)
{
    struct fake_client *c = knock(n, shard, id, TOKEN);
    struct gate_request *const r = verdict(n);
    make_right(n, r, "alice", ms);
    tell(n, r);
    expect(c, MQTT_CONNACK, MQTT_REASON_SUCCESS);
    return c;
}

/* AUTH 0x19 with a token that has been judged; the shard does not know the verdict yet. */
static struct gate_request *begin_again(struct fake_node *n, struct fake_client *c)
{
    say(c, MQTT_AUTH, MQTT_REASON_REAUTHENTICATE, NULL, TOKEN);
    return verdict(n);
}

static uint64_t unread(const struct fake_node *n)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n->node->shard_count; i++) {
        bytes += n->node->shards[i]->unread_bytes;
    }
    return bytes;
}

/* With CONNECT or when asked for, from any shard; what follows it at once comes after CONNACK. */
Test(token_login, a_token_may_come_in_an_exchange)
{
    for (unsigned asked = 0; asked < 2; asked++) {
        struct fake_node *n = node_of(3, SETTINGS());
        struct fake_client *c = knock(n, asked, "client", asked != 0 ? NULL : TOKEN);
        if (asked != 0) {
            fake_node_settle(n);
            expect(c, MQTT_AUTH, MQTT_REASON_CONTINUE_AUTHENTICATION);
            say(c, MQTT_AUTH, MQTT_REASON_CONTINUE_AUTHENTICATION, NULL, TOKEN);
        }
        client_send_subscribe(c, ASK(.filter = "a", .qos = 1));
        struct gate_request *const r = verdict(n);
        cr_expect_null(client_next(c));
        cr_expect_gt(unread(n), 0);
        make_right(n, r, "alice", 60000);
        tell(n, r);
        expect(c, MQTT_CONNACK, MQTT_REASON_SUCCESS);
        expect(c, MQTT_SUBACK, 1);
        cr_expect_eq(unread(n), 0);
        cr_expect_eq(fake_node_count(n, METRIC_logins_accepted), 1);
        leave(n);
    }
}

static const struct {
    enum gate_verdict verdict;
    uint8_t reason;
} refusals[] = {{GATE_WRONG, MQTT_REASON_NOT_AUTHORIZED},
                {GATE_BUSY, MQTT_REASON_SERVER_BUSY},
                {GATE_FAILED, MQTT_REASON_SERVER_BUSY},
                {GATE_LIMITED, MQTT_REASON_CONNECTION_RATE_EXCEEDED}};

Test(token_login, whoever_is_not_right_is_refused)
{
    struct fake_node *n = node_of(2, SETTINGS("auth.failures_per_minute=0"));
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct fake_client *c = knock(n, 0, "client", TOKEN);
        struct gate_request *r = verdict(n);
        r->verdict = refusals[i].verdict;
        tell(n, r);
        expect(c, MQTT_CONNACK, refusals[i].reason);
        cr_expect(client_is_ended(c));

        c = come(n, 1, "client", 60000);
        r = begin_again(n, c);
        r->verdict = refusals[i].verdict;
        tell(n, r);
        expect(c, MQTT_DISCONNECT, refusals[i].reason);
        cr_expect(client_is_ended(c));
    }
    cr_expect_eq(fake_node_count(n, METRIC_logins_not_renewed), 4);
    leave(n);
}

Test(token_login, silence_twice_is_no_token)
{
    struct fake_node *n = node_of(1, SETTINGS());
    struct fake_client *c = knock(n, 0, "silent", NULL);
    fake_node_settle(n);
    expect(c, MQTT_AUTH, MQTT_REASON_CONTINUE_AUTHENTICATION);
    say(c, MQTT_AUTH, MQTT_REASON_CONTINUE_AUTHENTICATION, NULL, NULL);
    tell(n, verdict(n));
    expect(c, MQTT_CONNACK, MQTT_REASON_NOT_AUTHORIZED);
    leave(n);
}

/* The later end counts; the rest of what it sends waits for the verdict, what it gets does not. */
Test(token_login, a_renewed_token_makes_it_longer)
{
    struct fake_node *n = node_of(2, SETTINGS());
    struct fake_client *c = come(n, 0, "client", 5000);
    struct fake_client *other = come(n, 1, "other", 60000);
    cr_assert_eq(client_subscribe(c, "to/client", 0), 0);
    fake_node_advance(n, 4000);
    struct gate_request *const r = begin_again(n, c);
    client_send_publish(c, SAY(.topic = "from/client", .payload = "x", .qos = 1));
    client_say(other, "to/client", "y", 0);
    fake_node_settle(n);
    expect(c, MQTT_PUBLISH, 0);
    cr_expect_null(client_next(c));
    make_right(n, r, "alice", 5000);
    tell(n, r);
    expect(c, MQTT_AUTH, MQTT_REASON_SUCCESS);
    expect(c, MQTT_PUBACK, MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    fake_node_advance(n, 4900);
    cr_expect_not(client_is_ended(c));
    fake_node_advance(n, 200);
    expect(c, MQTT_DISCONNECT, MQTT_REASON_NOT_AUTHORIZED);
    cr_expect_eq(fake_node_count(n, METRIC_logins_renewed), 1);
    leave(n);
}

/* Whatever ends the connection while the verdict is under way: that is passed over. */
Test(token_login, a_connection_may_end_while_it_is_renewed)
{
    for (unsigned how = 0; how < 5; how++) {
        struct fake_node *n = node_of(2, SETTINGS("limits.connect_timeout_s=10"));
        struct fake_client *c = come(n, 0, "client", how == 1 ? 60000 : 5000);
        struct gate_request *r = begin_again(n, c), *other = NULL;
        make_right(n, r, "alice", 60000);
        switch (how) {
        case 0: /* its token is over, and it lingers */
            fake_node_advance(n, 5100);
            expect(c, MQTT_DISCONNECT, MQTT_REASON_NOT_AUTHORIZED);
            cr_expect_eq(fake_node_count(n, METRIC_logins_ended), 1);
            break;
        case 1: /* the exchange takes too long, and it has gone */
            fake_node_advance(n, 12000);
            expect(c, MQTT_DISCONNECT, MQTT_REASON_NOT_AUTHORIZED);
            cr_expect_eq(fake_node_count(n, METRIC_logins_not_renewed), 1);
            break;
        case 2:
            client_reset(c);
            fake_node_settle(n);
            break;
        case 3: /* with something behind it, which is looked at in the end */
            client_send_disconnect(c, MQTT_REASON_SUCCESS);
            client_finish(c);
            fake_node_settle(n);
            break;
        default: /* it comes once more, by another connection */
            (void)knock(n, 1, "client", TOKEN);
            other = verdict(n);
            make_right(n, other, "alice", 60000);
            tell(n, other);
            expect(c, MQTT_DISCONNECT, MQTT_REASON_SESSION_TAKEN_OVER);
            break;
        }
        tell(n, r);
        cr_expect_eq(fake_node_count(n, METRIC_logins_renewed), how == 3, "%u", how);
        cr_expect_null(client_take(c, MQTT_AUTH), "%u", how);
        cr_expect_eq(unread(n), 0);
        leave(n);
    }
}

Test(token_login, a_client_may_go_before_it_is_let_in)
{
    struct fake_node *n = node_of(1, SETTINGS("limits.connect_timeout_s=10"));
    struct fake_client *c = knock(n, 0, "client", TOKEN);
    struct gate_request *r = verdict(n);
    make_right(n, r, "alice", 60000);
    fake_node_advance(n, 10100);
    cr_expect(client_is_ended(c));
    tell(n, r);
    cr_expect_null(client_next(c));
    cr_expect_eq(fake_node_count(n, METRIC_logins_accepted), 0);
    cr_expect_eq(unread(n), 0);

    c = knock(n, 0, "client", TOKEN);
    r = verdict(n);
    make_right(n, r, "alice", 60000);
    client_reset(c);
    tell(n, r);
    fake_node_advance(n, 2000);
    leave(n);
}

/* One who has been longest about a CONNECT has to make room, while its token is judged. */
Test(token_login, a_connect_may_be_forgotten_while_it_waits)
{
    struct fake_node *n = node_of(1, SETTINGS());
    struct fake_client *c = knock(n, 0, "client", TOKEN);
    struct gate_request *const r = verdict(n);
    make_right(n, r, "alice", 60000);
    struct shard *s = fake_node_enter(n, 0);
    struct conn *const conn = s->all.first;
    input_forget(conn);
    conn_doom(conn, MQTT_REASON_QUOTA_EXCEEDED);
    tell(n, r);
    cr_expect(client_is_ended(c));
    cr_expect_eq(fake_node_count(n, METRIC_logins_accepted), 0);
    leave(n);
}

Test(token_login, only_the_same_user_is_renewed)
{
    struct fake_node *n = node_of(1, SETTINGS());
    struct fake_client *c = come(n, 0, "client", 60000);
    struct gate_request *const r = begin_again(n, c);
    const char *wrong;
    make_right(n, r, "mallory", 60000);
    r->facts.acl = acl_json_parse(bytes_text("[]"), &wrong);
    tell(n, r);
    expect(c, MQTT_DISCONNECT, MQTT_REASON_NOT_AUTHORIZED);
    cr_expect_eq(fake_node_count(n, METRIC_logins_renewed), 0);
    leave(n);
}

/* The key goes, or the method, between the question and the answer. */
Test(token_login, what_it_is_judged_by_may_go)
{
    struct fake_node *n = node_of(1, SETTINGS());
    struct fake_client *c = come(n, 0, "client", 60000);
    struct gate_request *const r = begin_again(n, c);
    make_right(n, r, "alice", 60000);
    r->facts.fingerprint++;
    tell(n, r);
    expect(c, MQTT_DISCONNECT, MQTT_REASON_NOT_AUTHORIZED);

    c = come(n, 0, "client", 60000);
    fake_node_reload(n, SETTINGS("auth.methods=password"));
    say(c, MQTT_AUTH, MQTT_REASON_REAUTHENTICATE, NULL, TOKEN);
    fake_node_settle(n);
    expect(c, MQTT_DISCONNECT, MQTT_REASON_BAD_AUTHENTICATION_METHOD);
    leave(n);
}

/* Begun with nothing, and left: whether it has been asked for its token or not. */
Test(token_login, an_exchange_that_is_left_has_an_end)
{
    struct fake_node *n = node_of(1, SETTINGS("limits.connect_timeout_s=10"));
    struct fake_client *c = come(n, 0, "client", 60000);
    say(c, MQTT_AUTH, MQTT_REASON_REAUTHENTICATE, NULL, NULL);
    fake_node_settle(n);
    expect(c, MQTT_AUTH, MQTT_REASON_CONTINUE_AUTHENTICATION);
    fake_node_advance(n, 9900);
    cr_expect_not(client_is_ended(c));
    fake_node_advance(n, 200);
    expect(c, MQTT_DISCONNECT, MQTT_REASON_NOT_AUTHORIZED);
    cr_expect_eq(fake_node_count(n, METRIC_logins_not_renewed), 1);
    leave(n);
}

/* What waits behind the token is bounded, as it is not read. */
Test(token_login, what_is_sent_meanwhile_is_bounded)
{
    static const uint8_t zeros[1000];
    struct fake_node *n = node_of(1, SETTINGS());
    struct fake_client *c = come(n, 0, "client", 600000);
    struct gate_request *const r = begin_again(n, c);
    make_right(n, r, "alice", 600000);
    for (unsigned i = 0; i < 1000; i++) {
        struct mqtt_packet packet = {.type = MQTT_PUBLISH};
        packet.publish.topic = bytes_text("t");
        packet.publish.payload = bytes_of(zeros, sizeof zeros);
        client_send(c, &packet);
        fake_node_settle(n);
    }
    cr_expect_leq(unread(n), 3 * 65536u);
    cr_expect_eq(fake_node_count(n, METRIC_publish_received), 0);
    tell(n, r);
    expect(c, MQTT_AUTH, MQTT_REASON_SUCCESS);
    cr_expect_eq(fake_node_count(n, METRIC_publish_received), 1000);
    leave(n);
}
