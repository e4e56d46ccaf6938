/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyring: who may use the API, by the keys of admin.keys_file as it is on disk: a file that
 * changes is read again some seconds later, or at SIGHUP; one with a mistake is told, and leaves
 * the former in force.
 *
 * Guesses are limited: KEYRING_GUESSES_PER_MINUTE of an address, further ones are refused unjudged.
 * A key that was right from that address since the start still is, so that nobody who shares the
 * address can shut its holder out.
 *
 * Owner: the main thread, which reads the file; any thread that is no shard's may judge.
 */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/admin/key_file.h"
#include "broker/watched_file.h"
#include "proto/nodiscard.h"

struct attempts;

#define KEYRING_GUESSES_PER_MINUTE 20u

struct keyring {
    struct watched_file file;
    uint64_t seed;

    pthread_mutex_t lock;  /* of what follows; no other is taken under it */
    struct key_file *keys; /* NULL: there is no file, and nobody is let in */
    struct attempts *guesses;
    uint64_t good_from[KEYS_MAX]; /* the address from which that key was right last, hashed; 0 */
};

enum keyring_verdict {
    KEYRING_RIGHT,
    KEYRING_CLOSED, /* no keys_file */
    KEYRING_NO_KEY, /* none was given */
    KEYRING_WRONG,
    KEYRING_LIMITED, /* it was not looked at */
};

/* Before anybody asks. file "": there is none. false: it is not good, or no memory; told. */
NODISCARD bool keyring_open(struct keyring *k, const char *file);
void keyring_close(struct keyring *k); /* fine with zeros; nobody asks any more */

static inline bool keyring_is_needed(const struct keyring *k)
{
    return watched_file_is_there(&k->file);
}

/* Reads the file again if it has changed; `all`: whether it has or not. */
void keyring_refresh(struct keyring *k, bool all);

/* `authorization`: that header of the request, or NULL. *out is written when it is right. */
enum keyring_verdict keyring_judge(struct keyring *k, const char *authorization,
                                   const struct in6_addr *from, uint64_t now_ms, struct key *out);
