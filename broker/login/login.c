/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/login/login.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/acl.h"
#include "broker/auth/groups.h"
#include "broker/auth/inquiry.h"
#include "broker/config/auth_methods.h"
#include "broker/config/config.h"
#include "broker/conn/access.h"
#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/login/method.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/transport/listener.h"

static const struct login_method *const methods[CONFIG_AUTH_METHODS] = {
    [CONFIG_AUTH_CERTIFICATE] = &login_by_certificate,
    [CONFIG_AUTH_PASSWORD] = &login_by_password,
    [CONFIG_AUTH_TOKEN] = &login_by_token,
    [CONFIG_AUTH_HTTP] = &login_by_http,
};

/* ---- users */

void login_end(struct conn *c)
{
    shard_count(c->shard, METRIC_logins_ended);
    log_event(LOG_INFO, "login_ended", LOG_BYTES("user_name", login_user_name(c->user)),
              LOG_BYTES("client_id", session_client_id(c->session)),
              LOG_TEXT("by", auth_method_name(c->user->method)));
    const bool token = c->user->method == CONFIG_AUTH_TOKEN;
    conn_close_saying(c, MQTT_REASON_NOT_AUTHORIZED,
                      token ? "the token has expired" : "the time of this login is over",
                      SESSION_WILL_PUBLISH);
}

static void on_end(struct timer *t, uint64_t now_ms)
{
    (void)now_ms;
    struct conn *const c = ((struct login_user *)(void *)t)->conn;
    const struct login_method *const method = methods[c->user->method];
    shard_enter(c->shard);
    if (c->phase != CONN_CONNECTED) {
        return; /* it lingers: it has no session, and no time left either */
    }
    if (method->ask_again == NULL || !method->ask_again(c)) {
        login_end(c);
    }
}

static void settle(struct conn *c, enum mqtt_reason reason)
{
    c->login = LOGIN_SETTLED;
    c->login_reason = (uint8_t)reason;
}

enum login_step login_no(struct conn *c, enum mqtt_reason reason)
{
    switch (reason) {
    case MQTT_REASON_CONNECTION_RATE_EXCEEDED:
        shard_count(c->shard, METRIC_logins_limited);
        break;
    case MQTT_REASON_SERVER_BUSY:
    case MQTT_REASON_SERVER_UNAVAILABLE:
        shard_count(c->shard, METRIC_logins_busy);
        break;
    default:
        shard_count(c->shard, METRIC_logins_refused);
        break;
    }
    settle(c, reason);
    return LOGIN_NO;
}

/* Rules and groups of a client's own count as memory of the shard's. false: they have gone. */
static bool hold_own(struct conn *c, struct acl *acl, struct groups *groups)
{
    const size_t bytes = (acl == NULL ? 0 : acl->bytes) + groups_bytes(groups);
    if (bytes == 0 || access_hold(c->shard, bytes)) {
        return true;
    }
    acl_destroy(acl);
    groups_destroy(groups);
    return false;
}

static void destroy_own(struct conn *c, struct acl *acl, struct groups *groups)
{
    access_let_go(c->shard, (acl == NULL ? 0 : acl->bytes) + groups_bytes(groups));
    acl_destroy(acl);
    groups_destroy(groups);
}

void login_facts_fini(struct login_facts *facts)
{
    acl_destroy(facts->acl);
    groups_destroy(facts->groups);
    facts->acl = NULL;
    facts->groups = NULL;
}

enum login_step login_yes(struct conn *c, const struct login_facts *facts)
{
    if (!hold_own(c, facts->acl, facts->groups)) {
        return login_no(c, MQTT_REASON_SERVER_BUSY);
    }
    struct login_user *const user = malloc(sizeof *user + facts->name.len);
    if (user == NULL) {
        destroy_own(c, facts->acl, facts->groups);
        return login_no(c, MQTT_REASON_SERVER_BUSY);
    }
    *user = (struct login_user){.conn = c,
                                .ends_ms = facts->ends_ms,
                                .fingerprint = facts->fingerprint,
                                .acl = facts->acl,
                                .groups = facts->groups,
                                .method = facts->method,
                                .len = (uint16_t)facts->name.len};
    timer_init(&user->end, on_end);
    if (facts->name.len > 0) {
        memcpy(user->name, facts->name.at, facts->name.len);
    }
    c->user = user;
    shard_count(c->shard, METRIC_logins_accepted);
    settle(c, MQTT_REASON_SUCCESS);
    return LOGIN_YES;
}

bool login_set_rules(struct conn *c, struct acl *acl, struct groups *groups)
{
    if (!hold_own(c, acl, groups)) {
        return false;
    }
    destroy_own(c, c->user->acl, c->user->groups);
    c->user->acl = acl;
    c->user->groups = groups;
    access_changed(c);
    return true;
}

void login_renew(struct conn *c, uint64_t ends_ms)
{
    c->user->ends_ms = ends_ms;
    wheel_cancel(c->shard->wheel, &c->user->end);
    if (ends_ms != UINT64_MAX) {
        wheel_set(c->shard->wheel, &c->user->end, ends_ms);
    }
}

void login_begin(struct conn *c)
{
    if (c->user != NULL) {
        login_renew(c, c->user->ends_ms);
    }
}

void login_forget(struct conn *c)
{
    if (c->user != NULL) {
        wheel_cancel(c->shard->wheel, &c->user->end);
        destroy_own(c, c->user->acl, c->user->groups);
        free(c->user);
        c->user = NULL;
    }
}

/* ---- the chain */

static struct auth_methods methods_of(const struct conn *c)
{
    struct auth_methods chain;
    const char *const wrong = auth_methods_parse(&chain, c->shard->config->auth.methods);
    assert(wrong == NULL); /* config_load() has tried */
    (void)wrong;
    return chain;
}

/* The next method that is in use, from auth.methods[*at] on; NULL: none is left. */
static const struct login_method *next_in_use(const struct conn *c, uint8_t *at)
{
    const struct auth_methods chain = methods_of(c);
    while (*at < chain.count) {
        const struct login_method *const method = methods[chain.at[(*at)++]];
        if (method->is_in_use(c)) {
            return method;
        }
    }
    return NULL;
}

static bool is_any_in_use(const struct conn *c)
{
    uint8_t at = 0;
    return next_in_use(c, &at) != NULL;
}

bool login_has_next(const struct conn *c)
{
    uint8_t at = c->login_at;
    return next_in_use(c, &at) != NULL;
}

bool login_is_among_methods(const struct conn *c, enum config_auth_method method)
{
    const struct auth_methods chain = methods_of(c);
    return memchr(chain.at, method, chain.count) != NULL;
}

static bool is_welcome_unknown(const struct conn *c)
{
    const struct listener *const l = &c->shard->node->listeners[c->listener];
    return c->shard->config->allow_anonymous ||
           (l->settings.client_certificate == CONFIG_CLIENT_REQUIRED &&
            l->settings.user_from == CONFIG_FROM_NONE);
}

/* It was opened since its clients would be asked: also where a reload has taken that method away.
 */
static bool has_named_users(const struct conn *c)
{
    return c->shard->node->listeners[c->listener].settings.user_from != CONFIG_FROM_NONE;
}

/* No method has said yes or no. */
static void settle_unknown(struct conn *c, const struct mqtt_connect *m)
{
    if (!is_any_in_use(c) && !has_named_users(c)) {
        settle(c, MQTT_REASON_SUCCESS); /* nobody is asked: listeners are open, or not */
    } else if (m->has_user_name || m->has_password) {
        (void)login_no(c, MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
    } else {
        settle(c, is_welcome_unknown(c) ? MQTT_REASON_SUCCESS : MQTT_REASON_NOT_AUTHORIZED);
    }
}

bool login_is_settled(struct conn *c, const struct mqtt_connect *m)
{
    while (c->login == LOGIN_OPEN) {
        const struct login_method *const method = next_in_use(c, &c->login_at);
        if (method == NULL) {
            settle_unknown(c, m);
        } else if (method->ask(c, m) == LOGIN_WAIT) {
            return false;
        }
    }
    return c->login == LOGIN_SETTLED;
}

struct in6_addr login_address(const struct conn *c)
{
    return c->local ? (struct in6_addr)IN6ADDR_ANY_INIT : c->at.address;
}

/* ---- inquiries */

void login_inquire(struct conn *c, struct inquiry *q)
{
    q->client = c;
    q->shard = c->shard->id;
}

void login_wait_connected(struct conn *c)
{
    c->waiting++;
}

enum login_step login_wait(struct conn *c)
{
    c->login = LOGIN_ASKED;
    c->waiting++;
    c->blocked |= BLOCKED_LOGIN;
    return LOGIN_WAIT;
}

bool login_is_awaited(const struct conn *c)
{
    return c->phase == CONN_AWAIT_CONNECT && c->login == LOGIN_ASKED;
}

void login_go_on(struct conn *c, enum login_step step)
{
    if (step == LOGIN_NEXT) {
        c->login = LOGIN_OPEN;
    }
    if (step != LOGIN_WAIT) {
        input_unblock(c, BLOCKED_LOGIN);
    }
}

enum login_step login_not_right(struct conn *c, enum gate_verdict verdict)
{
    switch (verdict) {
    case GATE_LIMITED:
        return login_no(c, MQTT_REASON_CONNECTION_RATE_EXCEEDED);
    case GATE_BUSY:
    case GATE_FAILED:
        return login_no(c, MQTT_REASON_SERVER_BUSY);
    case GATE_UNREADY:
        return login_no(c, MQTT_REASON_SERVER_UNAVAILABLE);
    default:
        return login_no(c, MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
    }
}

bool login_hand_over(struct conn *c, struct gate_request *r, void (*answered)(struct inquiry *q),
                     enum gate_verdict *verdict)
{
    const bool is_known = c->phase == CONN_CONNECTED;
    login_inquire(c, &r->inquiry);
    r->inquiry.answered = answered;
    r->failures_per_minute = is_known ? 0 : c->shard->config->auth.failures_per_minute;
    r->address = login_address(c);
    if (!gate_ask(c->shard->node->gate, r, verdict)) {
        gate_request_destroy(r);
        return false;
    }
    return true;
}

enum login_step login_ask_gate(struct conn *c, struct gate_request *r,
                               void (*answered)(struct inquiry *q))
{
    enum gate_verdict verdict;
    return login_hand_over(c, r, answered, &verdict) ? login_wait(c) : login_not_right(c, verdict);
}

void login_answer(struct shard *s, struct inquiry *answered)
{
    struct inquiry *first = atomic_load_explicit(&s->answers, memory_order_relaxed);
    do {
        answered->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&s->answers, &first, answered,
                                                    memory_order_release, memory_order_relaxed));
    io_wake_external(s->io);
}

static struct inquiry *take_answers(struct shard *s)
{
    return atomic_load_explicit(&s->answers, memory_order_relaxed) == NULL
               ? NULL
               : atomic_exchange_explicit(&s->answers, NULL, memory_order_acquire);
}

static void take_up(struct inquiry *q)
{
    while (q != NULL) {
        struct inquiry *const next = q->next;
        struct conn *const c = q->client;
        q->answered(q);
        conn_answered(c); /* which may be the end of it */
        q->destroy(q);
        q = next;
    }
}

/* ---- other users */

static bool is_still(const struct conn *c)
{
    const struct login_method *const method = methods[c->user->method];
    return method->is_still == NULL || method->is_still(c, c->user);
}

static void review(struct shard *s)
{
    for (struct conn *c = s->all.first; c != NULL; c = c->links[CONN_ALL].next) {
        if (c->user != NULL && c->phase == CONN_CONNECTED && !is_still(c)) {
            shard_count(s, METRIC_logins_revoked);
            log_event(LOG_WARNING, "login_revoked",
                      LOG_BYTES("user_name", login_user_name(c->user)),
                      LOG_BYTES("client_id", session_client_id(c->session)),
                      LOG_TEXT("by", auth_method_name(c->user->method)),
                      LOG_TEXT("reason", "what the user was let in by is not in force any more"));
            conn_close(c, MQTT_REASON_NOT_AUTHORIZED, SESSION_WILL_PUBLISH);
        }
    }
}

void login_turn(struct shard *s)
{
    const uint64_t generation =
        atomic_load_explicit(&s->node->users_generation, memory_order_acquire);
    struct inquiry *const answers = take_answers(s); /* what they were judged by is seen then */
    shard_look(s); /* not before: who is let in is let in by what is reviewed now, or a later one */
    if (s->users_generation != generation) {
        s->users_generation = generation;
        review(s);
    }
    take_up(answers);
}
