/* SPDX-License-Identifier: Apache-2.0 */
/* By SCRAM-SHA-256, of the lines in the password file that were made for it
 * (docs/enhanced-authentication.md). Only CONFIG_AUTH_PASSWORD has to be among auth.methods. */
#include <assert.h>
#include <string.h>

#include "broker/auth/gate.h"
#include "broker/auth/scram.h"
#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/login/by_password.h"
#include "broker/login/exchange.h"
#include "broker/shard/shard.h"

static_assert(SCRAM_ANSWER_BYTES_MAX == EXCHANGE_DATA_MAX, "what it says fits");

static bool is_in_use(const struct conn *c)
{
    const struct password_file *const users = c->shard->users;
    return users != NULL && password_file_first_scram(users) != NULL &&
           login_is_among_methods(c, CONFIG_AUTH_PASSWORD);
}

static void *begin(const struct conn *c)
{
    return scram_begin(c->shard->node->scram);
}

/* Who is connected as that user is not kept from saying so again by strangers who guess. */
static bool may_try(const struct conn *c, struct bytes user)
{
    const struct shard *s = c->shard;
    const struct in6_addr address = login_address(c);
    const bool own = c->user != NULL && bytes_equal(user, login_user_name(c->user));
    return user.len == 0 || own ||
           gate_allows(s->node->gate, user, &address, s->config->auth.failures_per_minute);
}

static enum exchange_step no(struct exchange_answer *answer, enum mqtt_reason reason)
{
    answer->reason = reason;
    return EXCHANGE_NO;
}

static enum exchange_step wrong(const struct conn *c, struct bytes user,
                                struct exchange_answer *answer)
{
    const struct in6_addr address = login_address(c);
    gate_count_failure(c->shard->node->gate, user, &address,
                       c->shard->config->auth.failures_per_minute);
    return no(answer, MQTT_REASON_NOT_AUTHORIZED);
}

/* The proof was right, for the line as it was when the salt was told. */
static enum exchange_step right(const struct conn *c, const struct scram *x,
                                struct exchange_answer *answer)
{
    const struct shard *s = c->shard;
    const struct password_hash *const now = password_file_find(s->users, scram_user(x));
    const uint64_t fingerprint = login_fingerprint(s, scram_line(x));
    if (now == NULL || login_fingerprint(s, now) != fingerprint) {
        return no(answer, MQTT_REASON_NOT_AUTHORIZED);
    }
    answer->facts.ends_ms = UINT64_MAX;
    answer->facts.fingerprint = fingerprint;
    answer->facts.method = CONFIG_AUTH_PASSWORD;
    return EXCHANGE_YES;
}

static enum exchange_step step(struct conn *c, void *state, const struct mqtt_connect *connect,
                               struct bytes data, struct exchange_answer *answer)
{
    struct scram *const x = state;
    (void)connect; /* the user is the one of the exchange */
    /* Of many that were begun together each is counted before the next is judged. */
    if (!may_try(c, scram_user(x))) {
        answer->facts.name = scram_user(x);
        return no(answer, MQTT_REASON_CONNECTION_RATE_EXCEEDED);
    }
    const bool was_named = scram_user(x).len > 0;
    const enum scram_result result =
        scram_step(x, c->shard->users, data, answer->data, &answer->len);
    answer->facts.name = scram_user(x);
    switch (result) {
    case SCRAM_GO_ON:
        return was_named || may_try(c, scram_user(x))
                   ? EXCHANGE_GO_ON
                   : no(answer, MQTT_REASON_CONNECTION_RATE_EXCEEDED);
    case SCRAM_RIGHT:
        return right(c, x, answer);
    case SCRAM_WRONG:
        return wrong(c, scram_user(x), answer);
    case SCRAM_FAILED:
        return no(answer, MQTT_REASON_SERVER_BUSY);
    case SCRAM_MALFORMED:
        break;
    }
    return no(answer, MQTT_REASON_NOT_AUTHORIZED);
}

static void end(void *state)
{
    scram_end(state);
}

const struct exchange_method exchange_by_scram = {
    .name = "SCRAM-SHA-256", .is_in_use = is_in_use, .begin = begin, .step = step, .end = end};
