/* SPDX-License-Identifier: Apache-2.0 */
/* By a JSON Web Token in the place of the password (docs/tokens.md). */
#include "broker/login/by_token.h"

#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/log/log.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

bool login_token_is_in_use(const struct conn *c)
{
    return c->shard->token_keys != NULL;
}

static bool has_key(const struct conn *c, uint64_t fingerprint)
{
    const struct token_keys *const keys = c->shard->token_keys;
    return keys != NULL && token_keys_have(keys, fingerprint);
}

/* Its key may have gone: who took it out does not trust it any more. */
static bool is_still(const struct conn *c, const struct login_user *user)
{
    return has_key(c, user->fingerprint);
}

void login_token_refused(const struct conn *c, enum token_err err)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_INFO, "token_refused", LOG_TEXT("peer", conn_address(c, address, sizeof address)),
              LOG_TEXT("reason", token_err_text(err)));
}

enum gate_verdict login_token_verdict(const struct conn *c, const struct gate_request *r)
{
    if (r->verdict == GATE_RIGHT && !has_key(c, r->facts.fingerprint)) {
        login_token_refused(c, TOKEN_UNKNOWN_KEY); /* the keys are others since it was judged */
        return GATE_WRONG;
    }
    if (r->verdict == GATE_WRONG) {
        login_token_refused(c, r->token_err);
    }
    return r->verdict;
}

struct login_facts login_token_facts(struct gate_request *r)
{
    const struct login_facts facts = {.name = token_facts_user(&r->facts),
                                      .ends_ms = r->ends_ms,
                                      .fingerprint = r->facts.fingerprint,
                                      .acl = r->facts.acl,
                                      .groups = r->facts.groups,
                                      .method = CONFIG_AUTH_TOKEN};
    r->facts.acl = NULL; /* the user's from now on */
    r->facts.groups = NULL;
    return facts;
}

/* A user name that does not have to match is nobody's business. */
struct gate_request *login_token_request(const struct conn *c, const struct mqtt_connect *m,
                                         struct bytes token)
{
    const bool matters =
        m != NULL && m->has_user_name && c->shard->config->token.user_name_must_match;
    const struct bytes client_id = m != NULL ? m->client_id : session_client_id(c->session);
    const struct token_bearer bearer = {.user_name = matters ? &m->user_name : NULL,
                                        .client_id = client_id};
    return gate_token_request_create(&bearer, token);
}

static enum login_step step_after(struct conn *c, struct gate_request *r)
{
    const enum gate_verdict verdict = login_token_verdict(c, r);
    if (verdict != GATE_RIGHT) {
        return login_not_right(c, verdict);
    }
    const struct login_facts facts = login_token_facts(r);
    return login_yes(c, &facts);
}

static void answered(struct inquiry *q)
{
    struct conn *c = q->client;
    if (login_is_awaited(c)) {
        login_go_on(c, step_after(c, (struct gate_request *)q));
    }
}

static enum login_step ask(struct conn *c, const struct mqtt_connect *m)
{
    if (!m->has_password || !token_has_form(m->password)) {
        return LOGIN_NEXT;
    }
    if (m->password.len > TOKEN_BYTES_MAX) {
        login_token_refused(c, TOKEN_MALFORMED);
        return login_not_right(c, GATE_WRONG);
    }
    struct gate_request *const r = login_token_request(c, m, m->password);
    if (r == NULL) {
        return login_not_right(c, GATE_FAILED);
    }
    return login_ask_gate(c, r, answered);
}

const struct login_method login_by_token = {
    .is_in_use = login_token_is_in_use, .ask = ask, .is_still = is_still};
