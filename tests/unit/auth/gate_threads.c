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

/* ---- tokens by keys that are to come */

static atomic_uint sought; /* times that keys were */
static atomic_bool in_vain;

static bool seek_keys(void *context)
{
    CHECK(context == verdicts);
    atomic_fetch_add(&sought, 1);
    return !atomic_load(&in_vain);
}

static atomic_uint of[GATE_UNREADY + 1]; /* verdicts */

static void answer_held(void *context, struct gate_request *r)
{
    CHECK(context == verdicts && r->kind == GATE_TOKEN && r->password_len == 0);
    atomic_fetch_add(&of[r->verdict], 1);
    gate_request_destroy(r);
}

static void wait_for(const atomic_uint *count, unsigned wanted)
{
    while (atomic_load(count) < wanted) {
        sched_yield();
    }
    CHECK(atomic_load(count) == wanted);
}

/* All of them are by vectors[0]. */
static void ask_held(struct gate *gate, unsigned times)
{
    const struct token_bearer bearer = {.client_id = bytes_text("c")};
    for (unsigned i = 0; i < times; i++) {
        struct gate_request *r = gate_token_request_create(&bearer, bytes_text(vectors[0].token));
        enum gate_verdict verdict;
        CHECK(r != NULL);
        while (!gate_ask(gate, r, &verdict)) {
            sched_yield();
        }
    }
}

static struct token_keys *keys_of(unsigned vector)
{
    const char *wrong = NULL;
    struct token_keys *const keys = token_keys_parse(bytes_text(vectors[vector].jwks), &wrong);
    CHECK(keys != NULL);
    return keys;
}

/* Who is by an unknown key waits for other keys, is judged by them once, and no more; above the
 * bound, and where none are sought, it is told at once. */
static void unknown_keys_are_waited_for(void)
{
    const struct gate_conf conf = {.threads = 2,
                                   .clock_ms = clock_ms,
                                   .wall_s = wall_s,
                                   .answer = answer_held,
                                   .seek_keys = seek_keys,
                                   .context = verdicts};
    struct gate *const gate = gate_start(&conf, NULL);
    struct token_keys *const none = token_keys_join(NULL, NULL), *const other = keys_of(1),
                             *const right = keys_of(0);
    struct token_judge *const judges[] = {judge_of(none), judge_of(other), judge_of(right)};
    CHECK(gate != NULL && none != NULL && none->count == 0);

    gate_set_tokens(gate, judges[0]);
    ask_held(gate, 10);
    wait_for(&sought, 10);
    gate_keys_sought(gate); /* there are none */
    wait_for(&of[GATE_UNREADY], 10);
    CHECK(sought == 10);

    gate_set_tokens(gate, judges[1]);
    ask_held(gate, 10);
    wait_for(&sought, 20);
    gate_set_tokens(gate, judges[2]);
    gate_keys_sought(gate);
    wait_for(&of[GATE_RIGHT], 10);

    gate_set_tokens(gate, judges[1]);
    const unsigned most = conf.threads * GATE_HELD_PER_THREAD;
    ask_held(gate, most + 7);
    wait_for(&of[GATE_BUSY], 7);
    gate_keys_sought(gate);
    wait_for(&of[GATE_WRONG], most);

    atomic_store(&in_vain, true);
    ask_held(gate, 10);
    wait_for(&of[GATE_WRONG], most + 10);
    atomic_store(&in_vain, false);

    const unsigned before = atomic_load(&sought);
    ask_held(gate, 10); /* until it stops */
    wait_for(&sought, before + 10);
    gate_stop(gate);
    CHECK(of[GATE_BUSY] == 7 + 10);
    CHECK(of[GATE_RIGHT] == 10 && of[GATE_UNREADY] == 10 && of[GATE_FAILED] == 0);
    gate_destroy(gate);
    for (unsigned i = 0; i < 3; i++) {
        free(judges[i]);
    }
    token_keys_destroy(none);
    token_keys_destroy(other);
    token_keys_destroy(right);
}

static atomic_bool over;

static void *keeps_seeking(void *gate)
{
    while (!atomic_load(&over)) {
        gate_keys_sought(gate);
        sched_yield();
    }
    return NULL;
}

/* None is forgotten, whenever keys come. */
static void none_waits_for_ever(void)
{
    const struct gate_conf conf = {.threads = 2,
                                   .clock_ms = clock_ms,
                                   .wall_s = wall_s,
                                   .answer = answer_held,
                                   .seek_keys = seek_keys,
                                   .context = verdicts};
    struct gate *const gate = gate_start(&conf, NULL);
    struct token_keys *const other = keys_of(1), *const right = keys_of(0);
    struct token_judge *const wrong_one = judge_of(other), *const right_one = judge_of(right);
    pthread_t thread;
    const unsigned before = of[GATE_RIGHT] + of[GATE_WRONG] + of[GATE_BUSY];
    CHECK(gate != NULL);
    gate_set_tokens(gate, wrong_one);
    CHECK(pthread_create(&thread, NULL, keeps_seeking, gate) == 0);
    for (unsigned i = 0; i < 20; i++) {
        ask_held(gate, 100);
        gate_set_tokens(gate, i % 2 == 0 ? right_one : wrong_one);
    }
    while (of[GATE_RIGHT] + of[GATE_WRONG] + of[GATE_BUSY] < before + 2000) {
        sched_yield();
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    gate_stop(gate);
    gate_destroy(gate);
    free(wrong_one);
    free(right_one);
    token_keys_destroy(other);
    token_keys_destroy(right);
}

int main(void)
{
    unknown_keys_are_waited_for();
    none_waits_for_ever();
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
