/* SPDX-License-Identifier: Apache-2.0 */
/* By a JSON Web Token in the place of the password (docs/tokens.md). */
#include "broker/auth/gate.h"
#include "broker/auth/token.h"
#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/log/log.h"
#include "broker/login/method.h"
#include "broker/shard/shard.h"

static bool is_in_use(const struct conn *c)
{
    return c->shard->token_keys != NULL;
}

/* Its key may have gone: who took it out does not trust it any more. */
static bool is_still(const struct conn *c, const struct login_user *user)
{
    const struct token_keys *const keys = c->shard->token_keys;
    return keys != NULL && token_keys_have(keys, user->fingerprint);
}

static enum login_step refuse(struct conn *c, enum token_err err)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_INFO, "token_refused",
              LOG_TEXT("address", conn_address(c, address, sizeof address)),
              LOG_TEXT("reason", token_err_text(err)));
    return login_no(c, MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
}

static enum login_step yes(struct conn *c, struct gate_request *r)
{
    const struct login_facts facts = {.name = token_facts_user(&r->facts),
                                      .ends_ms = r->ends_ms,
                                      .fingerprint = r->facts.fingerprint,
                                      .acl = r->facts.acl,
                                      .method = CONFIG_AUTH_TOKEN};
    r->facts.acl = NULL; /* the user's from now on */
    return login_yes(c, &facts);
}

static enum login_step step_after(struct conn *c, struct gate_request *r)
{
    switch (r->verdict) {
    case GATE_RIGHT:
        break;
    case GATE_WRONG:
        return refuse(c, r->token_err);
    default:
        return login_not_right(c, r->verdict);
    }
    if (!is_in_use(c) || !token_keys_have(c->shard->token_keys, r->facts.fingerprint)) {
        return refuse(c, TOKEN_UNKNOWN_KEY); /* the keys are others since it was judged */
    }
    return yes(c, r);
}

static void answered(struct inquiry *q)
{
    struct conn *c = q->client;
    if (login_is_awaited(c)) {
        login_go_on(c, step_after(c, (struct gate_request *)q));
    }
}

/* A user name that does not have to match is nobody's business. */
static struct gate_request *request_of(const struct conn *c, const struct mqtt_connect *m)
{
    const bool matters = m->has_user_name && c->shard->config->token.user_name_must_match;
    const struct token_bearer bearer = {.user_name = matters ? &m->user_name : NULL,
                                        .client_id = m->client_id};
    return gate_token_request_create(&bearer, m->password);
}

static enum login_step ask(struct conn *c, const struct mqtt_connect *m)
{
    if (!m->has_password || !token_has_form(m->password)) {
        return LOGIN_NEXT;
    }
    if (m->password.len > TOKEN_BYTES_MAX) {
        return refuse(c, TOKEN_MALFORMED);
    }
    struct gate_request *const r = request_of(c, m);
    if (r == NULL) {
        return login_not_right(c, GATE_FAILED);
    }
    return login_ask_gate(c, r, answered);
}

const struct login_method login_by_token = {
    .is_in_use = is_in_use, .ask = ask, .is_still = is_still};
