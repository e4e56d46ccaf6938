/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_fuzz: any bytes that are shown as a token have a verdict, and what cannot be by our keys is
 * never good. Claims are fuzzed too: the second half of the input is signed here, by the one key
 * whose secret we have, and then judged; who is let in has a name, and an end that is to come.
 *
 * Input: the first byte says which; then a token, or claims.
 */
#include <wolfssl/options.h>
/* after its options */
#include <wolfssl/wolfcrypt/hmac.h>

#include <stdlib.h>
#include <string.h>

#include "broker/auth/groups.h"
#include "broker/auth/token.h"
#include "tests/fuzz/fuzz.h"

#define NOW    1900000000u
#define HEADER "eyJhbGciOiJIUzI1NiJ9." /* {"alg":"HS256"} */
#define SECRET "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"
#define KEYS                                                                                       \
    "{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":"                                         \
    "\"QXlNMVN5c1BwYnlEZmdabGQzdW1qMXF6S09id1ZN"                                                   \
    "a29xUQ\"},{\"kty\":\"EC\",\"kid\":\"ec\",\"crv\":\"P-256\",\"x\":"                            \
    "\"f83OJ3D2xF1Bg8vub9tLe1gHMz"                                                                 \
    "V76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},{\"kty\":\"OKP\"," \
    "\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"

static char *encode(char *at, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t bit = 0; bit < len * 8; bit += 6) {
        const unsigned two =
            (unsigned)bytes[bit / 8] << 8 | (bit / 8 + 1 < len ? bytes[bit / 8 + 1] : 0u);
        *at++ = digits[two >> (10 - bit % 8) & 63u];
    }
    return at;
}

static void mac_of(uint8_t mac[32], struct bytes text)
{
    Hmac hmac;
    FUZZ_EXPECT(wc_HmacInit(&hmac, NULL, INVALID_DEVID) == 0);
    FUZZ_EXPECT(wc_HmacSetKey(&hmac, WC_SHA256, (const byte *)SECRET, sizeof SECRET - 1) == 0);
    FUZZ_EXPECT(wc_HmacUpdate(&hmac, text.at, (word32)text.len) == 0);
    FUZZ_EXPECT(wc_HmacFinal(&hmac, mac) == 0);
    wc_HmacFree(&hmac);
}

static enum token_err verify(struct token_facts *facts, struct bytes token)
{
    static struct token_keys *keys; /* of all inputs */
    const char *wrong;
    if (keys == NULL) {
        keys = token_keys_parse(bytes_text(KEYS), &wrong);
        FUZZ_EXPECT(keys != NULL && keys->count == 3);
    }
    const struct token_rules rules = {.issuer = "",
                                      .audience = "a",
                                      .user_claim = "sub",
                                      .client_id_claim = "client_id",
                                      .groups_claim = "groups",
                                      .acl_claim = "acl",
                                      .leeway_s = 5,
                                      .require_expiry = true,
                                      .user_name_must_match = true};
    const struct bytes name = bytes_text("u");
    const struct token_bearer bearer = {.user_name = &name, .client_id = bytes_text("c")};
    return token_verify(facts, keys, &rules, &bearer, token, NOW);
}

static void claims_are_judged(const uint8_t *data, size_t size)
{
    uint8_t mac[32];
    char *const token = malloc(sizeof HEADER + size * 2 + 64);
    FUZZ_EXPECT(token != NULL);
    memcpy(token, HEADER, strlen(HEADER));
    char *at = encode(token + strlen(HEADER), data, size);
    mac_of(mac, bytes_of(token, (size_t)(at - token)));
    *at++ = '.';
    at = encode(at, mac, sizeof mac);
    struct token_facts facts = {.user_len = 0};
    const enum token_err err = verify(&facts, bytes_of(token, (size_t)(at - token)));
    FUZZ_EXPECT(token_has_form(bytes_of(token, (size_t)(at - token))));
    FUZZ_EXPECT(err != TOKEN_SIGNATURE && err != TOKEN_ALGORITHM && err != TOKEN_UNKNOWN_KEY);
    if (err == TOKEN_OK) {
        FUZZ_EXPECT(bytes_equal(token_facts_user(&facts), bytes_text("u")));
        FUZZ_EXPECT(facts.ends_s > NOW && facts.ends_s != UINT64_MAX);
        size_t place = 0;
        for (uint32_t i = 0; i < groups_count(facts.groups); i++) {
            FUZZ_EXPECT(groups_next(facts.groups, &place).len > 0);
        }
        FUZZ_EXPECT(facts.groups == NULL || place == facts.groups->bytes - sizeof *facts.groups);
        token_facts_fini(&facts);
    }
    free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        claims_are_judged(data + 1, size - 1);
        return 0;
    }
    struct token_facts facts;
    (void)token_has_form(bytes_of(data + 1, size - 1));
    FUZZ_EXPECT(verify(&facts, bytes_of(data + 1, size - 1)) != TOKEN_OK);
    return 0;
}
