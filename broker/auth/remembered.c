/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/remembered.h"

#include <string.h>
#include <sys/random.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>

bool remembered_init(struct remembered *r)
{
    memset(r, 0, sizeof *r);
    return getrandom(r->key, sizeof r->key, 0) == (ssize_t)sizeof r->key;
}

void remembered_fini(struct remembered *r)
{
    explicit_bzero(r, sizeof *r);
}

/* With its length in front: "ab" and "c" are not "a" and "bc". */
static bool add(Hmac *h, const void *at, size_t len)
{
    const uint32_t length = (uint32_t)len;
    return wc_HmacUpdate(h, (const uint8_t *)&length, sizeof length) == 0 &&
           (len == 0 || wc_HmacUpdate(h, at, length) == 0);
}

bool remembered_prove(const struct remembered *r, struct remembered_proof *proof, struct bytes user,
                      struct bytes password, const struct password_hash *hash)
{
    Hmac h;
    char line[PASSWORD_HASH_TEXT];
    const size_t line_len = password_hash_print(hash, line);
    if (wc_HmacInit(&h, NULL, INVALID_DEVID) != 0) {
        return false;
    }
    const bool ok = wc_HmacSetKey(&h, WC_SHA256, r->key, sizeof r->key) == 0 &&
                    add(&h, user.at, user.len) && add(&h, password.at, password.len) &&
                    add(&h, line, line_len) && wc_HmacFinal(&h, (uint8_t *)proof->words) == 0;
    wc_HmacFree(&h);
    explicit_bzero(&h, sizeof h);
    explicit_bzero(line, sizeof line);
    return ok;
}

/* Nobody can choose what it is compared with without the key: time tells nothing. */
bool remembered_has(const struct remembered *r, const struct remembered_proof *proof)
{
    const size_t place = proof->words[0] % REMEMBERED_PLACES;
    bool same = true;
    for (unsigned i = 0; i < REMEMBERED_PROOF_WORDS; i++) {
        same = atomic_load_explicit(&r->proofs[place].words[i], memory_order_relaxed) ==
                   proof->words[i] &&
               same;
    }
    return same;
}

void remembered_add(struct remembered *r, const struct remembered_proof *proof)
{
    const size_t place = proof->words[0] % REMEMBERED_PLACES;
    for (unsigned i = 0; i < REMEMBERED_PROOF_WORDS; i++) {
        atomic_store_explicit(&r->proofs[place].words[i], proof->words[i], memory_order_relaxed);
    }
}
