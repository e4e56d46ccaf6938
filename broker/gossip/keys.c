/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/keys.h"

#include <assert.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include "broker/auth/password_base64.h"

#define KEY_TEXT (PASSWORD_BASE64_TEXT(SEAL_KEY_BYTES) - 1)

static_assert(SEAL_KEY_BYTES == WC_SHA256_DIGEST_SIZE, "a key may be a digest");

/* Takes a line off *text. */
static struct bytes next_line(struct bytes *text)
{
    const uint8_t *const end = memchr(text->at, '\n', text->len);
    struct bytes line = bytes_of(text->at, end == NULL ? text->len : (size_t)(end - text->at));
    const size_t used = line.len + (end != NULL);
    *text = bytes_of(text->at + used, text->len - used);
    if (line.len > 0 && line.at[line.len - 1] == '\r') {
        line.len--;
    }
    return line;
}

static bool take(struct key_ring *ring, struct bytes line)
{
    size_t len = 0;
    return line.len == KEY_TEXT &&
           password_base64_decode(ring->at[ring->count].bytes, SEAL_KEY_BYTES, &len, line,
                                  PASSWORD_BASE64_PADDED) &&
           len == SEAL_KEY_BYTES;
}

const char *keys_parse(struct key_ring *ring, struct bytes text)
{
    const char *wrong = NULL;
    struct key_ring read = {.count = 0};
    while (text.len > 0 && wrong == NULL) {
        const struct bytes line = next_line(&text);
        if (line.len == 0) {
            continue;
        }
        if (read.count == SEAL_KEYS_MAX) {
            wrong = "it has more than two keys";
        } else if (!take(&read, line)) {
            wrong = "a line is not base64 of 32 bytes, as openssl rand -base64 32 makes it";
        } else {
            read.count++;
        }
    }
    if (wrong == NULL && read.count == 0) {
        wrong = "there is no key in it";
    }
    if (wrong == NULL) {
        *ring = read;
    }
    explicit_bzero(&read, sizeof read);
    return wrong;
}

static bool digest(uint8_t out[WC_SHA256_DIGEST_SIZE], const char *purpose, const char *name)
{
    wc_Sha256 sha;
    if (wc_InitSha256(&sha) != 0) {
        return false;
    }
    const bool done = /* with the NUL between them */
        wc_Sha256Update(&sha, (const uint8_t *)purpose, (word32)strlen(purpose) + 1) == 0 &&
        wc_Sha256Update(&sha, (const uint8_t *)name, (word32)strlen(name)) == 0 &&
        wc_Sha256Final(&sha, out) == 0;
    wc_Sha256Free(&sha);
    return done;
}

bool keys_of_name(struct key_ring *ring, const char *cluster_name)
{
    ring->count = 1;
    return digest(ring->at[0].bytes, "dunlin cluster without a key 1", cluster_name);
}

bool keys_cluster_of(struct cluster_uuid *cluster, const char *cluster_name)
{
    uint8_t out[WC_SHA256_DIGEST_SIZE];
    if (!digest(out, "dunlin cluster 1", cluster_name)) {
        return false;
    }
    *cluster = cluster_uuid_of_random(out);
    return true;
}
