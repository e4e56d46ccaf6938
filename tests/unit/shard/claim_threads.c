/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An owner that sleeps and wakes, and others that bring it mail and visit: nobody touches what is
 * claimed at the same time as another, and no mail is left lying while the owner sleeps for good. A
 * program of its own, for ThreadSanitizer.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/shard/claim.h"

#define SENDERS 3u
#define MAIL    10000u /* of each */

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #condition), abort()))

static struct claim claim;
static sem_t bell;                      /* the owner's kernel */
static _Atomic unsigned shown[SENDERS]; /* mail so far */

/* What is claimed; plain, so that ThreadSanitizer sees who touches it. */
static unsigned taken[SENDERS];
static unsigned visits, turns;

static _Atomic unsigned released[SENDERS]; /* `taken`, for all to see */

static bool has_mail(void)
{
    for (unsigned i = 0; i < SENDERS; i++) {
        if (atomic_load_explicit(&released[i], memory_order_acquire) !=
            atomic_load_explicit(&shown[i], memory_order_acquire)) {
            return true;
        }
    }
    return false;
}

static unsigned take_mail(void)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < SENDERS; i++) {
        taken[i] = atomic_load_explicit(&shown[i], memory_order_acquire);
        atomic_store_explicit(&released[i], taken[i], memory_order_release);
        sum += taken[i];
    }
    return sum;
}

static void *own(void *arg)
{
    (void)arg;
    for (;;) {
        turns++;
        if (take_mail() == SENDERS * MAIL) {
            return NULL;
        }
        claim_leave(&claim);
        if (!has_mail()) {
            sem_wait(&bell);
        }
        claim_take(&claim);
    }
}

/* As visit_or_wake() does, but that it wakes now and then where a visit would do. */
static void bring(unsigned n)
{
    if (!claim_is_free(&claim)) {
        return;
    }
    if (n % 4 == 0 || !claim_visit(&claim)) {
        if (claim_wake(&claim)) {
            sem_post(&bell);
        }
        return;
    }
    visits++;
    const bool is_last = take_mail() == SENDERS * MAIL; /* which the owner wants to see */
    if (claim_end_visit(&claim, is_last || n % 7 == 0) || (has_mail() && claim_wake(&claim))) {
        sem_post(&bell);
    }
}

/* Waits for each to be taken, now and then for several at once: what is left lying is never. */
static void *send_mail(void *arg)
{
    const unsigned self = (unsigned)((_Atomic unsigned *)arg - shown);
    for (unsigned n = 1; n <= MAIL; n++) {
        atomic_store_explicit(&shown[self], n, memory_order_release);
        bring(n);
        while (n % 5 != 0 && atomic_load_explicit(&released[self], memory_order_acquire) < n) {
            sched_yield();
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t owner, senders[SENDERS];
    CHECK(sem_init(&bell, 0, 0) == 0);
    CHECK(pthread_create(&owner, NULL, own, NULL) == 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        CHECK(pthread_create(&senders[i], NULL, send_mail, &shown[i]) == 0);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        CHECK(pthread_join(senders[i], NULL) == 0);
    }
    CHECK(pthread_join(owner, NULL) == 0); /* or it sleeps beside its mail until the time is up */
    CHECK(turns > 100);
    CHECK(visits > 100);
    printf("%u turns, %u visits\n", turns, visits);
    return 0;
}
