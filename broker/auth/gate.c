/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/gate.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xxhash.h>

#include "broker/auth/attempts.h"
#include "broker/auth/password_file.h"

#define NICE 5 /* who waits for a hash waits longer, not those who are connected */

struct gate {
    struct gate_conf conf;
    pthread_rwlock_t users_lock; /* read while a password is judged */
    const struct password_file *users;

    pthread_mutex_t lock; /* of all below; never held for long */
    pthread_cond_t asked;
    struct gate_request *first, *last;
    unsigned waiting;
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

struct gate_request *gate_request_create(struct bytes user, struct bytes password)
{
    struct gate_request *const r = calloc(1, sizeof *r + user.len + password.len);
    if (r == NULL) {
        return NULL;
    }
    r->inquiry.destroy = destroy;
    r->user_len = user.len;
    r->password_len = password.len;
    if (user.len > 0) {
        memcpy(r->text, user.at, user.len);
    }
    if (password.len > 0) {
        memcpy(r->text + user.len, password.at, password.len);
    }
    return r;
}

static struct bytes password_of(const struct gate_request *r)
{
    return bytes_of(r->text + r->user_len, r->password_len);
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
        free(r);
    }
}

/* ---- who was wrong too often */

static uint64_t hash_of_user(const struct gate *g, struct bytes user)
{
    return XXH3_64bits_withSeed(user.at, user.len, g->conf.seed);
}

/* An address of IPv6 is one of a network's, of which each customer has one: 64 bits. */
static uint64_t hash_of_address(const struct gate *g, const struct in6_addr *address)
{
    const bool v4 = IN6_IS_ADDR_V4MAPPED(address);
    return XXH3_64bits_withSeed(address, v4 ? sizeof *address : sizeof *address / 2, ~g->conf.seed);
}

/* Under the lock, as the next one. */
static bool is_allowed(struct gate *g, struct bytes user, const struct in6_addr *address,
                       uint32_t most)
{
    const uint64_t now_ms = g->conf.clock_ms();
    return attempts_allowed(&g->attempts, hash_of_user(g, user), most, now_ms) &&
           (IN6_IS_ADDR_UNSPECIFIED(address) ||
            attempts_allowed(&g->attempts, hash_of_address(g, address), most, now_ms));
}

bool gate_allows(struct gate *g, struct bytes user, const struct in6_addr *address,
                 uint32_t failures_per_minute)
{
    pthread_mutex_lock(&g->lock);
    const bool allowed = is_allowed(g, user, address, failures_per_minute);
    pthread_mutex_unlock(&g->lock);
    return allowed;
}

void gate_count_failure(struct gate *g, struct bytes user, const struct in6_addr *address,
                        uint32_t failures_per_minute)
{
    const uint64_t now_ms = g->conf.clock_ms();
    pthread_mutex_lock(&g->lock);
    attempts_failed(&g->attempts, hash_of_user(g, user), failures_per_minute, now_ms);
    if (!IN6_IS_ADDR_UNSPECIFIED(address)) {
        attempts_failed(&g->attempts, hash_of_address(g, address), failures_per_minute, now_ms);
    }
    pthread_mutex_unlock(&g->lock);
}

/* ---- asking */

bool gate_ask(struct gate *g, struct gate_request *r, enum gate_verdict *verdict)
{
    pthread_mutex_lock(&g->lock);
    const bool busy = g->stopping || g->waiting >= g->conf.threads * GATE_WAITING_PER_THREAD;
    const bool taken =
        !busy && is_allowed(g, gate_request_user(r), &r->address, r->failures_per_minute);
    if (taken) {
        r->inquiry.next = NULL;
        if (g->last == NULL) {
            g->first = r;
        } else {
            g->last->inquiry.next = &r->inquiry;
        }
        g->last = r;
        g->waiting++;
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

static struct gate_request *next_request(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    while (g->first == NULL && !g->stopping) {
        pthread_cond_wait(&g->asked, &g->lock);
    }
    struct gate_request *const r = g->first;
    if (r != NULL) {
        g->first = (struct gate_request *)r->inquiry.next;
        g->last = g->first == NULL ? NULL : g->last;
        g->waiting--;
        r->verdict = g->stopping ? GATE_BUSY : GATE_RIGHT;
    }
    pthread_mutex_unlock(&g->lock);
    return r;
}

static void judge(struct gate *g, struct gate_request *r)
{
    pthread_rwlock_rdlock(&g->users_lock);
    const enum password_err err =
        password_file_verify(g->users, gate_request_user(r), password_of(r));
    pthread_rwlock_unlock(&g->users_lock);
    switch (err) {
    case PASSWORD_OK:
        r->verdict = GATE_RIGHT;
        break;
    case PASSWORD_WRONG:
        r->verdict = GATE_WRONG;
        gate_count_failure(g, gate_request_user(r), &r->address, r->failures_per_minute);
        break;
    case PASSWORD_NO_MEMORY:
        r->verdict = GATE_FAILED;
        break;
    }
}

static void *run(void *gate)
{
    struct gate *const g = gate;
    /* Of this thread, on Linux. It may be forbidden, and then is not. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    for (struct gate_request *r; (r = next_request(g)) != NULL;) {
        if (r->verdict != GATE_BUSY) {
            judge(g, r);
        }
        wipe(r);
        g->conf.answer(g->conf.context, r);
    }
    return NULL;
}

/* ---- beginning and end */

void gate_set_users(struct gate *g, const struct password_file *users)
{
    pthread_rwlock_wrlock(&g->users_lock);
    g->users = users;
    pthread_rwlock_unlock(&g->users_lock);
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
    pthread_rwlock_init(&g->users_lock, NULL);
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
    pthread_cond_broadcast(&g->asked);
    pthread_mutex_unlock(&g->lock);
    for (unsigned i = 0; i < g->started; i++) {
        pthread_join(g->threads[i], NULL);
    }
    g->started = 0;
}

void gate_destroy(struct gate *g)
{
    if (g != NULL) {
        assert(g->first == NULL && g->started == 0);
        pthread_rwlock_destroy(&g->users_lock);
        pthread_mutex_destroy(&g->lock);
        pthread_cond_destroy(&g->asked);
        free(g->threads);
        remembered_fini(&g->remembered);
        free(g);
    }
}
