/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/answers.h"

#include <stdlib.h>
#include <string.h>

bool answers_init(struct answers *a)
{
    a->places = calloc(ANSWER_PLACES, sizeof a->places[0]);
    if (a->places == NULL || !proof_key_make(&a->key)) {
        free(a->places);
        a->places = NULL;
        return false;
    }
    pthread_mutex_init(&a->lock, NULL);
    return true;
}

void answers_fini(struct answers *a)
{
    if (a->places != NULL) {
        pthread_mutex_destroy(&a->lock);
        for (size_t i = 0; i < ANSWER_PLACES; i++) {
            free(a->places[i].text);
        }
        free(a->places);
        explicit_bzero(a, sizeof *a);
    }
}

/* The address without its port: that is another for each connection. */
static struct bytes host_of(const char *address)
{
    const char *const colon = strrchr(address, ':');
    return bytes_of(address, colon == NULL ? strlen(address) : (size_t)(colon - address));
}

bool answers_prove(const struct answers *a, struct proof *proof,
                   const struct callback_client *client)
{
    const uint8_t given[] = {client->has_user_name, client->has_password, client->has_uid,
                             (uint8_t)client->protocol_level};
    const struct bytes parts[] = {bytes_of(given, sizeof given),
                                  client->user_name,
                                  client->password,
                                  client->client_id,
                                  bytes_of(&client->uid, client->has_uid ? sizeof client->uid : 0),
                                  host_of(client->address),
                                  bytes_text(client->listener)};
    return proof_make(&a->key, proof, parts, sizeof parts / sizeof parts[0]);
}

static struct answers_place *place_of(struct answers *a, const struct proof *proof)
{
    return &a->places[proof->words[0] % ANSWER_PLACES];
}

/* Is it there? If so, what it was read from, into text[ANSWER_BYTES_MAX]. */
static bool copy_text(struct answers *a, const struct proof *proof, uint64_t now_ms, char *text,
                      size_t *len, uint64_t *since_ms)
{
    pthread_mutex_lock(&a->lock);
    const struct answers_place *const p = place_of(a, proof);
    const bool found = now_ms < p->until_ms && proof_equal(&p->proof, proof);
    if (found) {
        memcpy(text, p->text, p->len);
        *len = p->len;
        *since_ms = p->since_ms;
    }
    pthread_mutex_unlock(&a->lock);
    return found;
}

bool answers_find(struct answers *a, const struct proof *proof, uint64_t now_ms,
                  struct callback_verdict *verdict)
{
    char text[ANSWER_BYTES_MAX];
    size_t len;
    uint64_t since_ms;
    if (!copy_text(a, proof, now_ms, text, &len, &since_ms)) {
        return false;
    }
    callback_read(verdict, bytes_of(text, len));
    if (verdict->expires_in_s > 0) { /* less has passed: see answers_add() */
        verdict->expires_in_s -= (uint32_t)((now_ms - since_ms) / 1000);
    }
    return verdict->result != CALLBACK_UNCLEAR; /* it was clear before: there is no memory */
}

void answers_add(struct answers *a, const struct proof *proof, uint64_t now_ms, uint64_t for_ms,
                 struct bytes text, uint32_t expires_in_s)
{
    const uint64_t most_ms = (uint64_t)expires_in_s * 1000;
    const uint64_t kept_ms = most_ms > 0 && most_ms < for_ms ? most_ms : for_ms;
    char *const copy = text.len <= ANSWER_BYTES_MAX ? malloc(text.len) : NULL;
    if (copy == NULL) {
        return;
    }
    memcpy(copy, text.at, text.len);
    pthread_mutex_lock(&a->lock);
    struct answers_place *const p = place_of(a, proof);
    char *const former = p->text;
    *p = (struct answers_place){.proof = *proof,
                                .until_ms = now_ms + kept_ms,
                                .since_ms = now_ms,
                                .len = text.len,
                                .text = copy};
    pthread_mutex_unlock(&a->lock);
    free(former);
}
