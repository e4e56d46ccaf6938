/* SPDX-License-Identifier: Apache-2.0 */
/* By a JSON Web Token that is the data of an exchange; a connected client brings its next one in
 * time by another exchange (docs/tokens.md). Only CONFIG_AUTH_TOKEN has to be among auth.methods.
 */
#include <stdlib.h>

#include "broker/auth/gate.h"
#include "broker/auth/token.h"
#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/login/by_token.h"
#include "broker/login/exchange.h"
#include "broker/shard/shard.h"

struct jwt {
    bool was_asked; /* for its token, since it began without one */
};

static bool is_in_use(const struct conn *c)
{
    return login_token_is_in_use(c) && login_is_among_methods(c, CONFIG_AUTH_TOKEN);
}

static void *begin(const struct conn *c)
{
    (void)c;
    return calloc(1, sizeof(struct jwt));
}

static enum exchange_step no(struct exchange_answer *answer, enum gate_verdict verdict)
{
    switch (verdict) {
    case GATE_LIMITED:
        answer->reason = MQTT_REASON_CONNECTION_RATE_EXCEEDED;
        break;
    case GATE_BUSY:
    case GATE_FAILED:
    case GATE_UNREADY: /* DISCONNECT has no 0x88 */
        answer->reason = MQTT_REASON_SERVER_BUSY;
        break;
    default:
        answer->reason = MQTT_REASON_NOT_AUTHORIZED;
        break;
    }
    return EXCHANGE_NO;
}

static void answered(struct inquiry *q)
{
    struct gate_request *const r = (struct gate_request *)q;
    struct conn *const c = q->client;
    if (!exchange_is_awaited(c)) {
        return;
    }
    struct exchange_answer answer = {.len = 0};
    const enum gate_verdict verdict = login_token_verdict(c, r);
    if (verdict == GATE_RIGHT) {
        answer.facts = login_token_facts(r);
        exchange_go_on(c, EXCHANGE_YES, &answer);
    } else {
        exchange_go_on(c, no(&answer, verdict), &answer);
    }
}

static enum exchange_step judge(struct conn *c, const struct mqtt_connect *connect,
                                struct bytes token, struct exchange_answer *answer)
{
    struct gate_request *const r = login_token_request(c, connect, token);
    enum gate_verdict verdict = GATE_FAILED;
    return r != NULL && login_hand_over(c, r, answered, &verdict) ? EXCHANGE_WAIT
                                                                  : no(answer, verdict);
}

static enum exchange_step step(struct conn *c, void *state, const struct mqtt_connect *connect,
                               struct bytes data, struct exchange_answer *answer)
{
    struct jwt *const x = state;
    if (data.len == 0 && !x->was_asked) {
        x->was_asked = true;
        return EXCHANGE_GO_ON;
    }
    if (data.len > TOKEN_BYTES_MAX) {
        login_token_refused(c, TOKEN_MALFORMED);
        return no(answer, GATE_WRONG);
    }
    return judge(c, connect, data, answer);
}

static void end(void *state)
{
    free(state);
}

const struct exchange_method exchange_by_jwt = {.name = "JWT",
                                                .says_secrets = true,
                                                .is_in_use = is_in_use,
                                                .begin = begin,
                                                .step = step,
                                                .end = end};
