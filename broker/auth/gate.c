/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/gate.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/auth/attempts.h"
#include "broker/auth/password_file.h"
#include "broker/auth/token_key.h"

#define NICE 5 /* who waits for a hash waits longer, not those who are connected */

/* Requests of one kind that wait, in the order in which they came. */
struct line {
    struct gate_request *first, *last;
    unsigned waiting;
    size_t bytes;
};

static const unsigned waiting_per_thread[GATE_KINDS] = {
    [GATE_PASSWORD] = GATE_WAITING_PER_THREAD,
    [GATE_TOKEN] = GATE_TOKENS_PER_THREAD,
};

struct gate {
    struct gate_conf conf;
    pthread_rwlock_t judged_by; /* of the next two; read while somebody is judged by them */
    const struct password_file *users;
    const struct token_judge *tokens;

    pthread_mutex_t lock; /* of all below; never held for long */
    pthread_cond_t asked;
    struct line lines[GATE_KINDS];
    struct line held;         /* tokens that wait for other keys */
    uint64_t news;            /* times that there were other keys, or none where some were sought */
    unsigned tokens_in_a_row; /* since the last password */
    bool stopping;
    struct attempts attempts;

    struct remembered remembered; /* of any thread, without the lock */

    pthread_t *threads; /* [started] */
    unsigned started;
};

/* ---- requests */

static void destroy(struct inquiry *q)
{
    gate_request_destroy((struct gate_request *)q);
}

static uint8_t *append(uint8_t *at, struct bytes part)
{
    if (part.len > 0) {
        memcpy(at, part.at, part.len);
    }
    return at + part.len;
}

static struct gate_request *create(struct bytes user, struct bytes password, struct bytes client_id)
{
    struct gate_request *const r = calloc(1, sizeof *r + user.len + password.len + client_id.len);
    if (r == NULL) {
        return NULL;
    }
    r->inquiry.destroy = destroy;
    r->user_len = user.len;
    r->password_len = password.len;
    r->client_id_len = client_id.len;
    (void)append(append(append(r->text, user), password), client_id);
    return r;
}

struct gate_request *gate_request_create(struct bytes user, struct bytes password)
{
    return create(user, password, bytes_of(NULL, 0));
}

struct gate_request *gate_token_request_create(const struct token_bearer *bearer,
                                               struct bytes token)
{
    const bool has_user = bearer->user_name != NULL;
    struct gate_request *const r =
        create(has_user ? *bearer->user_name : bytes_of(NULL, 0), token, bearer->client_id);
    if (r != NULL) {
        r->kind = GATE_TOKEN;
        r->has_user = has_user;
    }
    return r;
}

static struct bytes password_of(const struct gate_request *r)
{
    return bytes_of(r->text + r->user_len, r->password_len);
}

static struct bytes client_id_of(const struct gate_request *r)
{
    return bytes_of(r->text + r->user_len + r->password_len, r->client_id_len);
}

static void wipe(struct gate_request *r)
{
    explicit_bzero(r->text + r->user_len, r->password_len);
    r->password_len = 0;
}

void gate_request_destroy(struct gate_request *r)
{
    if (r != NULL) {
        wipe(r);
        token_facts_fini(&r->facts);
        free(r);
    }
}

/* ---- who was wrong too often */

/* Of a token nobody is counted: it is not guessed, and those who try do not lock its user out. */
static const struct bytes *counted_user(const struct gate_request *r, struct bytes *user)
{
    *user = gate_request_user(r);
    return r->kind == GATE_PASSWORD ? user : NULL;
}

/* Under the lock. `user`: NULL: it does not count. */
static bool is_allowed(struct gate *g, const struct bytes *user, const struct in6_addr *address,
                       uint32_t most)
{
    const uint64_t now_ms = g->conf.clock_ms();
    const uint64_t from = attempts_hash_address(g->conf.seed, address);
    return (user == NULL ||
            attempts_allowed(&g->attempts, attempts_hash(g->conf.seed, *user), most, now_ms)) &&
           (from == 0 || attempts_allowed(&g->attempts, from, most, now_ms));
}

static void count_failure(struct gate *g, const struct bytes *user, const struct in6_addr *address,
                          uint32_t most)
{
    const uint64_t now_ms = g->conf.clock_ms();
    const uint64_t from = attempts_hash_address(g->conf.seed, address);
    pthread_mutex_lock(&g->lock);
    if (user != NULL) {
        attempts_failed(&g->attempts, attempts_hash(g->conf.seed, *user), most, now_ms);
    }
    if (from != 0) {
        attempts_failed(&g->attempts, from, most, now_ms);
    }
    pthread_mutex_unlock(&g->lock);
}

static void count_failure_of(struct gate *g, const struct gate_request *r)
{
    struct bytes user;
    count_failure(g, counted_user(r, &user), &r->address, r->failures_per_minute);
}

bool gate_allows(struct gate *g, struct bytes user, const struct in6_addr *address,
                 uint32_t failures_per_minute)
{
    pthread_mutex_lock(&g->lock);
    const bool allowed = is_allowed(g, &user, address, failures_per_minute);
    pthread_mutex_unlock(&g->lock);
    return allowed;
}

void gate_count_failure(struct gate *g, struct bytes user, const struct in6_addr *address,
                        uint32_t failures_per_minute)
{
    count_failure(g, &user, address, failures_per_minute);
}

/* ---- asking */

static size_t bytes_of_request(const struct gate_request *r)
{
    return sizeof *r + r->user_len + r->password_len + r->client_id_len;
}

static void line_add(struct line *line, struct gate_request *r)
{
    r->inquiry.next = NULL;
    if (line->last == NULL) {
        line->first = r;
    } else {
        line->last->inquiry.next = &r->inquiry;
    }
    line->last = r;
    line->waiting++;
    line->bytes += bytes_of_request(r);
}

/* NULL: it is empty. */
static struct gate_request *line_take(struct line *line)
{
    struct gate_request *const r = line->first;
    if (r != NULL) {
        line->first = (struct gate_request *)r->inquiry.next;
        line->last = line->first == NULL ? NULL : line->last;
        line->waiting--;
        line->bytes -= bytes_of_request(r);
    }
    return r;
}

static bool is_full(const struct gate *g, enum gate_kind kind)
{
    const struct line *const line = &g->lines[kind];
    return line->waiting >= g->conf.threads * waiting_per_thread[kind] ||
           line->bytes >= (size_t)g->conf.threads * GATE_BYTES_PER_THREAD;
}

bool gate_ask(struct gate *g, struct gate_request *r, enum gate_verdict *verdict)
{
    pthread_mutex_lock(&g->lock);
    struct bytes user;
    const bool busy = g->stopping || is_full(g, r->kind);
    const bool taken =
        !busy && is_allowed(g, counted_user(r, &user), &r->address, r->failures_per_minute);
    if (taken) {
        line_add(&g->lines[r->kind], r);
        pthread_cond_signal(&g->asked);
    }
    pthread_mutex_unlock(&g->lock);
    *verdict = busy ? GATE_BUSY : GATE_LIMITED;
    return taken;
}

struct remembered *gate_remembered(struct gate *g)
{
    return &g->remembered;
}

/* ---- answering */

static bool is_empty(const struct gate *g)
{
    return g->lines[GATE_PASSWORD].first == NULL && g->lines[GATE_TOKEN].first == NULL;
}

static enum gate_kind next_kind(struct gate *g)
{
    const bool token = g->lines[GATE_TOKEN].first != NULL;
    const bool password = g->lines[GATE_PASSWORD].first != NULL;
    if (!token || (password && g->tokens_in_a_row >= GATE_TOKENS_IN_A_ROW)) {
        g->tokens_in_a_row = 0;
        return GATE_PASSWORD;
    }
    g->tokens_in_a_row++;
    return GATE_TOKEN;
}

static struct gate_request *next_request(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    while (is_empty(g) && !g->stopping) {
        pthread_cond_wait(&g->asked, &g->lock);
    }
    struct gate_request *const r = line_take(&g->lines[next_kind(g)]);
    if (r != NULL) {
        r->verdict = g->stopping ? GATE_BUSY : GATE_RIGHT;
    }
    pthread_mutex_unlock(&g->lock);
    return r;
}

/* When it ends, by the clock of the gate; a clock on the wall that is set later does not count. */
static uint64_t ends_ms(const struct gate *g, uint64_t ends_s, uint64_t now_s)
{
    return ends_s == UINT64_MAX ? UINT64_MAX : g->conf.clock_ms() + (ends_s - now_s) * 1000;
}

static enum token_err verify_token(struct gate *g, struct gate_request *r)
{
    const struct bytes user = gate_request_user(r);
    const struct token_bearer bearer = {.user_name = r->has_user ? &user : NULL,
                                        .client_id = client_id_of(r)};
    const uint64_t now_s = g->conf.wall_s();
    const struct token_judge *const tokens = g->tokens;
    if (tokens == NULL) {
        return TOKEN_UNKNOWN_KEY;
    }
    const enum token_err err =
        token_verify(&r->facts, tokens->keys, &tokens->rules, &bearer, password_of(r), now_s);
    if (err == TOKEN_OK) {
        r->ends_ms = ends_ms(g, r->facts.ends_s, now_s);
    }
    return err;
}

static uint64_t news_of(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    const uint64_t news = g->news;
    pthread_mutex_unlock(&g->lock);
    return news;
}

/* Under the lock. */
static bool is_held_full(const struct gate *g)
{
    return g->held.waiting >= g->conf.threads * GATE_HELD_PER_THREAD ||
           g->held.bytes >= (size_t)g->conf.threads * GATE_BYTES_PER_THREAD;
}

enum held {
    HELD_NOT,  /* no keys are sought for it */
    HELD_FULL, /* too many wait for them, or the process ends */
    HELD,      /* it is not ours any more */
};

/* `news`: as they were before it was judged; what is new since then is not waited for. */
static enum held hold(struct gate *g, struct gate_request *r, uint64_t news)
{
    if (r->again || g->conf.seek_keys == NULL) {
        return HELD_NOT;
    }
    const bool sought = g->conf.seek_keys(g->conf.context);
    enum held held = HELD_NOT;
    pthread_mutex_lock(&g->lock);
    if (sought || g->news != news) {
        held = g->stopping || is_held_full(g) ? HELD_FULL : HELD;
    }
    if (held == HELD) {
        r->again = true;
        line_add(g->news == news ? &g->held : &g->lines[GATE_TOKEN], r);
    }
    pthread_mutex_unlock(&g->lock);
    return held;
}

static bool is_for_other_keys(enum token_err err)
{
    return err == TOKEN_UNKNOWN_KEY || err == TOKEN_NO_KEYS;
}

static bool judge_token(struct gate *g, struct gate_request *r)
{
    const uint64_t news = news_of(g);
    pthread_rwlock_rdlock(&g->judged_by);
    r->token_err = verify_token(g, r);
    pthread_rwlock_unlock(&g->judged_by);
    const enum held held = is_for_other_keys(r->token_err) ? hold(g, r, news) : HELD_NOT;
    if (held != HELD_NOT) {
        if (held == HELD_FULL) {
            r->verdict = GATE_BUSY;
        }
        return held == HELD_FULL;
    }
    switch (r->token_err) {
    case TOKEN_OK:
        r->verdict = GATE_RIGHT;
        break;
    case TOKEN_NO_MEMORY:
        r->verdict = GATE_FAILED;
        break;
    case TOKEN_NO_KEYS:
        r->verdict = GATE_UNREADY;
        break;
    default:
        r->verdict = GATE_WRONG;
        count_failure_of(g, r);
        break;
    }
    return true;
}

static bool judge_password(struct gate *g, struct gate_request *r)
{
    pthread_rwlock_rdlock(&g->judged_by);
    const enum password_err err =
        password_file_verify(g->users, gate_request_user(r), password_of(r));
    pthread_rwlock_unlock(&g->judged_by);
    switch (err) {
    case PASSWORD_OK:
        r->verdict = GATE_RIGHT;
        break;
    case PASSWORD_WRONG:
        r->verdict = GATE_WRONG;
        count_failure_of(g, r);
        break;
    case PASSWORD_NO_MEMORY:
        r->verdict = GATE_FAILED;
        break;
    }
    return true;
}

/* Is there a verdict? Otherwise it waits again, and is not ours any more. */
static bool (*const judges[GATE_KINDS])(struct gate *g, struct gate_request *r) = {
    [GATE_PASSWORD] = judge_password,
    [GATE_TOKEN] = judge_token,
};

static void *run(void *gate)
{
    struct gate *const g = gate;
    /* Of this thread, on Linux. It may be forbidden, and then is not. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    for (struct gate_request *r; (r = next_request(g)) != NULL;) {
        if (r->verdict != GATE_BUSY && !judges[r->kind](g, r)) {
            continue;
        }
        wipe(r);
        g->conf.answer(g->conf.context, r);
    }
    token_key_thread_end();
    return NULL;
}

/* ---- beginning and end */

void gate_set_users(struct gate *g, const struct password_file *users)
{
    pthread_rwlock_wrlock(&g->judged_by);
    g->users = users;
    pthread_rwlock_unlock(&g->judged_by);
}

void gate_set_tokens(struct gate *g, const struct token_judge *tokens)
{
    pthread_rwlock_wrlock(&g->judged_by);
    g->tokens = tokens;
    pthread_rwlock_unlock(&g->judged_by);
    pthread_mutex_lock(&g->lock);
    g->news++;
    pthread_mutex_unlock(&g->lock);
}

/* Under the lock: what was held is among those that wait. */
static void let_go(struct gate *g)
{
    for (struct gate_request *r; (r = line_take(&g->held)) != NULL;) {
        line_add(&g->lines[GATE_TOKEN], r);
    }
    pthread_cond_broadcast(&g->asked);
}

void gate_keys_sought(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->news++;
    let_go(g);
    pthread_mutex_unlock(&g->lock);
}

struct gate *gate_start(const struct gate_conf *conf, const struct password_file *users)
{
    struct gate *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return NULL;
    }
    g->conf = *conf;
    g->users = users;
    if (!remembered_init(&g->remembered)) {
        free(g);
        return NULL;
    }
    pthread_rwlock_init(&g->judged_by, NULL);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->asked, NULL);
    g->threads = calloc(conf->threads, sizeof g->threads[0]);
    for (unsigned i = 0; g->threads != NULL && i < conf->threads; i++) {
        if (pthread_create(&g->threads[i], NULL, run, g) != 0) {
            break;
        }
        pthread_setname_np(g->threads[i], "gate");
        g->started++;
    }
    if (g->started < conf->threads) {
        gate_stop(g);
        gate_destroy(g);
        return NULL;
    }
    return g;
}

void gate_stop(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->stopping = true;
    let_go(g);
    pthread_mutex_unlock(&g->lock);
    for (unsigned i = 0; i < g->started; i++) {
        pthread_join(g->threads[i], NULL);
    }
    g->started = 0;
}

void gate_destroy(struct gate *g)
{
    if (g != NULL) {
        assert(is_empty(g) && g->held.first == NULL && g->started == 0);
        pthread_rwlock_destroy(&g->judged_by);
        pthread_mutex_destroy(&g->lock);
        pthread_cond_destroy(&g->asked);
        free(g->threads);
        remembered_fini(&g->remembered);
        free(g);
    }
}
