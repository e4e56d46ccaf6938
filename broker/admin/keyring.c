/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/keyring.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "broker/auth/attempts.h"
#include "broker/config/config_error.h"
#include "broker/log/log.h"

#define SCHEME "Bearer "

/* NULL: it is not good; told. */
static struct key_file *read_file(const struct keyring *k, const char *in_force)
{
    struct config_error error = {.count = 0};
    struct key_file *keys = NULL;
    switch (key_file_read(&keys, k->file.name, &error)) {
    case KEY_FILE_OK:
        return keys;
    case KEY_FILE_INVALID:
        log_event(LOG_ERROR, "admin_keys_refused", LOG_TEXT("error", error.text),
                  LOG_TEXT("in_force", in_force));
        return NULL;
    case KEY_FILE_NO_MEMORY:
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", k->file.name));
        return NULL;
    }
    return NULL;
}

/* Who was let in from where is known by the keys' places, which are others now. */
static void put_in_force(struct keyring *k, struct key_file *fresh)
{
    pthread_mutex_lock(&k->lock);
    struct key_file *const former = k->keys;
    k->keys = fresh;
    memset(k->good_from, 0, sizeof k->good_from);
    pthread_mutex_unlock(&k->lock);
    free(former);
    log_event(LOG_INFO, "admin_keys_read", LOG_TEXT("file", k->file.name),
              LOG_NUMBER("keys", fresh->count));
}

bool keyring_open(struct keyring *k, const char *file)
{
    pthread_mutex_init(&k->lock, NULL);
    if (!watched_file_open(&k->file, file)) {
        return false;
    }
    if (!keyring_is_needed(k)) {
        return true;
    }
    k->guesses = calloc(1, sizeof *k->guesses);
    if (k->guesses == NULL || getrandom(&k->seed, sizeof k->seed, 0) != (ssize_t)sizeof k->seed) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", "admin.keys_file"));
        return false;
    }
    struct key_file *const keys = read_file(k, "nothing");
    if (keys != NULL) {
        put_in_force(k, keys);
    }
    return keys != NULL;
}

void keyring_refresh(struct keyring *k, bool all)
{
    if (!watched_file_is_due(&k->file, all)) {
        return;
    }
    struct key_file *const fresh = read_file(k, "what was read before");
    if (fresh != NULL) {
        put_in_force(k, fresh);
    }
}

void keyring_close(struct keyring *k)
{
    free(k->keys);
    free(k->guesses);
    k->keys = NULL;
    k->guesses = NULL;
    watched_file_close(&k->file);
}

/* The key that was sent; empty: none was. */
static struct bytes key_of(const char *authorization)
{
    const size_t scheme = sizeof SCHEME - 1;
    if (authorization == NULL || strncasecmp(authorization, SCHEME, scheme) != 0) {
        return bytes_of(NULL, 0);
    }
    return bytes_text(authorization + scheme);
}

static enum keyring_verdict judge(struct keyring *k, struct bytes text, uint64_t from,
                                  uint64_t now_ms, struct key *out)
{
    const bool allowed = attempts_allowed(k->guesses, from, KEYRING_GUESSES_PER_MINUTE, now_ms);
    const struct key *const found = key_file_find(k->keys, text);
    uint64_t *const good_from = found == NULL ? NULL : &k->good_from[found - k->keys->keys];
    if (!allowed && (found == NULL || *good_from != from)) {
        return KEYRING_LIMITED; /* whether or not it is one: nobody learns which */
    }
    if (found == NULL) {
        attempts_failed(k->guesses, from, KEYRING_GUESSES_PER_MINUTE, now_ms);
        return KEYRING_WRONG;
    }
    *good_from = from;
    *out = *found;
    return KEYRING_RIGHT;
}

enum keyring_verdict keyring_judge(struct keyring *k, const char *authorization,
                                   const struct in6_addr *from, uint64_t now_ms, struct key *out)
{
    const struct bytes text = key_of(authorization);
    if (!keyring_is_needed(k)) {
        return KEYRING_CLOSED;
    }
    if (text.len == 0) {
        return KEYRING_NO_KEY;
    }
    pthread_mutex_lock(&k->lock);
    const enum keyring_verdict verdict =
        judge(k, text, attempts_hash_address(k->seed, from), now_ms, out);
    pthread_mutex_unlock(&k->lock);
    return verdict;
}
