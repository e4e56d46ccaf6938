/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/knock.h"

#include <assert.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>

#define HELLO_BYTES  (KNOCK_MAGIC_BYTES + UUID_BYTES + KNOCK_RANDOM_BYTES)
#define ANSWER_BYTES (KNOCK_RANDOM_BYTES + KNOCK_PROOF_BYTES)

static const char purpose[] = "dunlin knock 1";
static const char by_acceptor[] = "accept", by_dialer[] = "dial";

static_assert(HELLO_BYTES <= KNOCK_BYTES_MAX && ANSWER_BYTES <= KNOCK_BYTES_MAX, "they fit");

static bool begin(struct knock *k, const struct identity *self, const struct seal_key *keys,
                  size_t count)
{
    assert(count >= 1 && count <= SEAL_KEYS_MAX);

    memset(k, 0, sizeof *k);
    k->cluster = self->cluster;
    k->key_count = count;
    for (size_t i = 0; i < count; i++) {
        if (wc_HKDF(WC_SHA256, keys[i].bytes, SEAL_KEY_BYTES, NULL, 0, (const uint8_t *)purpose,
                    sizeof purpose - 1, k->keys[i].bytes, SEAL_KEY_BYTES) != 0) {
            knock_end(k);
            return false;
        }
    }
    return true;
}

bool knock_dial(struct knock *k, const struct identity *self, struct node_uuid to,
                const struct seal_key *keys, size_t count, const uint8_t random[KNOCK_RANDOM_BYTES],
                struct knock_out *out)
{
    if (!begin(k, self, keys, count)) {
        return false;
    }
    k->dials = true;
    k->dialer = self->node;
    k->acceptor = to;
    memcpy(k->dialer_random, random, KNOCK_RANDOM_BYTES);
    memcpy(out->bytes, KNOCK_MAGIC, KNOCK_MAGIC_BYTES);
    memcpy(out->bytes + KNOCK_MAGIC_BYTES, k->dialer.bytes, UUID_BYTES);
    memcpy(out->bytes + KNOCK_MAGIC_BYTES + UUID_BYTES, random, KNOCK_RANDOM_BYTES);
    out->len = HELLO_BYTES;
    return true;
}

bool knock_accept(struct knock *k, const struct identity *self, const struct seal_key *keys,
                  size_t count, const uint8_t random[KNOCK_RANDOM_BYTES])
{
    if (!begin(k, self, keys, count)) {
        return false;
    }
    k->acceptor = self->node;
    memcpy(k->acceptor_random, random, KNOCK_RANDOM_BYTES);
    return true;
}

/* false: wolfCrypt has failed. */
static bool prove(const struct knock *k, const struct seal_key *key, const char *role,
                  uint8_t proof[KNOCK_PROOF_BYTES])
{
    Hmac hmac;
    if (wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0) {
        return false;
    }
    /* The parts have fixed lengths, but for the role, of which neither begins the other. */
    const bool done = wc_HmacSetKey(&hmac, WC_SHA256, key->bytes, SEAL_KEY_BYTES) == 0 &&
                      wc_HmacUpdate(&hmac, (const uint8_t *)role, (word32)strlen(role)) == 0 &&
                      wc_HmacUpdate(&hmac, k->dialer.bytes, UUID_BYTES) == 0 &&
                      wc_HmacUpdate(&hmac, k->acceptor.bytes, UUID_BYTES) == 0 &&
                      wc_HmacUpdate(&hmac, k->cluster.bytes, UUID_BYTES) == 0 &&
                      wc_HmacUpdate(&hmac, k->dialer_random, KNOCK_RANDOM_BYTES) == 0 &&
                      wc_HmacUpdate(&hmac, k->acceptor_random, KNOCK_RANDOM_BYTES) == 0 &&
                      wc_HmacFinal(&hmac, proof) == 0;
    wc_HmacFree(&hmac);
    return done;
}

/* In a time that does not tell where they differ. */
static bool same(const uint8_t *a, const uint8_t *b)
{
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < KNOCK_PROOF_BYTES; i++) {
        difference = (uint8_t)(difference | (a[i] ^ b[i]));
    }
    return difference == 0;
}

/* The key by which that was proved; NULL: none of them. */
static const struct seal_key *key_of(const struct knock *k, const char *role, const uint8_t *proof)
{
    uint8_t right[KNOCK_PROOF_BYTES];
    const struct seal_key *found = NULL;
    for (size_t i = 0; found == NULL && i < k->key_count; i++) {
        found = prove(k, &k->keys[i], role, right) && same(right, proof) ? &k->keys[i] : NULL;
    }
    explicit_bzero(right, sizeof right);
    return found;
}

static enum knock_state take_answer(struct knock *k, const uint8_t *in, struct knock_out *out)
{
    memcpy(k->acceptor_random, in, KNOCK_RANDOM_BYTES);
    const struct seal_key *const key = key_of(k, by_acceptor, in + KNOCK_RANDOM_BYTES);
    if (key == NULL || !prove(k, key, by_dialer, out->bytes)) {
        return KNOCK_REFUSED;
    }
    out->len = KNOCK_PROOF_BYTES;
    return KNOCK_DONE;
}

static enum knock_state take_hello(struct knock *k, const uint8_t *in, struct knock_out *out)
{
    if (memcmp(in, KNOCK_MAGIC, KNOCK_MAGIC_BYTES) != 0) {
        return KNOCK_REFUSED;
    }
    memcpy(k->dialer.bytes, in + KNOCK_MAGIC_BYTES, UUID_BYTES);
    memcpy(k->dialer_random, in + KNOCK_MAGIC_BYTES + UUID_BYTES, KNOCK_RANDOM_BYTES);
    memcpy(out->bytes, k->acceptor_random, KNOCK_RANDOM_BYTES);
    if (node_uuid_is_none(k->dialer) || node_uuid_equal(k->dialer, k->acceptor) ||
        !prove(k, &k->keys[0], by_acceptor, out->bytes + KNOCK_RANDOM_BYTES)) {
        return KNOCK_REFUSED;
    }
    out->len = ANSWER_BYTES;
    k->answered = true;
    return KNOCK_NEED_MORE;
}

enum knock_state knock_take(struct knock *k, struct bytes in, size_t *used, struct knock_out *out)
{
    const size_t wanted = k->dials ? ANSWER_BYTES : k->answered ? KNOCK_PROOF_BYTES : HELLO_BYTES;
    out->len = 0;
    *used = 0;
    if (in.len < wanted) {
        return KNOCK_NEED_MORE;
    }
    *used = wanted;
    if (k->dials) {
        return take_answer(k, in.at, out);
    }
    if (k->answered) {
        return key_of(k, by_dialer, in.at) != NULL ? KNOCK_DONE : KNOCK_REFUSED;
    }
    return take_hello(k, in.at, out);
}

void knock_end(struct knock *k)
{
    explicit_bzero(k, sizeof *k);
}
