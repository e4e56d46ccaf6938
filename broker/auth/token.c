/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/token.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "broker/auth/acl.h"
#include "broker/auth/acl_json.h"
#include "broker/auth/base64url.h"
#include "broker/auth/groups.h"

#define HEADER_BEGIN "eyJ" /* {" */
#define SECONDS_MAX  (1ull << 53)

static const char *const texts[] = {
    [TOKEN_OK] = "is good",
    [TOKEN_MALFORMED] = "is malformed",
    [TOKEN_CRITICAL] = "has an extension that we do not know (crit)",
    [TOKEN_TYPE] = "is for something else (typ)",
    [TOKEN_UNKNOWN_KEY] = "is signed by a key that is unknown (kid)",
    [TOKEN_NO_KEYS] = "cannot be judged, as there are no keys yet",
    [TOKEN_ALGORITHM] = "is signed by an algorithm that no key of ours is for (alg)",
    [TOKEN_SIGNATURE] = "has a wrong signature",
    [TOKEN_NO_EXPIRY] = "has no end (exp)",
    [TOKEN_EXPIRED] = "has expired (exp)",
    [TOKEN_EARLY] = "is of the future (nbf, iat)",
    [TOKEN_ISSUER] = "is of another issuer (iss)",
    [TOKEN_AUDIENCE] = "is for somebody else (aud)",
    [TOKEN_CLAIM] = "has a claim that is of a wrong type",
    [TOKEN_USER] = "names no user, or another one than the client",
    [TOKEN_CLIENT] = "is for another client identifier",
    [TOKEN_GROUPS] = "has groups that are none, or too many",
    [TOKEN_ACL] = "has rules that are none (acl)",
    [TOKEN_NO_MEMORY] = "found no memory",
};

const char *token_err_text(enum token_err err)
{
    return texts[err];
}

void token_facts_fini(struct token_facts *facts)
{
    groups_destroy(facts->groups);
    acl_destroy(facts->acl);
    facts->groups = NULL;
    facts->acl = NULL;
}

/* ---- form */

struct parts {
    struct bytes header, payload, signature; /* encoded */
    struct bytes signed_text;                /* header and payload, with the point between */
};

/* The text up to the next point, which *rest then begins behind; false: there is none. */
static bool split(struct bytes *part, struct bytes *rest)
{
    const uint8_t *const point = rest->len == 0 ? NULL : memchr(rest->at, '.', rest->len);
    if (point == NULL) {
        return false;
    }
    *part = bytes_of(rest->at, (size_t)(point - rest->at));
    *rest = bytes_of(point + 1, rest->len - part->len - 1);
    return true;
}

/* Two points, and nothing but base64url between them (RFC 7515, 7.1). */
static bool split_all(struct parts *p, struct bytes text)
{
    struct bytes rest = text;
    if (!split(&p->header, &rest) || !split(&p->payload, &rest)) {
        return false;
    }
    p->signature = rest;
    p->signed_text = bytes_of(text.at, p->header.len + 1 + p->payload.len);
    return base64url_is(p->header) && base64url_is(p->payload) && base64url_is(p->signature);
}

bool token_has_form(struct bytes text)
{
    struct parts p;
    return text.len > strlen(HEADER_BEGIN) &&
           memcmp(text.at, HEADER_BEGIN, strlen(HEADER_BEGIN)) == 0 && split_all(&p, text);
}

/* An object of JSON; NULL: it is none, or *err says that there was no memory. */
static json_t *object_of(struct bytes encoded, enum token_err *err)
{
    *err = TOKEN_MALFORMED;
    size_t len;
    uint8_t *const text = malloc(encoded.len + 1);
    if (text == NULL) {
        *err = TOKEN_NO_MEMORY;
        return NULL;
    }
    json_t *object = NULL;
    if (base64url_decode(text, encoded.len, &len, encoded)) {
        json_error_t error;
        object = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, &error);
    }
    free(text);
    if (!json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* ---- header and signature */

static struct bytes string_of(const json_t *value)
{
    return bytes_of(json_string_value(value), json_string_length(value));
}

/* Of the types that are registered, those that tell who somebody is (RFC 7519, 5.1; RFC 9068, 2.1);
 * "application/" may be left out. */
static bool is_type_of_ours(const json_t *typ)
{
    if (typ == NULL) {
        return true;
    }
    const char *name = json_string_value(typ);
    if (name == NULL) {
        return false;
    }
    if (strncasecmp(name, "application/", 12) == 0) {
        name += 12;
    }
    return strcasecmp(name, "JWT") == 0 || strcasecmp(name, "at+jwt") == 0;
}

/* The first keys that it may be by are tried: with a name that is mostly one. */
static enum token_err find_signer(uint64_t *fingerprint, const struct token_keys *keys,
                                  enum token_alg alg, const struct bytes *kid,
                                  const struct parts *p)
{
    uint8_t signature[TOKEN_SIGNATURE_BYTES_MAX];
    size_t len;
    if (!base64url_decode(signature, sizeof signature, &len, p->signature)) {
        return TOKEN_MALFORMED;
    }
    if (keys->count == 0) {
        return TOKEN_NO_KEYS;
    }
    unsigned at = 0;
    for (unsigned tries = 0; tries < TOKEN_TRIES_MAX; tries++) {
        const struct token_key *const key = token_keys_next(keys, &at, alg, kid);
        if (key == NULL) {
            return tries > 0                                    ? TOKEN_SIGNATURE
                   : kid == NULL || token_keys_know(keys, *kid) ? TOKEN_ALGORITHM
                                                                : TOKEN_UNKNOWN_KEY;
        }
        switch (token_key_verify(key, p->signed_text, bytes_of(signature, len))) {
        case TOKEN_SIGNATURE_RIGHT:
            *fingerprint = key->fingerprint;
            return TOKEN_OK;
        case TOKEN_SIGNATURE_NO_MEMORY:
            return TOKEN_NO_MEMORY;
        case TOKEN_SIGNATURE_WRONG:
            break;
        }
    }
    return TOKEN_SIGNATURE;
}

/* Keys that a header brings or points to (jwk, jku, x5c, x5u) are never looked at. */
static enum token_err judge_header(uint64_t *fingerprint, const struct token_keys *keys,
                                   const json_t *header, const struct parts *p)
{
    const json_t *const alg = json_object_get(header, "alg");
    const json_t *const kid = json_object_get(header, "kid");
    if (!json_is_string(alg) || (kid != NULL && !json_is_string(kid))) {
        return TOKEN_MALFORMED;
    }
    if (json_object_get(header, "crit") != NULL) {
        return TOKEN_CRITICAL;
    }
    if (!is_type_of_ours(json_object_get(header, "typ"))) {
        return TOKEN_TYPE;
    }
    const struct bytes name = string_of(kid);
    return find_signer(fingerprint, keys, token_alg_find(string_of(alg)),
                       kid == NULL ? NULL : &name, p);
}

/* ---- claims */

/* Seconds since 1970, perhaps with a fraction (RFC 7519, 2), which is cut off. */
static bool time_of(const json_t *claim, uint64_t *s)
{
    if (!json_is_number(claim)) {
        return false;
    }
    const double value = json_number_value(claim);
    if (!(value >= 0 && value < (double)SECONDS_MAX)) {
        return false;
    }
    *s = (uint64_t)value;
    return true;
}

static enum token_err judge_times(struct token_facts *facts, const struct token_rules *rules,
                                  const json_t *claims, uint64_t now_s)
{
    const json_t *const exp = json_object_get(claims, "exp");
    uint64_t s = 0;
    if (exp == NULL && rules->require_expiry) {
        return TOKEN_NO_EXPIRY;
    }
    facts->ends_s = UINT64_MAX;
    if (exp != NULL) {
        if (!time_of(exp, &s)) {
            return TOKEN_CLAIM;
        }
        facts->ends_s = s + rules->leeway_s;
        if (now_s >= facts->ends_s) { /* RFC 7519, 4.1.4: before it */
            return TOKEN_EXPIRED;
        }
    }
    static const char *const beginnings[] = {"nbf", "iat"};
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        const json_t *const claim = json_object_get(claims, beginnings[i]);
        if (claim != NULL && !time_of(claim, &s)) {
            return TOKEN_CLAIM;
        }
        if (claim != NULL && s > now_s + rules->leeway_s) {
            return TOKEN_EARLY;
        }
    }
    return TOKEN_OK;
}

static bool is(const json_t *value, const char *text)
{
    return json_is_string(value) && bytes_equal(string_of(value), bytes_text(text));
}

/* RFC 7519, 4.1.3: one, or a list; who is not in it must refuse the token. */
static enum token_err judge_audience(const struct token_rules *rules, const json_t *aud)
{
    if (aud == NULL) {
        return rules->audience[0] == '\0' ? TOKEN_OK : TOKEN_AUDIENCE;
    }
    if (!json_is_string(aud) && !json_is_array(aud)) {
        return TOKEN_CLAIM;
    }
    bool named = is(aud, rules->audience);
    for (size_t i = 0; i < json_array_size(aud); i++) {
        if (!json_is_string(json_array_get(aud, i))) {
            return TOKEN_CLAIM;
        }
        named = named || is(json_array_get(aud, i), rules->audience);
    }
    return named && rules->audience[0] != '\0' ? TOKEN_OK : TOKEN_AUDIENCE;
}

static enum token_err judge_user(struct token_facts *facts, const struct token_rules *rules,
                                 const struct token_bearer *bearer, const json_t *claims)
{
    const json_t *const claim = json_object_get(claims, rules->user_claim);
    const struct bytes user = string_of(claim);
    if (!json_is_string(claim) || user.len == 0 || user.len > TOKEN_USER_BYTES_MAX) {
        return TOKEN_USER;
    }
    if (bearer->user_name != NULL && rules->user_name_must_match &&
        !bytes_equal(*bearer->user_name, user)) {
        return TOKEN_USER;
    }
    memcpy(facts->user, user.at, user.len);
    facts->user_len = (uint16_t)user.len;
    return TOKEN_OK;
}

static const json_t *optional(const json_t *claims, const char *name)
{
    return name[0] == '\0' ? NULL : json_object_get(claims, name);
}

static enum token_err judge_client(const struct token_rules *rules,
                                   const struct token_bearer *bearer, const json_t *claims)
{
    const json_t *const claim = optional(claims, rules->client_id_claim);
    if (claim == NULL) {
        return TOKEN_OK;
    }
    return json_is_string(claim) && bytes_equal(string_of(claim), bearer->client_id) ? TOKEN_OK
                                                                                     : TOKEN_CLIENT;
}

static enum token_err judge_groups(struct token_facts *facts, const struct token_rules *rules,
                                   const json_t *claims)
{
    const json_t *const claim = optional(claims, rules->groups_claim);
    if (claim == NULL) {
        return TOKEN_OK;
    }
    switch (groups_read(&facts->groups, claim)) {
    case GROUPS_OK:
        return TOKEN_OK;
    case GROUPS_WRONG:
        return TOKEN_GROUPS;
    case GROUPS_NO_MEMORY:
        break;
    }
    return TOKEN_NO_MEMORY;
}

static enum token_err judge_acl(struct token_facts *facts, const struct token_rules *rules,
                                const json_t *claims)
{
    const json_t *const claim = optional(claims, rules->acl_claim);
    const char *wrong;
    if (claim == NULL) {
        return TOKEN_OK;
    }
    facts->acl = acl_json_read(claim, &wrong);
    return facts->acl == NULL ? TOKEN_ACL : TOKEN_OK;
}

static enum token_err judge_claims(struct token_facts *facts, const struct token_rules *rules,
                                   const struct token_bearer *bearer, const json_t *claims,
                                   uint64_t now_s)
{
    enum token_err err = judge_times(facts, rules, claims, now_s);
    if (err == TOKEN_OK && rules->issuer[0] != '\0' &&
        !is(json_object_get(claims, "iss"), rules->issuer)) {
        err = TOKEN_ISSUER;
    }
    if (err == TOKEN_OK) {
        err = judge_audience(rules, json_object_get(claims, "aud"));
    }
    if (err == TOKEN_OK) {
        err = judge_user(facts, rules, bearer, claims);
    }
    if (err == TOKEN_OK) {
        err = judge_client(rules, bearer, claims);
    }
    if (err == TOKEN_OK) {
        err = judge_groups(facts, rules, claims);
    }
    if (err == TOKEN_OK) {
        err = judge_acl(facts, rules, claims);
    }
    return err;
}

/* ---- the whole */

enum token_err token_verify(struct token_facts *facts, const struct token_keys *keys,
                            const struct token_rules *rules, const struct token_bearer *bearer,
                            struct bytes text, uint64_t now_s)
{
    struct parts p;
    struct token_facts found = {.acl = NULL};
    if (text.len > TOKEN_BYTES_MAX || !split_all(&p, text) ||
        p.header.len > TOKEN_HEADER_BYTES_MAX) {
        return TOKEN_MALFORMED;
    }
    enum token_err err;
    json_t *const header = object_of(p.header, &err);
    if (header != NULL) {
        err = judge_header(&found.fingerprint, keys, header, &p);
    }
    json_decref(header);
    if (err != TOKEN_OK) {
        return err;
    }
    json_t *const claims = object_of(p.payload, &err);
    if (claims != NULL) {
        err = judge_claims(&found, rules, bearer, claims, now_s);
    }
    json_decref(claims);
    if (err == TOKEN_OK) {
        *facts = found;
    } else {
        token_facts_fini(&found);
    }
    return err;
}
