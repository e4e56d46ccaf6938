/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/auth/scram_client.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/pwdbased.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include "broker/auth/password_base64.h"

#define KEY   WC_SHA256_DIGEST_SIZE
#define NONCE "rOprNGfwEbeRWgbNEkqO"

static void must(bool true_)
{
    if (!true_) {
        abort();
    }
}

static void hmac(uint8_t out[KEY], const uint8_t key[KEY], const char *text)
{
    Hmac h;
    must(wc_HmacInit(&h, NULL, INVALID_DEVID) == 0);
    must(wc_HmacSetKey(&h, WC_SHA256, key, KEY) == 0);
    must(wc_HmacUpdate(&h, (const byte *)text, (word32)strlen(text)) == 0);
    must(wc_HmacFinal(&h, out) == 0);
    wc_HmacFree(&h);
}

struct bytes scram_client_first(struct scram_client *c, const char *user, char *text)
{
    must((size_t)snprintf(c->bare, sizeof c->bare, "n=%s,r=%s", user, NONCE) < sizeof c->bare);
    snprintf(text, SCRAM_CLIENT_TEXT, "n,,%s", c->bare);
    return bytes_text(text);
}

struct bytes scram_client_final(struct scram_client *c, const char *password, struct bytes said)
{
    char text[SCRAM_CLIENT_TEXT], nonce[SCRAM_CLIENT_TEXT], salt64[128], bound[SCRAM_CLIENT_TEXT];
    uint8_t salt[64], salted[KEY], client[KEY], stored[KEY], signature[KEY], server[KEY];
    int iterations = 0;
    size_t salt_len;
    must(said.len < sizeof text);
    memcpy(text, said.at, said.len);
    text[said.len] = '\0';
    must(sscanf(text, "r=%1000[^,],s=%100[^,],i=%d", nonce, salt64, &iterations) == 3);
    must(strncmp(nonce, NONCE, strlen(NONCE)) == 0 && strlen(nonce) > strlen(NONCE));
    must(password_base64_decode(salt, sizeof salt, &salt_len, bytes_text(salt64),
                                PASSWORD_BASE64_PADDED));
    must(wc_PBKDF2(salted, (const byte *)password, (int)strlen(password), salt, (int)salt_len,
                   iterations, KEY, WC_SHA256) == 0);
    hmac(client, salted, "Client Key");
    must(wc_Sha256Hash(client, KEY, stored) == 0);
    must((size_t)snprintf(bound, sizeof bound, "%s,%s,c=biws,r=%s", c->bare, text, nonce) <
         sizeof bound);
    hmac(signature, stored, bound);
    for (unsigned i = 0; i < KEY; i++) {
        client[i] ^= signature[i];
    }
    char proof[PASSWORD_BASE64_TEXT(KEY)], verifier[PASSWORD_BASE64_TEXT(KEY)];
    password_base64_encode(proof, bytes_of(client, KEY), PASSWORD_BASE64_PADDED);
    hmac(server, salted, "Server Key");
    hmac(signature, server, bound);
    password_base64_encode(verifier, bytes_of(signature, KEY), PASSWORD_BASE64_PADDED);
    snprintf(c->final, sizeof c->final, "c=biws,r=%s,p=%s", nonce, proof);
    snprintf(c->server_final, sizeof c->server_final, "v=%s", verifier);
    return bytes_text(c->final);
}
