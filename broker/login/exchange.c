/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/login/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/handlers.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/log/log.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/property.h"

/* Of a step, in the shard's measure: some tens of microseconds. */
#define WORK_PER_STEP 1000u

static const struct exchange_method *const methods[] = {&exchange_by_scram, &exchange_by_jwt};

#define METHODS (sizeof methods / sizeof methods[0])

static void on_deadline(struct timer *t, uint64_t now_ms);

static const struct exchange_method *find(const struct conn *c, struct bytes name)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (bytes_equal(bytes_text(methods[i]->name), name) && methods[i]->is_in_use(c)) {
            return methods[i];
        }
    }
    return NULL;
}

/* ---- what both kinds have in common */

static bool start(struct conn *c)
{
    shard_count(c->shard, METRIC_exchanges_begun);
    c->exchange->state = c->exchange->method->begin(c);
    return c->exchange->state != NULL;
}

static void stop(struct conn *c)
{
    struct exchange *const e = c->exchange;
    wheel_cancel(c->shard->wheel, &e->deadline);
    if (e->state != NULL) {
        e->method->end(e->state);
        e->state = NULL;
    }
}

static enum exchange_step step(struct conn *c, const struct mqtt_connect *connect,
                               const struct mqtt_properties *p, struct exchange_answer *answer)
{
    struct exchange *const e = c->exchange;
    const bool says = property_has(p, PROPERTY_AUTHENTICATION_DATA);
    *answer = (struct exchange_answer){.len = 0};
    c->shard->work += WORK_PER_STEP;
    return e->method->step(c, e->state, connect, says ? p->authentication_data : bytes_of(NULL, 0),
                           answer);
}

static void wait_for_answer(struct conn *c)
{
    c->exchange->waits = true;
    c->waiting++;
    c->blocked |= BLOCKED_LOGIN;
}

static void put(struct property_writer *w, const struct exchange *e, struct bytes data)
{
    property_put_string(w, PROPERTY_AUTHENTICATION_METHOD, bytes_text(e->method->name));
    if (data.len > 0) {
        property_put_string(w, PROPERTY_AUTHENTICATION_DATA, data);
    }
}

static void send_auth(struct conn *c, enum mqtt_reason reason, const struct exchange_answer *answer)
{
    uint8_t properties[EXCHANGE_PROPERTIES_MAX];
    struct property_writer w = {.at = properties, .size = sizeof properties};
    put(&w, c->exchange, bytes_of(answer->data, answer->len));
    assert(!w.overflow);
    struct mqtt_packet packet = {.type = MQTT_AUTH, .auth = {.reason = (uint8_t)reason}};
    packet.auth.properties.raw = bytes_of(properties, w.len);
    conn_send_packet(c, &packet, bytes_of(NULL, 0));
}

static void log_refused(const struct conn *c, const struct exchange_answer *answer)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_WARNING, "authentication_refused", LOG_TEXT("method", c->exchange->method->name),
              LOG_BYTES("user_name", answer->facts.name),
              LOG_TEXT("peer", conn_address(c, address, sizeof address)),
              LOG_TEXT("reason", mqtt_reason_text((uint8_t)answer->reason)));
}

static bool is_its_method(const struct exchange *e, const struct mqtt_disconnect *auth)
{
    return bytes_equal(auth->properties.authentication_method, bytes_text(e->method->name));
}

/* ---- before CONNACK */

bool exchange_is_asked_for(const struct conn *c, const struct mqtt_connect *m)
{
    return c->login == LOGIN_OPEN && property_has(&m->properties, PROPERTY_AUTHENTICATION_METHOD);
}

static bool keep_last_word(struct exchange *e, const struct exchange_answer *answer)
{
    if (answer->len == 0) {
        return true;
    }
    e->last_word = malloc(answer->len);
    if (e->last_word == NULL) {
        return false;
    }
    memcpy(e->last_word, answer->data, answer->len);
    e->last_word_len = answer->len;
    return true;
}

static void forget_last_word(struct exchange *e)
{
    free(e->last_word);
    e->last_word = NULL;
    e->last_word_len = 0;
}

static void say_yes(struct conn *c, struct exchange_answer *answer)
{
    if (keep_last_word(c->exchange, answer)) {
        (void)login_yes(c, &answer->facts);
    } else {
        login_facts_fini(&answer->facts);
        (void)login_no(c, MQTT_REASON_SERVER_BUSY);
    }
}

/* What comes of a step. True: it is settled. */
static bool heed(struct conn *c, enum exchange_step next, struct exchange_answer *answer)
{
    switch (next) {
    case EXCHANGE_GO_ON:
        send_auth(c, MQTT_REASON_CONTINUE_AUTHENTICATION, answer);
        return false;
    case EXCHANGE_WAIT:
        wait_for_answer(c);
        return false;
    case EXCHANGE_YES:
        say_yes(c, answer);
        break;
    case EXCHANGE_NO:
        log_refused(c, answer);
        (void)login_no(c, answer->reason);
        break;
    }
    stop(c);
    return true;
}

static bool step_to_connack(struct conn *c, const struct mqtt_connect *connect,
                            const struct mqtt_properties *p)
{
    struct exchange_answer answer;
    const enum exchange_step next = step(c, connect, p, &answer);
    return heed(c, next, &answer);
}

bool exchange_begin(struct conn *c, const struct mqtt_connect *m)
{
    const struct exchange_method *const method = find(c, m->properties.authentication_method);
    if (method == NULL) {
        (void)login_no(c, MQTT_REASON_BAD_AUTHENTICATION_METHOD); /* [MQTT-4.12.0-1] */
        return true;
    }
    c->exchange = calloc(1, sizeof *c->exchange);
    if (c->exchange == NULL) {
        (void)login_no(c, MQTT_REASON_SERVER_BUSY);
        return true;
    }
    c->exchange->method = method;
    c->exchange->conn = c;
    timer_init(&c->exchange->deadline, on_deadline);
    if (!start(c)) {
        (void)login_no(c, MQTT_REASON_SERVER_BUSY);
        return true;
    }
    c->version = MQTT_V5;
    c->packet_bytes_max = connect_packet_bytes_max(m); /* AUTH keeps to it too */
    return step_to_connack(c, m, &m->properties);
}

/* The CONNECT that was set aside. */
static void look_aside(struct conn *c, struct mqtt_packet *packet)
{
    const struct mqtt_params params = {.packet_bytes_max = c->server_packet_bytes_max};
    size_t used;
    const enum mqtt_err err = mqtt_decode(packet, c->aside, c->aside_len, &params, &used);
    assert(err == MQTT_OK); /* as when it came */
    (void)err;
    connect_complete(c, &packet->connect);
}

/* Goes on with it. on_connect() may close the connection, which forgets those bytes: as with any
 * packet, they are not looked at afterwards. */
static void go_on(struct conn *c, const struct mqtt_packet *connect)
{
    (void)on_connect(c, connect); /* it always answers itself */
    input_take_back(c);
}

enum mqtt_reason exchange_hear(struct conn *c, const struct mqtt_packet *packet)
{
    if (packet->type == MQTT_DISCONNECT) {
        conn_close(c, MQTT_REASON_SUCCESS, SESSION_WILL_FORGET);
        return MQTT_REASON_SUCCESS;
    }
    if (packet->type != MQTT_AUTH) {
        return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-3.1.2-30] */
    }
    if (!is_its_method(c->exchange, &packet->auth)) {
        return MQTT_REASON_BAD_AUTHENTICATION_METHOD; /* [MQTT-4.12.0-5] */
    }
    if (packet->auth.reason != MQTT_REASON_CONTINUE_AUTHENTICATION) {
        return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-4.12.0-3] */
    }
    struct mqtt_packet connect;
    look_aside(c, &connect);
    if (step_to_connack(c, &connect.connect, &packet->auth.properties)) {
        go_on(c, &connect);
    }
    return MQTT_REASON_SUCCESS;
}

void exchange_put_last_word(struct property_writer *w, const struct conn *c)
{
    if (c->exchange != NULL) {
        put(w, c->exchange, bytes_of(c->exchange->last_word, c->exchange->last_word_len));
        forget_last_word(c->exchange);
    }
}

/* ---- while connected */

static void refuse(struct conn *c, const struct exchange_answer *answer)
{
    shard_count(c->shard, METRIC_logins_not_renewed);
    log_refused(c, answer);
    stop(c);
    conn_close(c, (uint8_t)answer->reason, SESSION_WILL_PUBLISH); /* [MQTT-4.12.1-2] */
}

static void refuse_for(struct conn *c, struct exchange_answer *answer, enum mqtt_reason reason)
{
    answer->reason = reason;
    refuse(c, answer);
}

/* Whose session it is does not change; what it may do is as it has proved now. */
static void renew(struct conn *c, struct exchange_answer *answer)
{
    if (!bytes_equal(answer->facts.name, login_user_name(c->user))) {
        login_facts_fini(&answer->facts);
        refuse_for(c, answer, MQTT_REASON_NOT_AUTHORIZED);
        return;
    }
    if (!login_set_rules(c, answer->facts.acl, answer->facts.groups)) {
        refuse_for(c, answer, MQTT_REASON_SERVER_BUSY);
        return;
    }
    shard_count(c->shard, METRIC_logins_renewed);
    c->user->fingerprint = answer->facts.fingerprint;
    login_renew(c, answer->facts.ends_ms);
    send_auth(c, MQTT_REASON_SUCCESS, answer);
    stop(c);
}

static void heed_again(struct conn *c, enum exchange_step next, struct exchange_answer *answer)
{
    switch (next) {
    case EXCHANGE_GO_ON:
        send_auth(c, MQTT_REASON_CONTINUE_AUTHENTICATION, answer);
        break;
    case EXCHANGE_WAIT:
        wait_for_answer(c);
        break;
    case EXCHANGE_YES:
        renew(c, answer);
        break;
    case EXCHANGE_NO:
        refuse(c, answer);
        break;
    }
}

/* Before it is connected connect_timeout_s runs anyway. */
static void set_deadline(struct conn *c)
{
    const struct shard *s = c->shard;
    wheel_set(s->wheel, &c->exchange->deadline,
              s->now_ms + s->config->limits.connect_timeout_s * UINT64_C(1000));
}

/* It has begun to say who it is, and left it at that. */
static void on_deadline(struct timer *t, uint64_t now_ms)
{
    (void)now_ms;
    struct conn *const c = table_object(t, struct exchange, deadline)->conn;
    shard_enter(c->shard);
    if (c->phase != CONN_CONNECTED) {
        return; /* it lingers */
    }
    shard_count(c->shard, METRIC_logins_not_renewed);
    log_event(LOG_INFO, "authentication_timed_out", LOG_TEXT("method", c->exchange->method->name),
              LOG_BYTES("user_name", login_user_name(c->user)),
              LOG_BYTES("client_id", session_client_id(c->session)));
    conn_close_saying(c, MQTT_REASON_NOT_AUTHORIZED, "the authentication took too long",
                      SESSION_WILL_PUBLISH);
}

static enum mqtt_reason begin_again(struct conn *c)
{
    if (!c->exchange->method->is_in_use(c)) {
        return MQTT_REASON_BAD_AUTHENTICATION_METHOD; /* any more */
    }
    if (!start(c)) {
        return MQTT_REASON_SERVER_BUSY;
    }
    set_deadline(c);
    return MQTT_REASON_SUCCESS;
}

enum mqtt_reason exchange_again(struct conn *c, const struct mqtt_disconnect *auth)
{
    struct exchange *const e = c->exchange;
    if (e == NULL) {
        return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-4.12.0-7] */
    }
    if (!is_its_method(e, auth)) {
        return MQTT_REASON_BAD_AUTHENTICATION_METHOD; /* [MQTT-4.12.1-1] */
    }
    const bool begins = auth->reason == MQTT_REASON_REAUTHENTICATE;
    if (begins == (e->state != NULL)) {
        return MQTT_REASON_PROTOCOL_ERROR; /* one at a time, and none that has not begun */
    }
    struct exchange_answer answer = {.reason = begins ? begin_again(c) : MQTT_REASON_SUCCESS};
    if (answer.reason != MQTT_REASON_SUCCESS) {
        refuse(c, &answer);
        return MQTT_REASON_SUCCESS;
    }
    const enum exchange_step next = step(c, NULL, &auth->properties, &answer);
    heed_again(c, next, &answer);
    return MQTT_REASON_SUCCESS;
}

/* ---- after an inquiry */

bool exchange_is_awaited(const struct conn *c)
{
    const bool has_connect = c->phase == CONN_AWAIT_CONNECT && c->aside != NULL;
    return c->exchange->waits && (has_connect || c->phase == CONN_CONNECTED);
}

void exchange_go_on(struct conn *c, enum exchange_step next, struct exchange_answer *answer)
{
    assert(exchange_is_awaited(c));
    assert(next != EXCHANGE_WAIT);
    c->exchange->waits = false;
    input_unblock(c, BLOCKED_LOGIN); /* later in this turn */
    if (c->phase == CONN_CONNECTED) {
        heed_again(c, next, answer);
    } else if (heed(c, next, answer)) {
        struct mqtt_packet connect;
        look_aside(c, &connect);
        c->more_input = c->in_len > 0;
        go_on(c, &connect);
    }
}

/* ---- what it sends */

bool exchange_has_secrets(const struct conn *c)
{
    return c->exchange != NULL && c->exchange->method->says_secrets;
}

/* ---- the end */

void exchange_forget(struct conn *c)
{
    if (c->exchange != NULL) {
        stop(c);
        forget_last_word(c->exchange);
        free(c->exchange);
        c->exchange = NULL;
    }
}
