/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwks_fuzz: any bytes are a file of keys, or are refused in words of ours; what is taken is within
 * its bounds, is found by its name, and verifies no signature of zeros.
 */
#include <string.h>

#include "broker/auth/token_keys.h"
#include "tests/fuzz/fuzz.h"

static void key_is_right(const struct token_keys *keys, const struct token_key *key)
{
    static const uint8_t zeros[TOKEN_SIGNATURE_BYTES_MAX];
    static const size_t lengths[] = {32, 48, 64, 96, 132, 256, 384, 512};
    const struct bytes kid = token_key_kid(key);
    unsigned at = 0;
    const struct token_key *found;
    FUZZ_EXPECT(key->alg < TOKEN_ALGS && key->kid_len <= TOKEN_KID_BYTES_MAX);
    FUZZ_EXPECT(key->has_kid || key->kid_len == 0);
    FUZZ_EXPECT(key->first_len > 0 && key->fingerprint != 0);
    FUZZ_EXPECT(token_keys_have(keys, key->fingerprint));
    FUZZ_EXPECT(!key->has_kid || token_keys_know(keys, kid));
    do {
        found = token_keys_next(keys, &at, key->alg, key->has_kid ? &kid : NULL);
        FUZZ_EXPECT(found != NULL && found->alg == key->alg);
    } while (found != key);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        FUZZ_EXPECT(token_key_verify(key, bytes_text("text"), bytes_of(zeros, lengths[i])) !=
                    TOKEN_SIGNATURE_RIGHT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *wrong = NULL;
    struct token_keys *const keys = token_keys_parse(bytes_of(data, size), &wrong);
    if (keys == NULL) {
        FUZZ_EXPECT(wrong != NULL && strlen(wrong) > 5);
        return 0;
    }
    FUZZ_EXPECT(wrong == NULL && keys->count > 0 && keys->count <= TOKEN_KEYS_MAX);
    for (unsigned i = 0; i < keys->count && i < 4; i++) {
        key_is_right(keys, keys->keys[i]);
    }
    token_keys_destroy(keys);
    return 0;
}
