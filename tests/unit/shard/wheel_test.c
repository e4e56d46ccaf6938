/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/wheel.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

TestSuite(wheel);

/* A timer that remembers, with what the oracle knows of it. */
struct probe {
    struct timer timer; /* first */
    unsigned fired;
    uint64_t fired_ms;    /* as told to fire() */
    uint64_t expected_ms; /* UINT64_MAX: not set */
    void (*then)(struct probe *p, uint64_t now_ms);
    struct wheel *wheel;
    struct probe *other;
};

static void on_fire(struct timer *t, uint64_t now_ms)
{
    struct probe *const p = (struct probe *)(void *)t;
    p->fired++;
    p->fired_ms = now_ms;
    if (p->then != NULL) {
        p->then(p, now_ms);
    }
}

static struct probe probe_of(struct wheel *w)
{
    struct probe p = {.wheel = w, .expected_ms = UINT64_MAX};
    timer_init(&p.timer, on_fire);
    return p;
}

/* Every deadline fires in the millisecond it is for, neither before nor after: round each level. */
Test(wheel, every_level_boundary)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int64_t delta = -1; delta <= 1; delta++) {
            for (unsigned from = 0; from < 3; from++) {
                const uint64_t start = from == 0 ? 0 : from == 1 ? 1 : UINT64_C(1700000000063);
                const uint64_t due = (UINT64_C(1) << bit) + (uint64_t)delta;
                if (due <= start) {
                    continue;
                }
                struct wheel *const w = wheel_create(start);
                struct probe p = probe_of(w);
                wheel_set(w, &p.timer, due);
                cr_expect(wheel_next_ms(w) > start && wheel_next_ms(w) <= due);
                cr_expect_eq(wheel_run(w, due - 1, 1), 0, "bit %u", bit);
                cr_expect_eq(wheel_next_ms(w), due);
                cr_expect_eq(wheel_run(w, due, 1), 1, "bit %u", bit);
                cr_expect_eq(p.fired_ms, due);
                cr_expect_eq(wheel_next_ms(w), UINT64_MAX);
                wheel_destroy(w);
            }
        }
    }
}

/* A session that expires in 136 years is followed there from one wheel_next_ms() to the next. */
Test(wheel, far_deadline_in_few_steps)
{
    const uint64_t start = UINT64_C(1700000000123), due = start + UINT64_C(0xfffffffe) * 1000;
    struct wheel *const w = wheel_create(start);
    struct probe p = probe_of(w);
    wheel_set(w, &p.timer, due);
    unsigned steps = 0;
    for (uint64_t now = start; now < due; steps++) {
        const uint64_t next = wheel_next_ms(w);
        cr_assert(next > now && next <= due);
        now = next;
        cr_assert_eq(wheel_run(w, now, 1), now == due ? 1 : 0);
    }
    cr_expect(steps <= 8, "%u steps", steps);
    wheel_destroy(w);
}

Test(wheel, passed_deadline_fires_at_the_next_run)
{
    struct wheel *const w = wheel_create(1000);
    struct probe p = probe_of(w);
    wheel_set(w, &p.timer, 10);
    cr_expect_eq(wheel_next_ms(w), 0);
    cr_expect_eq(wheel_run(w, 1000, 1), 1);
    wheel_set(w, &p.timer, 1000);
    cr_expect_eq(wheel_run(w, 1000, 1), 1);
    wheel_set(w, &p.timer, 1001);
    cr_expect_eq(wheel_run(w, 1000, 1), 0);
    cr_expect_eq(wheel_run(w, 999, 1), 0, "a clock that steps back stands still");
    cr_expect_eq(wheel_run(w, 1001, 1), 1);
    wheel_set(w, &p.timer, 950);
    cr_expect_eq(wheel_run(w, 900, 1), 1);
    cr_expect_eq(p.fired_ms, 1001, "no timer hears a time before its own");
    wheel_destroy(w);
}

Test(wheel, set_again_moves_and_cancel_forgets)
{
    struct wheel *const w = wheel_create(0);
    struct probe p = probe_of(w);
    cr_expect_not(timer_is_set(&p.timer));
    wheel_cancel(w, &p.timer);
    wheel_set(w, &p.timer, 100);
    wheel_set(w, &p.timer, 100000);
    cr_expect(timer_is_set(&p.timer));
    cr_expect_eq(wheel_run(w, 99999, 9), 0);
    wheel_set(w, &p.timer, 100100);
    cr_expect_eq(wheel_run(w, 100099, 9), 0);
    wheel_cancel(w, &p.timer);
    cr_expect_not(timer_is_set(&p.timer));
    cr_expect_eq(wheel_next_ms(w), UINT64_MAX);
    cr_expect_eq(wheel_run(w, UINT64_MAX, 9), 0);
    wheel_destroy(w);
}

static void set_self_now(struct probe *p, uint64_t now_ms)
{
    wheel_set(p->wheel, &p->timer, now_ms);
}

static void cancel_other(struct probe *p, uint64_t now_ms)
{
    (void)now_ms;
    wheel_cancel(p->wheel, &p->other->timer);
}

static void set_other_between(struct probe *p, uint64_t now_ms)
{
    wheel_set(p->wheel, &p->other->timer, now_ms - 5);
}

/* A timer that sets itself for now fires once a run, not for ever. */
Test(wheel, set_from_fire_waits_for_the_next_run)
{
    struct wheel *const w = wheel_create(0);
    struct probe p = probe_of(w);
    p.then = set_self_now;
    wheel_set(w, &p.timer, 5);
    for (unsigned run = 1; run < 5; run++) {
        cr_expect_eq(wheel_run(w, 10, 100), 1);
        cr_expect_eq(p.fired, run);
    }

    /* …also when it is another timer, and a time between its deadline and now. */
    struct probe q = probe_of(w);
    p.then = set_other_between;
    p.other = &q;
    cr_expect_eq(wheel_run(w, 1000, 100), 1);
    cr_expect_eq(q.fired, 0);
    cr_expect_eq(wheel_run(w, 1000, 100), 1);
    cr_expect_eq(q.fired, 1);
    wheel_destroy(w);
}

Test(wheel, cancelled_from_fire_does_not_fire)
{
    struct wheel *const w = wheel_create(0);
    struct probe p = probe_of(w), same = probe_of(w), later = probe_of(w);
    p.then = cancel_other;
    p.other = &same;
    wheel_set(w, &p.timer, 70);
    wheel_set(w, &same.timer, 70);
    wheel_set(w, &later.timer, 7000);
    cr_expect_eq(wheel_run(w, 10000, 100), 2);
    cr_expect_eq(same.fired, 0);

    p.other = &later;
    wheel_set(w, &p.timer, 20000);
    wheel_set(w, &later.timer, 20001);
    cr_expect_eq(wheel_run(w, 30000, 100), 1);
    cr_expect_eq(wheel_next_ms(w), UINT64_MAX);
    wheel_destroy(w);
}

Test(wheel, budget_leaves_the_rest_in_order)
{
    enum { N = 100 };
    struct wheel *const w = wheel_create(0);
    struct probe p[N];
    for (unsigned i = 0; i < N; i++) {
        p[i] = probe_of(w);
        wheel_set(w, &p[i].timer, 1 + (N - 1 - i) * 37);
    }
    for (unsigned done = 0; done < N; done += 7) {
        const unsigned want = N - done < 7 ? N - done : 7;
        cr_assert_eq(wheel_run(w, 100000 + done, 7), want);
        for (unsigned i = 0; i < N; i++) {
            cr_assert_eq(p[i].fired, i >= N - done - want);
        }
        cr_assert(wheel_next_ms(w) <= (done + want < N ? 100000 : UINT64_MAX));
    }
    wheel_destroy(w);
}

/* ---- the oracle: an array, looked through from end to end */

static uint64_t random_state;

static uint64_t random_u64(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Of every magnitude alike. */
static uint64_t random_distance(unsigned bits_max)
{
    return random_u64() >> (64 - 1 - random_u64() % bits_max);
}

enum { PROBES = 50 };
static struct probe probes[PROBES];
static uint64_t last_fired_ms; /* in this run, by deadline */

static uint64_t oracle_next(void)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < PROBES; i++) {
        next = probes[i].expected_ms < next ? probes[i].expected_ms : next;
    }
    return next;
}

static void check_fire(struct probe *p, uint64_t now_ms)
{
    cr_assert(p->expected_ms <= now_ms, "%lu is early at %lu", p->expected_ms, now_ms);
    cr_assert(p->expected_ms >= last_fired_ms, "%lu after %lu", p->expected_ms, last_fired_ms);
    last_fired_ms = p->expected_ms;
    p->expected_ms = UINT64_MAX;
    if (random_u64() % 4 == 0) {
        p->expected_ms = now_ms + 1 + random_distance(20);
        wheel_set(p->wheel, &p->timer, p->expected_ms);
    }
    struct probe *const other = &probes[random_u64() % PROBES];
    if (other != p && random_u64() % 8 == 0) {
        other->expected_ms = UINT64_MAX;
        wheel_cancel(p->wheel, &other->timer);
    }
}

static void run_against_oracle(uint64_t start, unsigned steps)
{
    struct wheel *const w = wheel_create(start);
    for (unsigned i = 0; i < PROBES; i++) {
        probes[i] = probe_of(w);
        probes[i].then = check_fire;
    }
    uint64_t now = start;
    for (unsigned step = 0; step < steps; step++) {
        struct probe *const p = &probes[random_u64() % PROBES];
        switch (random_u64() % 4) {
        case 0:
        case 1:
            p->expected_ms = now + 1 + random_distance(random_u64() % 2 ? 16 : 44);
            wheel_set(w, &p->timer, p->expected_ms);
            break;
        case 2:
            p->expected_ms = UINT64_MAX;
            wheel_cancel(w, &p->timer);
            break;
        default:
            if (random_u64() % 2 == 0 && wheel_next_ms(w) != UINT64_MAX) {
                now = wheel_next_ms(w);
            } else {
                now += random_distance(random_u64() % 8 ? 18 : 43);
            }
            last_fired_ms = 0;
            const unsigned budget = random_u64() % 2 ? 3 : 1000;
            while (wheel_run(w, now, budget) == budget) {
                cr_assert(wheel_next_ms(w) <= oracle_next());
            }
            cr_assert(oracle_next() > now, "due %lu not fired at %lu", oracle_next(), now);
            break;
        }
        for (unsigned i = 0; i < PROBES; i++) {
            cr_assert_eq(timer_is_set(&probes[i].timer), probes[i].expected_ms != UINT64_MAX);
        }
        const uint64_t next = wheel_next_ms(w);
        cr_assert(next <= oracle_next());
        cr_assert_eq(next == UINT64_MAX, oracle_next() == UINT64_MAX);
        cr_assert(next > now);
    }
    wheel_destroy(w);
}

Test(wheel, same_as_an_oracle)
{
    const char *const given = getenv("SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("SEED=%lu\n", seed);
    random_state = seed;
    for (unsigned round = 0; round < 40; round++) {
        run_against_oracle(round % 2 ? random_u64() >> 2 : random_distance(12), 2000);
    }
}
