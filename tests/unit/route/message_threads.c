/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages are created on one thread and put on others; each is whole until its last reference is
 * gone, and all memory comes back.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "broker/message.h"

#define THREADS  3u
#define MESSAGES 30000u

static struct message *messages[MESSAGES];

static void *put_all(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < MESSAGES; i++) {
        assert(message_payload(messages[i]).at[3] == (uint8_t)i);
        message_put(messages[i]);
    }
    return NULL;
}

int main(void)
{
    for (unsigned i = 0; i < MESSAGES; i++) {
        const uint8_t payload[4] = {0, 0, 0, (uint8_t)i};
        messages[i] = message_create(bytes_text("a/b"), bytes_of(NULL, 0), bytes_of(payload, 4));
        assert(messages[i] != NULL);
        message_take(messages[i], THREADS - 1);
    }
    assert(message_memory() == MESSAGES * (sizeof(struct message) + 7));
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        assert(pthread_create(&threads[i], NULL, put_all, NULL) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%lu bytes left\n", message_memory());
    assert(message_memory() == 0);
    return 0;
}
