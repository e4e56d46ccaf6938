/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/proof.h"

#include <string.h>
#include <sys/random.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>

bool proof_key_make(struct proof_key *key)
{
    return getrandom(key->bytes, sizeof key->bytes, 0) == (ssize_t)sizeof key->bytes;
}

static bool add(Hmac *h, struct bytes part)
{
    const uint32_t length = (uint32_t)part.len;
    return wc_HmacUpdate(h, (const uint8_t *)&length, sizeof length) == 0 &&
           (part.len == 0 || wc_HmacUpdate(h, part.at, length) == 0);
}

bool proof_make(const struct proof_key *key, struct proof *proof, const struct bytes *parts,
                size_t count)
{
    Hmac h;
    if (wc_HmacInit(&h, NULL, INVALID_DEVID) != 0) {
        return false;
    }
    bool ok = wc_HmacSetKey(&h, WC_SHA256, key->bytes, sizeof key->bytes) == 0;
    for (size_t i = 0; i < count; i++) {
        ok = ok && add(&h, parts[i]);
    }
    ok = ok && wc_HmacFinal(&h, (uint8_t *)proof->words) == 0;
    wc_HmacFree(&h);
    explicit_bzero(&h, sizeof h);
    return ok;
}
