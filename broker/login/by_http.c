/* SPDX-License-Identifier: Apache-2.0 */
/* By a server of the operator's, asked over HTTP (docs/http-callback.md). */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/acl.h"
#include "broker/auth/inquiry.h"
#include "broker/callbacks.h"
#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/histogram.h"
#include "broker/login/method.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/transport/listener.h"
#include "broker/unix_socket.h"

struct question {
    struct inquiry inquiry;
    struct callback callback;
    struct shard *shard; /* whose it is: on another thread, only to be told */
    uint64_t asked_ms;
    uint16_t user_len;
    char user[]; /* as CONNECT has it */
};

static bool is_in_use(const struct conn *c)
{
    return c->shard->node->callbacks != NULL;
}

static void destroy(struct inquiry *q)
{
    acl_destroy(((struct question *)q)->callback.verdict.acl);
    free(q); /* what HTTP had of it went with its answer */
}

static struct acl *take_rules(struct callback_verdict *v)
{
    struct acl *const acl = v->acl;
    v->acl = NULL;
    return acl;
}

/* ---- what comes of an answer */

static uint64_t ends_ms(const struct shard *s, const struct callback_verdict *v)
{
    return v->expires_in_s == 0 ? UINT64_MAX : s->now_ms + (uint64_t)v->expires_in_s * 1000;
}

static enum login_step step_for(struct conn *c, struct callback_verdict *v, struct bytes user_name)
{
    struct login_facts facts = {.name = v->has_user ? bytes_of(v->user, v->user_len) : user_name,
                                .ends_ms = ends_ms(c->shard, v),
                                .method = CONFIG_AUTH_HTTP};
    switch (v->result) {
    case CALLBACK_ALLOW:
        facts.acl = take_rules(v);
        return login_yes(c, &facts);
    case CALLBACK_DENY:
        return login_no(c, MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
    case CALLBACK_IGNORE:
        return LOGIN_NEXT;
    case CALLBACK_UNCLEAR:
        break;
    }
    return c->shard->config->http.when_away == CONFIG_AWAY_IGNORE
               ? LOGIN_NEXT
               : login_no(c, MQTT_REASON_SERVER_UNAVAILABLE);
}

static void count_answer(const struct question *question)
{
    struct shard *const s = question->shard;
    histogram_add(&s->histograms, HISTOGRAM_http_answer, (s->now_ms - question->asked_ms) * 1000,
                  1);
    if (question->callback.verdict.result != CALLBACK_UNCLEAR) {
        return;
    }
    switch (question->callback.err) {
    case HTTP_UNREACHABLE:
        shard_count(s, METRIC_http_unreachable);
        break;
    case HTTP_TIMED_OUT:
        shard_count(s, METRIC_http_timed_out);
        break;
    default:
        shard_count(s, METRIC_http_unclear);
        break;
    }
}

static void answered(struct inquiry *q)
{
    struct question *const question = (struct question *)q;
    struct conn *const c = q->client;
    count_answer(question);
    if (login_is_awaited(c)) {
        login_go_on(c, step_for(c, &question->callback.verdict,
                                bytes_of(question->user, question->user_len)));
    }
}

/* It is connected meanwhile, as it was: or it has gone, or been taken over, by another connection.
 */
static void answered_again(struct inquiry *q)
{
    struct question *const question = (struct question *)q;
    struct callback_verdict *const v = &question->callback.verdict;
    struct conn *const c = q->client;
    count_answer(question);
    if (c->phase != CONN_CONNECTED) {
        return;
    }
    if (v->result == CALLBACK_ALLOW && login_set_rules(c, take_rules(v), NULL)) {
        login_renew(c, ends_ms(c->shard, v));
    } else {
        login_end(c);
    }
}

/* On the thread that asks. */
static void judged(struct callback *callback)
{
    struct question *const q =
        (struct question *)(void *)((char *)callback - offsetof(struct question, callback));
    login_answer(q->shard, &q->inquiry);
}

/* ---- asking */

static struct question *make_question(struct conn *c, struct bytes user_name)
{
    struct question *const q = calloc(1, sizeof *q + user_name.len);
    if (q == NULL) {
        return NULL;
    }
    login_inquire(c, &q->inquiry);
    q->inquiry.answered = answered;
    q->inquiry.destroy = destroy;
    q->shard = c->shard;
    q->asked_ms = c->shard->now_ms;
    q->callback.judged = judged;
    q->callback.failures_per_minute = c->shard->config->auth.failures_per_minute;
    q->callback.remember_s = c->shard->config->http.remember_s;
    q->user_len = (uint16_t)user_name.len; /* a string of MQTT: 65,535 at most */
    if (user_name.len > 0) {
        memcpy(q->user, user_name.at, user_name.len);
    }
    return q;
}

static const char *listener_url(const struct conn *c)
{
    return c->shard->node->listeners[c->listener].settings.url;
}

/* Of the process at the other end of a Unix socket. */
static uint32_t uid_of(const struct conn *c)
{
    return c->local ? c->at.peer.uid : UNIX_ID_UNKNOWN;
}

/* Also of clients that give nothing: whether they are welcome is for the server to say. */
static enum login_step ask(struct conn *c, const struct mqtt_connect *m)
{
    char address[CONN_ADDRESS_TEXT];
    const struct callback_client client = {
        .has_user_name = m->has_user_name,
        .has_password = m->has_password,
        .user_name = m->user_name,
        .password = m->password,
        .client_id = m->client_id,
        .address = c->local ? "unix" : conn_address(c, address, sizeof address),
        .has_uid = uid_of(c) != UNIX_ID_UNKNOWN,
        .uid = uid_of(c),
        .listener = listener_url(c),
        .protocol_level = m->version,
    };
    const struct in6_addr where = login_address(c);
    struct question *const q = make_question(c, m->user_name);
    if (q == NULL) {
        return login_no(c, MQTT_REASON_SERVER_BUSY);
    }
    enum login_step step = LOGIN_NO;
    switch (callbacks_ask(c->shard->node->callbacks, &q->callback, &client, &where)) {
    case CALLBACKS_ASKED:
        shard_count(c->shard, METRIC_http_asked);
        return login_wait(c);
    case CALLBACKS_REMEMBERED:
        shard_count(c->shard, METRIC_http_remembered);
        step = step_for(c, &q->callback.verdict, m->user_name);
        break;
    case CALLBACKS_LIMITED:
        step = login_no(c, MQTT_REASON_CONNECTION_RATE_EXCEEDED);
        break;
    case CALLBACKS_BUSY:
        step = login_no(c, MQTT_REASON_SERVER_BUSY);
        break;
    }
    destroy(&q->inquiry);
    return step;
}

/* Without its password, which nobody kept. */
static bool ask_again(struct conn *c)
{
    char address[CONN_ADDRESS_TEXT];
    const struct callback_client client = {
        .again = true,
        .has_user_name = c->user->len > 0,
        .user_name = login_user_name(c->user),
        .client_id = session_client_id(c->session),
        .address = c->local ? "unix" : conn_address(c, address, sizeof address),
        .has_uid = uid_of(c) != UNIX_ID_UNKNOWN,
        .uid = uid_of(c),
        .listener = listener_url(c),
        .protocol_level = c->version,
    };
    const struct in6_addr where = login_address(c);
    struct question *const q = make_question(c, bytes_of(NULL, 0));
    if (q == NULL) {
        return false;
    }
    q->inquiry.answered = answered_again;
    if (callbacks_ask(c->shard->node->callbacks, &q->callback, &client, &where) !=
        CALLBACKS_ASKED) {
        destroy(&q->inquiry);
        return false;
    }
    shard_count(c->shard, METRIC_http_asked);
    login_wait_connected(c);
    return true;
}

const struct login_method login_by_http = {
    .is_in_use = is_in_use, .ask = ask, .ask_again = ask_again};
