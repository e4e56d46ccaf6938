/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers: what a server said of clients lately, so that a crowd that comes back need not be asked
 * about one by one. Known again by a proof of all that was asked, the password among it.
 *
 * Any thread, under a lock that is held for some hundred nanoseconds. Memory: itself,
 * and of each answer the text, 16 MiB at most. At the bound: a later answer takes the place of an
 * earlier.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/auth/callback.h"
#include "broker/auth/proof.h"
#include "proto/nodiscard.h"

#define ANSWER_PLACES    4096u
#define ANSWER_BYTES_MAX 4096u /* longer ones are not kept */

struct answers {
    struct proof_key key;
    pthread_mutex_t lock;
    struct answers_place {
        struct proof proof;
        uint64_t until_ms; /* 0: nobody's */
        uint64_t since_ms;
        size_t len;
        char *text; /* of the answer; it is read again by who finds it */
    } * places;
};

NODISCARD bool answers_init(struct answers *a); /* false: no memory, or no random key */
void answers_fini(struct answers *a);

/* Of all that was asked. false: it could not be computed. */
NODISCARD bool answers_prove(const struct answers *a, struct proof *proof,
                             const struct callback_client *client);

/* What is still good of what was said to the same question; its expires_in_s is from now on. false:
 * nothing, or no memory. */
bool answers_find(struct answers *a, const struct proof *proof, uint64_t now_ms,
                  struct callback_verdict *verdict);

/* The text that a verdict, which expires after so many seconds (0: never), was read from. It is not
 * kept for longer than that, and not at all if there is no memory for it. */
void answers_add(struct answers *a, const struct proof *proof, uint64_t now_ms, uint64_t for_ms,
                 struct bytes text, uint32_t expires_in_s);
