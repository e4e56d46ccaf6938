/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, good and bad. Keys and tokens are made by others: RFC 7515, RFC 8037, and openssl. */
#include "broker/auth/token.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/auth/base64url.h"
#include "broker/auth/groups.h"
#include "tests/unit/auth/token_vectors.h"

#define VECTORS (sizeof vectors / sizeof vectors[0])
#define CASES   (sizeof cases / sizeof cases[0])
#define NOW     1900000000u
#define EXP     2000000000u
#define LEEWAY  30u

static const struct token_rules any = {.issuer = "",
                                       .audience = "",
                                       .user_claim = "sub",
                                       .client_id_claim = "client_id",
                                       .groups_claim = "groups",
                                       .acl_claim = "acl",
                                       .leeway_s = LEEWAY,
                                       .require_expiry = true,
                                       .user_name_must_match = true};

static struct token_rules strict(void)
{
    struct token_rules rules = any;
    rules.issuer = "https://issuer.test";
    rules.audience = "mqtt";
    return rules;
}

static struct token_bearer client(void)
{
    return (struct token_bearer){.client_id = bytes_text("client")};
}

static struct token_keys *keys_of(const char *text)
{
    const char *wrong = NULL;
    struct token_keys *const keys = token_keys_parse(bytes_text(text), &wrong);
    cr_assert(keys != NULL, "%s: %s", wrong, text);
    return keys;
}

static enum token_err verify_by(const char *keys_text, const struct token_rules *rules,
                                const struct token_bearer *bearer, struct bytes token,
                                struct token_facts *facts)
{
    struct token_keys *const keys = keys_of(keys_text);
    *facts = (struct token_facts){.acl = NULL};
    const enum token_err err = token_verify(facts, keys, rules, bearer, token, NOW);
    token_keys_destroy(keys);
    return err;
}

static enum token_err verify(const char *keys_text, const char *token)
{
    struct token_facts facts;
    const struct token_bearer bearer = client();
    return verify_by(keys_text, &any, &bearer, bytes_text(token), &facts);
}

/* ---- signatures */

Test(token, each_algorithm_is_verified)
{
    for (size_t i = 0; i < VECTORS; i++) {
        struct token_facts facts;
        const struct token_bearer bearer = client();
        cr_expect_eq(
            verify_by(vectors[i].jwks, &any, &bearer, bytes_text(vectors[i].token), &facts),
            TOKEN_OK, "%s", vectors[i].alg);
        cr_expect(bytes_equal(token_facts_user(&facts), bytes_text("alice")), "%s", vectors[i].alg);
        cr_expect_eq(facts.ends_s, EXP + LEEWAY);
        if (vectors[i].pem != NULL) {
            cr_expect_eq(verify(vectors[i].pem, vectors[i].token), TOKEN_OK, "%s", vectors[i].alg);
        }
    }
}

Test(token, no_other_key_verifies_it)
{
    for (size_t i = 0; i < VECTORS; i++) {
        for (size_t j = 0; j < VECTORS; j++) {
            if (i != j) {
                cr_expect_neq(verify(vectors[i].jwks, vectors[j].token), TOKEN_OK, "%s by %s",
                              vectors[j].alg, vectors[i].alg);
            }
        }
    }
}

/* RFC 8725, 3.1: the key of one algorithm under the name of another. */
Test(token, key_of_another_algorithm_is_not_asked)
{
    static const char *const pairs[][2] = {
        {"RS256", "PS256"}, {"RS256", "HS256"}, {"PS256", "RS256"}, {"HS512", "HS256"}};
    for (size_t p = 0; p < sizeof pairs / sizeof pairs[0]; p++) {
        for (size_t i = 0; i < VECTORS; i++) {
            if (strcmp(vectors[i].alg, pairs[p][0]) == 0) {
                struct token_keys *const keys = keys_of(vectors[i].jwks);
                unsigned at = 0;
                cr_expect_null(
                    token_keys_next(keys, &at, token_alg_find(bytes_text(pairs[p][1])), NULL));
                token_keys_destroy(keys);
            }
        }
    }
}

/* In header, claims, and signature: none of them can be another without its being seen. */
Test(token, any_other_bit_is_refused, .timeout = 120)
{
    for (size_t i = 0; i < VECTORS; i++) {
        struct token_keys *const keys = keys_of(vectors[i].jwks);
        const struct token_bearer bearer = client();
        const size_t len = strlen(vectors[i].token);
        char *const token = strdup(vectors[i].token);
        /* The larger ones are slow under the sanitizers: every seventh bit, and all of the end. */
        const bool slow = vectors[i].alg[0] != 'H';
        for (size_t bit = 0; bit < len * 8; bit += slow && bit < (len - 4) * 8 ? 7 : 1) {
            struct token_facts facts;
            token[bit / 8] = (char)(token[bit / 8] ^ (1 << bit % 8));
            cr_expect_neq(token_verify(&facts, keys, &any, &bearer, bytes_of(token, len), NOW),
                          TOKEN_OK, "%s, bit %zu", vectors[i].alg, bit);
            token[bit / 8] = (char)(token[bit / 8] ^ (1 << bit % 8));
        }
        free(token);
        token_keys_destroy(keys);
    }
}

/* What is cut off, or added: also what a decoder might pass over. */
Test(token, another_length_is_refused)
{
    for (size_t i = 0; i < VECTORS; i++) {
        struct token_keys *const keys = keys_of(vectors[i].jwks);
        const struct token_bearer bearer = client();
        struct token_facts facts;
        const size_t len = strlen(vectors[i].token);
        static const char *const more[] = {"=", "==", "A", "AA", "\n", " ", ".", ".AAAA"};
        for (size_t cut = len - 100; cut < len; cut++) {
            cr_expect_neq(
                token_verify(&facts, keys, &any, &bearer, bytes_of(vectors[i].token, cut), NOW),
                TOKEN_OK);
        }
        for (size_t m = 0; m < sizeof more / sizeof more[0]; m++) {
            char *longer = NULL;
            cr_assert(asprintf(&longer, "%s%s", vectors[i].token, more[m]) > 0);
            cr_expect_neq(token_verify(&facts, keys, &any, &bearer, bytes_text(longer), NOW),
                          TOKEN_OK, "%s", longer);
            free(longer);
        }
        token_keys_destroy(keys);
    }
}

/* An ECDSA signature of zeros is right for anything in a careless verifier. */
Test(token, signature_of_zeros_is_refused)
{
    for (size_t i = 0; i < VECTORS; i++) {
        char *const token = strdup(vectors[i].token);
        char *const signature = strrchr(token, '.') + 1;
        memset(signature, 'A', strlen(signature));
        cr_expect_eq(verify(vectors[i].jwks, token), TOKEN_SIGNATURE, "%s", vectors[i].alg);
        free(token);
    }
}

/* ---- as others have it */

#define RFC_CLAIMS                                                                                 \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"

static enum token_err verify_rfc(const char *jwks, const char *token)
{
    struct token_facts facts;
    struct token_rules rules = any;
    rules.user_claim = "iss";
    const struct token_bearer bearer = client();
    struct token_keys *const keys = keys_of(jwks);
    const enum token_err err =
        token_verify(&facts, keys, &rules, &bearer, bytes_text(token), 1300819379);
    token_keys_destroy(keys);
    return err;
}

Test(token, rfc7515_a_1_hs256)
{
    cr_expect_eq(
        verify_rfc("{\"keys\":[{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzK"
                   "ObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}]}",
                   "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_CLAIMS
                   ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        TOKEN_OK);
}

Test(token, rfc7515_a_2_rs256)
{
    cr_expect_eq(
        verify_rfc(
            "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8"
            "W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32"
            "690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2"
            "CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGN"
            "j8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"}]}",
            "eyJhbGciOiJSUzI1NiJ9." RFC_CLAIMS
            ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
            "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIA"
            "RNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
            "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77R"
            "w"),
        TOKEN_OK);
}

Test(token, rfc7515_a_3_es256)
{
    cr_expect_eq(
        verify_rfc(
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV"
            "76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
            "eyJhbGciOiJFUzI1NiJ9." RFC_CLAIMS ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-"
            "F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"),
        TOKEN_OK);
}

/* Its payload is no JSON, so that the key alone is asked. */
Test(token, rfc8037_a_4_eddsa)
{
    const struct bytes text =
        bytes_text("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
    uint8_t signature[TOKEN_SIGNATURE_BYTES_MAX];
    size_t len;
    struct token_keys *const keys =
        keys_of("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
                "7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}");
    cr_assert(
        base64url_decode(signature, sizeof signature, &len,
                         bytes_text("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iy"
                                    "lGjg5BhVsPt9g7sVvpAr_MuM0KAg")));
    cr_expect_eq(token_key_verify(keys->keys[0], text, bytes_of(signature, len)),
                 TOKEN_SIGNATURE_RIGHT);
    token_keys_destroy(keys);
}

/* ---- headers and claims */

Test(token, each_case_is_judged)
{
    const struct token_rules rules = strict();
    const struct token_bearer bearer = client();
    for (size_t i = 0; i < CASES; i++) {
        struct token_facts facts;
        const enum token_err err =
            verify_by(vectors[0].jwks, &rules, &bearer, bytes_text(cases[i].token), &facts);
        cr_expect_eq(err, cases[i].err, "%s: it %s", cases[i].name, token_err_text(err));
        cr_expect_eq(facts.acl != NULL, strcmp(cases[i].name, "rules") == 0, "%s", cases[i].name);
        cr_expect_eq(groups_count(facts.groups), strcmp(cases[i].name, "groups") == 0 ? 2 : 0, "%s",
                     cases[i].name);
        token_facts_fini(&facts);
    }
}

static const char *case_of(const char *name)
{
    size_t i = 0;
    while (i < CASES && strcmp(cases[i].name, name) != 0) {
        i++;
    }
    cr_assert(i < CASES, "no case '%s'", name);
    return cases[i].token;
}

static enum token_err judge(const struct token_rules *rules, const struct token_bearer *bearer,
                            const char *name, struct token_facts *facts)
{
    return verify_by(vectors[0].jwks, rules, bearer, bytes_text(case_of(name)), facts);
}

Test(token, end_may_be_left_out_where_it_is_not_required)
{
    struct token_rules rules = strict();
    const struct token_bearer bearer = client();
    struct token_facts facts;
    rules.require_expiry = false;
    cr_expect_eq(judge(&rules, &bearer, "no end", &facts), TOKEN_OK);
    cr_expect_eq(facts.ends_s, UINT64_MAX);
    cr_expect_eq(judge(&rules, &bearer, "ends with the leeway", &facts), TOKEN_EXPIRED);
}

/* RFC 7519, 4.1.3. */
Test(token, audience_without_ours_is_somebody_else)
{
    struct token_rules rules = strict();
    const struct token_bearer bearer = client();
    struct token_facts facts;
    rules.audience = "";
    cr_expect_eq(judge(&rules, &bearer, "no audience", &facts), TOKEN_OK);
    cr_expect_eq(judge(&rules, &bearer, "all is well", &facts), TOKEN_AUDIENCE);
    cr_expect_eq(judge(&rules, &bearer, "nobody", &facts), TOKEN_AUDIENCE);
}

Test(token, user_name_of_the_client_is_the_token_s)
{
    struct token_rules rules = strict();
    struct token_bearer bearer = client();
    struct token_facts facts;
    struct bytes name = bytes_text("alice");
    bearer.user_name = &name;
    cr_expect_eq(judge(&rules, &bearer, "all is well", &facts), TOKEN_OK);
    name = bytes_text("bob");
    cr_expect_eq(judge(&rules, &bearer, "all is well", &facts), TOKEN_USER);
    name = bytes_text("");
    cr_expect_eq(judge(&rules, &bearer, "all is well", &facts), TOKEN_USER);
    rules.user_name_must_match = false;
    cr_expect_eq(judge(&rules, &bearer, "all is well", &facts), TOKEN_OK);
    cr_expect(bytes_equal(token_facts_user(&facts), bytes_text("alice")));
}

Test(token, claims_have_the_names_that_are_asked_for)
{
    struct token_rules rules = strict();
    const struct token_bearer bearer = client();
    struct token_facts facts;
    rules.user_claim = "client_id";
    rules.client_id_claim = "sub";
    cr_expect_eq(judge(&rules, &bearer, "another client identifier", &facts), TOKEN_CLIENT);
    rules.client_id_claim = "";
    cr_expect_eq(judge(&rules, &bearer, "another client identifier", &facts), TOKEN_OK);
    cr_expect(bytes_equal(token_facts_user(&facts), bytes_text("clienT")));
}

/* ---- form */

Test(token, form_tells_tokens_from_passwords)
{
    cr_expect(token_has_form(bytes_text(vectors[0].token)));
    cr_expect(token_has_form(bytes_text("eyJ..")));
    static const char *const passwords[] = {
        "",      "eyJ",      "eyJ.a",   "eyJ.a.b.c", "eyk.a.b",
        "a.b.c", "eyJ.a b.", "eyJ.a.=", "eyJ a.b",   "wonderland"};
    for (size_t i = 0; i < sizeof passwords / sizeof passwords[0]; i++) {
        cr_expect_not(token_has_form(bytes_text(passwords[i])), "%s", passwords[i]);
    }
}

Test(token, too_long_is_not_looked_at)
{
    char *const token = malloc(TOKEN_BYTES_MAX + 1);
    const struct token_bearer bearer = client();
    struct token_facts facts;
    memset(token, 'A', TOKEN_BYTES_MAX + 1);
    const size_t header = strcspn(vectors[0].token, ".");
    memcpy(token, vectors[0].token, header + 1);
    token[TOKEN_BYTES_MAX - 51] = '.';
    cr_expect_eq(
        verify_by(vectors[0].jwks, &any, &bearer, bytes_of(token, TOKEN_BYTES_MAX), &facts),
        TOKEN_SIGNATURE);
    cr_expect_eq(
        verify_by(vectors[0].jwks, &any, &bearer, bytes_of(token, TOKEN_BYTES_MAX + 1), &facts),
        TOKEN_MALFORMED);
    free(token);
}

Test(token, every_verdict_has_words)
{
    for (enum token_err err = TOKEN_OK; err <= TOKEN_NO_MEMORY; err++) {
        cr_expect(strlen(token_err_text(err)) > 5);
    }
}
