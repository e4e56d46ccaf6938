/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/remembered.h"

#include <string.h>

bool remembered_init(struct remembered *r)
{
    memset(r, 0, sizeof *r);
    return proof_key_make(&r->key);
}

void remembered_fini(struct remembered *r)
{
    explicit_bzero(r, sizeof *r);
}

bool remembered_prove(const struct remembered *r, struct proof *proof, struct bytes user,
                      struct bytes password, const struct password_hash *hash)
{
    char line[PASSWORD_HASH_TEXT];
    const size_t line_len = password_hash_print(hash, line);
    const struct bytes parts[] = {user, password, bytes_of(line, line_len)};
    const bool ok = proof_make(&r->key, proof, parts, sizeof parts / sizeof parts[0]);
    explicit_bzero(line, sizeof line);
    return ok;
}

/* Nobody can choose what it is compared with without the key: time tells nothing. */
bool remembered_has(const struct remembered *r, const struct proof *proof)
{
    const size_t place = proof->words[0] % REMEMBERED_PLACES;
    bool same = true;
    for (unsigned i = 0; i < PROOF_WORDS; i++) {
        same = atomic_load_explicit(&r->proofs[place].words[i], memory_order_relaxed) ==
                   proof->words[i] &&
               same;
    }
    return same;
}

void remembered_add(struct remembered *r, const struct proof *proof)
{
    const size_t place = proof->words[0] % REMEMBERED_PLACES;
    for (unsigned i = 0; i < PROOF_WORDS; i++) {
        atomic_store_explicit(&r->proofs[place].words[i], proof->words[i], memory_order_relaxed);
    }
}
