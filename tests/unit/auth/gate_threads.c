/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate with several who ask and several who judge, while users and settings are replaced and at
 * last it stops. A plain program, so that ThreadSanitizer can watch.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/gate.h"
#include "broker/auth/password_file.h"
#include "tests/unit/auth/token_vectors.h"

#define ASKERS 2u
#define TIMES  2000u

/* Mosquitto's form with few iterations: the gate is tested, not the hash. */
static const char alice_1[] =
    "alice:$7$101$AAECAwQFBgcICQoL$"
    "lp0Cm29zl+CI/RXyXDKvLye7OxM3OuE6RMzgXTX/f3imS/pFh2Ur7yarLDpKRUKpB0tOj6l0UrRv41zqxmD4tg==\n";

static atomic_uint verdicts[GATE_FAILED + 1];
static atomic_uint refused; /* at once, of GATE_BUSY */
static atomic_uint failures;
static atomic_uint tokens[GATE_FAILED + 1];

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                             \
            atomic_fetch_add(&failures, 1);                                                        \
        }                                                                                          \
    } while (0)

static uint64_t clock_ms(void)
{
    return 1000;
}

static uint64_t wall_s(void)
{
    return 1900000000;
}

static void answer_token(struct gate_request *r, bool right)
{
    CHECK(r->password_len == 0);
    CHECK(r->verdict == (right ? GATE_RIGHT : GATE_WRONG) || r->verdict == GATE_BUSY);
    if (r->verdict == GATE_RIGHT) {
        CHECK(bytes_equal(token_facts_user(&r->facts), bytes_text("alice")));
        CHECK(r->ends_ms == 1000 + (2000000000ull - 1900000000ull) * 1000);
    } else if (r->verdict == GATE_WRONG) {
        CHECK(r->token_err == TOKEN_USER || r->token_err == TOKEN_UNKNOWN_KEY);
    }
    atomic_fetch_add(&tokens[r->verdict], 1);
    gate_request_destroy(r);
}

static void answer(void *context, struct gate_request *r)
{
    const bool right = r->inquiry.client != NULL;
    if (r->kind == GATE_TOKEN) {
        answer_token(r, right);
        return;
    }
    CHECK(context == verdicts);
    CHECK(r->password_len == 0); /* it is wiped */
    CHECK(r->verdict == (right ? GATE_RIGHT : GATE_WRONG) || r->verdict == GATE_BUSY);
    atomic_fetch_add(&verdicts[r->verdict], 1);
    gate_request_destroy(r);
}

static void ask(struct gate *gate, unsigned i)
{
    const bool right = i % 2 == 0;
    struct gate_request *r = gate_request_create(
        bytes_text("alice"), bytes_text(right ? "correct horse" : "correct hors"));
    enum gate_verdict verdict;
    CHECK(r != NULL);
    r->inquiry.client = right ? &verdicts : NULL;
    if (!gate_ask(gate, r, &verdict)) {
        CHECK(verdict == GATE_BUSY);
        atomic_fetch_add(&verdicts[verdict], 1);
        atomic_fetch_add(&refused, 1);
        gate_request_destroy(r);
    }
}

static void ask_token(struct gate *gate, unsigned i)
{
    const bool right = i % 2 == 0;
    const struct bytes name = bytes_text(right ? "alice" : "bob");
    const struct token_bearer bearer = {.user_name = &name, .client_id = bytes_text("c")};
    struct gate_request *r = gate_token_request_create(&bearer, bytes_text(vectors[0].token));
    enum gate_verdict verdict;
    CHECK(r != NULL);
    r->inquiry.client = right ? &tokens : NULL;
    if (!gate_ask(gate, r, &verdict)) {
        CHECK(verdict == GATE_BUSY);
        atomic_fetch_add(&tokens[verdict], 1);
        gate_request_destroy(r);
    }
}

static void *asker(void *gate)
{
    for (unsigned i = 0; i < TIMES; i++) {
        ask(gate, i);
        ask_token(gate, i);
    }
    return NULL;
}

static struct password_file *file(const char *text)
{
    struct config_error error = {.count = 0};
    struct password_file *f = NULL;
    CHECK(password_file_parse(&f, "users", bytes_text(text), 1, &error) == PASSWORD_FILE_OK);
    return f;
}

static struct token_judge *judge_of(struct token_keys *keys)
{
    struct token_judge *const judge = malloc(sizeof *judge);
    CHECK(judge != NULL);
    *judge = (struct token_judge){.keys = keys,
                                  .rules = {.issuer = "",
                                            .audience = "",
                                            .user_claim = "sub",
                                            .client_id_claim = "client_id",
                                            .groups_claim = "groups",
                                            .acl_claim = "acl",
                                            .require_expiry = true,
                                            .user_name_must_match = true}};
    return judge;
}

int main(void)
{
    const struct gate_conf conf = {.threads = 2,
                                   .clock_ms = clock_ms,
                                   .wall_s = wall_s,
                                   .answer = answer,
                                   .context = verdicts};
    const char *wrong = NULL;
    struct token_keys *keys = token_keys_parse(bytes_text(vectors[0].jwks), &wrong);
    struct token_judge *judge = judge_of(keys);
    struct password_file *users = file(alice_1);
    struct gate *gate = gate_start(&conf, users);
    pthread_t threads[ASKERS];
    CHECK(gate != NULL && keys != NULL);
    gate_set_tokens(gate, judge);
    for (unsigned i = 0; i < ASKERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, asker, gate) == 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        struct password_file *fresh = file(alice_1);
        gate_set_users(gate, fresh);
        password_file_destroy(users); /* nobody looks at it any more */
        users = fresh;
        struct token_judge *other = judge_of(keys);
        gate_set_tokens(gate, other);
        free(judge);
        judge = other;
    }
    for (unsigned i = 0; i < ASKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    while (verdicts[GATE_RIGHT] == 0 || verdicts[GATE_WRONG] == 0) {
        sched_yield(); /* tokens may have gone first; what waits at the end is not judged */
    }
    gate_stop(gate);
    ask(gate, 0); /* too late */
    ask_token(gate, 0);
    const unsigned sum = verdicts[GATE_RIGHT] + verdicts[GATE_WRONG] + verdicts[GATE_BUSY];
    CHECK(sum == ASKERS * TIMES + 1);
    CHECK(tokens[GATE_RIGHT] + tokens[GATE_WRONG] + tokens[GATE_BUSY] == ASKERS * TIMES + 1);
    CHECK(tokens[GATE_RIGHT] > verdicts[GATE_RIGHT]); /* more of them may wait */
    CHECK(verdicts[GATE_RIGHT] > 0 && verdicts[GATE_WRONG] > 0);
    CHECK(refused > 1); /* it was too many */
    CHECK(verdicts[GATE_BUSY] - refused <= conf.threads * GATE_WAITING_PER_THREAD);
    gate_destroy(gate);
    password_file_destroy(users);
    free(judge);
    token_keys_destroy(keys);
    return atomic_load(&failures) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
