/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/login.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/auth/gate.h"
#include "broker/auth/password_file.h"
#include "broker/auth/remembered.h"
#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "broker/transport/listener.h"

/* ---- users */

/* Other for every line: each has a salt of its own. */
static uint64_t fingerprint_of(const struct shard *s, const struct password_hash *hash)
{
    char line[PASSWORD_HASH_TEXT];
    const size_t len = password_hash_print(hash, line);
    return XXH3_64bits_withSeed(line, len, s->node->seed);
}

static bool is_still(const struct shard *s, const struct login_user *user)
{
    const struct password_hash *const hash =
        password_file_find(s->users, bytes_of(user->name, user->len));
    return hash != NULL && fingerprint_of(s, hash) == user->fingerprint;
}

static void settle(struct conn *c, enum mqtt_reason reason)
{
    c->login = LOGIN_SETTLED;
    c->login_reason = (uint8_t)reason;
}

/* The password was right for the line that the user has now. */
static void let_in(struct conn *c, struct bytes name, uint64_t fingerprint)
{
    struct login_user *const user = malloc(sizeof *user + name.len);
    if (user == NULL) {
        settle(c, MQTT_REASON_SERVER_BUSY);
        return;
    }
    user->fingerprint = fingerprint;
    user->len = (uint16_t)name.len; /* of a file: 256 at most */
    if (name.len > 0) {
        memcpy(user->name, name.at, name.len);
    }
    c->user = user;
    shard_count(c->shard, METRIC_logins_accepted);
    settle(c, MQTT_REASON_SUCCESS);
}

void login_forget(struct conn *c)
{
    free(c->user);
    c->user = NULL;
}

/* ---- verdicts */

static enum mqtt_reason refuse(struct shard *s, enum gate_verdict verdict)
{
    switch (verdict) {
    case GATE_LIMITED:
        shard_count(s, METRIC_logins_limited);
        return MQTT_REASON_CONNECTION_RATE_EXCEEDED;
    case GATE_BUSY:
    case GATE_FAILED:
        shard_count(s, METRIC_logins_busy);
        return MQTT_REASON_SERVER_BUSY;
    default:
        shard_count(s, METRIC_logins_refused);
        return MQTT_REASON_BAD_USER_NAME_OR_PASSWORD;
    }
}

static void take_up(struct conn *c, const struct gate_request *r)
{
    struct shard *s = c->shard;
    if (c->phase != CONN_AWAIT_CONNECT) {
        return; /* it has gone meanwhile */
    }
    const struct password_hash *const hash =
        r->verdict == GATE_RIGHT ? password_file_find(s->users, gate_request_user(r)) : NULL;
    if (r->verdict != GATE_RIGHT) {
        settle(c, refuse(s, r->verdict));
    } else if (hash == NULL || !r->provable || fingerprint_of(s, hash) != r->fingerprint) {
        settle(c, refuse(s, GATE_WRONG)); /* the file is another since it was asked */
    } else {
        remembered_add(gate_remembered(s->node->gate), &r->proof);
        let_in(c, gate_request_user(r), r->fingerprint);
    }
    input_unblock(c, BLOCKED_LOGIN);
}

void login_answer(struct shard *s, struct gate_request *verdict)
{
    struct gate_request *first = atomic_load_explicit(&s->verdicts, memory_order_relaxed);
    do {
        verdict->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&s->verdicts, &first, verdict,
                                                    memory_order_release, memory_order_relaxed));
    io_wake_external(s->io);
}

static void take_up_verdicts(struct shard *s)
{
    if (atomic_load_explicit(&s->verdicts, memory_order_relaxed) == NULL) {
        return;
    }
    struct gate_request *r = atomic_exchange_explicit(&s->verdicts, NULL, memory_order_acquire);
    while (r != NULL) {
        struct gate_request *const next = r->next;
        struct conn *const c = r->client;
        take_up(c, r);
        conn_answered(c); /* which may be the end of it */
        gate_request_destroy(r);
        r = next;
    }
}

/* ---- another password file */

static void review(struct shard *s)
{
    for (struct conn *c = s->all.first; c != NULL; c = c->in_all.next) {
        if (c->user != NULL && c->phase == CONN_CONNECTED && !is_still(s, c->user)) {
            shard_count(s, METRIC_logins_revoked);
            log_event(LOG_WARNING, "login_revoked",
                      LOG_BYTES("user_name", bytes_of(c->user->name, c->user->len)),
                      LOG_BYTES("client_id", session_client_id(c->session)),
                      LOG_TEXT("reason", "the user is not in the password file any more, or with "
                                         "another password"));
            conn_close(c, MQTT_REASON_NOT_AUTHORIZED, SESSION_WILL_PUBLISH);
        }
    }
}

void login_turn(struct shard *s)
{
    const uint64_t generation =
        atomic_load_explicit(&s->node->users_generation, memory_order_acquire);
    shard_look(s); /* not before: who is let in is let in by what is reviewed now, or a later one */
    if (s->users_generation != generation) {
        s->users_generation = generation;
        review(s);
    }
    take_up_verdicts(s);
}

/* ---- CONNECT */

static void ask(struct conn *c, struct bytes name, struct bytes password)
{
    struct shard *s = c->shard;
    const struct password_hash *const hash = password_file_find(s->users, name);
    struct remembered *const remembered = gate_remembered(s->node->gate);
    struct remembered_proof proof = {.words = {0}};
    const bool provable =
        hash != NULL && remembered_prove(remembered, &proof, name, password, hash);
    if (provable && remembered_has(remembered, &proof)) {
        shard_count(s, METRIC_logins_remembered);
        let_in(c, name, fingerprint_of(s, hash));
        return;
    }
    struct gate_request *const r = gate_request_create(name, password);
    if (r == NULL) {
        settle(c, refuse(s, GATE_FAILED));
        return;
    }
    r->client = c;
    r->shard = s->id;
    r->proof = proof;
    r->provable = provable;
    r->failures_per_minute = s->config->auth.failures_per_minute;
    r->fingerprint = provable ? fingerprint_of(s, hash) : 0;
    if (!c->local) {
        r->address = c->address;
    }
    enum gate_verdict verdict;
    if (!gate_ask(s->node->gate, r, &verdict)) {
        gate_request_destroy(r);
        settle(c, refuse(s, verdict));
        return;
    }
    c->login = LOGIN_ASKED;
    c->waiting++;
    c->blocked |= BLOCKED_LOGIN;
}

static bool is_welcome_unknown(const struct conn *c)
{
    const struct listener *const l = &c->shard->node->listeners[c->listener];
    return c->shard->config->allow_anonymous ||
           l->settings.client_certificate == CONFIG_CLIENT_REQUIRED;
}

bool login_is_settled(struct conn *c, const struct mqtt_connect *m)
{
    if (c->login == LOGIN_OPEN) {
        if (c->shard->users == NULL) {
            settle(c, MQTT_REASON_SUCCESS); /* there are no users: listeners are open, or not */
        } else if (m->has_user_name || m->has_password) {
            ask(c, m->user_name, m->password);
        } else {
            settle(c, is_welcome_unknown(c) ? MQTT_REASON_SUCCESS : MQTT_REASON_NOT_AUTHORIZED);
        }
    }
    return c->login == LOGIN_SETTLED;
}
