/* SPDX-License-Identifier: Apache-2.0 */
/* By a password that the password file has a hash of (docs/passwords.md). */
#include "broker/login/by_password.h"

#include <string.h>
#include <xxhash.h>

#include "broker/auth/gate.h"
#include "broker/auth/password_file.h"
#include "broker/auth/remembered.h"
#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/login/method.h"
#include "broker/shard/shard.h"

uint64_t login_fingerprint(const struct shard *s, const struct password_hash *hash)
{
    char line[PASSWORD_HASH_TEXT];
    const size_t len = password_hash_print(hash, line);
    return XXH3_64bits_withSeed(line, len, s->node->seed);
}

static bool is_in_use(const struct conn *c)
{
    return c->shard->users != NULL;
}

static bool is_still(const struct conn *c, const struct login_user *user)
{
    const struct shard *s = c->shard;
    const struct password_hash *const hash =
        s->users == NULL ? NULL : password_file_find(s->users, login_user_name(user));
    return hash != NULL && login_fingerprint(s, hash) == user->fingerprint;
}

static enum login_step yes(struct conn *c, struct bytes name, uint64_t fingerprint)
{
    const struct login_facts facts = {.name = name,
                                      .ends_ms = UINT64_MAX,
                                      .fingerprint = fingerprint,
                                      .method = CONFIG_AUTH_PASSWORD};
    return login_yes(c, &facts);
}

static enum login_step step_after(struct conn *c, const struct gate_request *r)
{
    struct shard *s = c->shard;
    if (r->verdict != GATE_RIGHT) {
        return login_not_right(c, r->verdict);
    }
    const struct password_hash *const hash = password_file_find(s->users, gate_request_user(r));
    if (hash == NULL || !r->provable || login_fingerprint(s, hash) != r->fingerprint) {
        return login_not_right(c, GATE_WRONG); /* the file is another since it was asked */
    }
    remembered_add(gate_remembered(s->node->gate), &r->proof);
    return yes(c, gate_request_user(r), r->fingerprint);
}

static void answered(struct inquiry *q)
{
    struct conn *c = q->client;
    if (login_is_awaited(c)) {
        login_go_on(c, step_after(c, (const struct gate_request *)q));
    }
}

/* A user that the file does not have is left to the next method; where there is none its password
 * is judged all the same, by no hash of anybody's: it takes as long as for one who is there. */
static enum login_step ask(struct conn *c, const struct mqtt_connect *m)
{
    struct shard *s = c->shard;
    if (!m->has_user_name && !m->has_password) {
        return LOGIN_NEXT;
    }
    const struct password_hash *const hash = password_file_find(s->users, m->user_name);
    if (hash == NULL && login_has_next(c)) {
        return LOGIN_NEXT;
    }
    struct remembered *const remembered = gate_remembered(s->node->gate);
    struct proof proof = {.words = {0}};
    const bool provable =
        hash != NULL && remembered_prove(remembered, &proof, m->user_name, m->password, hash);
    const uint64_t fingerprint = provable ? login_fingerprint(s, hash) : 0;
    if (provable && remembered_has(remembered, &proof)) {
        shard_count(s, METRIC_logins_remembered);
        return yes(c, m->user_name, fingerprint);
    }
    struct gate_request *const r = gate_request_create(m->user_name, m->password);
    if (r == NULL) {
        return login_not_right(c, GATE_FAILED);
    }
    r->proof = proof;
    r->provable = provable;
    r->fingerprint = fingerprint;
    return login_ask_gate(c, r, answered);
}

const struct login_method login_by_password = {
    .is_in_use = is_in_use, .ask = ask, .is_still = is_still};
