/* SPDX-License-Identifier: Apache-2.0 */
/* Several threads take from one rate at a time: not one more than there is. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/guard/rate.h"

#define THREADS 4u
#define TRIES   200000u
#define RATE    100000u
#define NOW_MS  1000000u

static _Atomic uint64_t paid_until_ns;

static void *take(void *taken)
{
    unsigned n = 0;
    for (unsigned i = 0; i < TRIES; i++) {
        n += rate_take(&paid_until_ns, NOW_MS, rate_cost_ns(1, RATE));
    }
    *(unsigned *)taken = n;
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    unsigned taken[THREADS], sum = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, take, &taken[i]) != 0) {
            return EXIT_FAILURE;
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += taken[i];
    }
    printf("%u taken of %u\n", sum, RATE);
    return sum == RATE ? EXIT_SUCCESS : EXIT_FAILURE;
}
