/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/seal.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>

#define AT_NODE       2u
#define AT_GENERATION 18u
#define AT_SALT       26u
#define AT_COUNTER    34u
#define START_BYTES   (AT_COUNTER - AT_NODE) /* of who, and which start of it */
#define NONCE_BYTES   12u
#define WAYS          8u
#define WINDOW_WORDS  (SEAL_WINDOW / 64)

static const char purpose[] = "dunlin gossip 1";

struct sender {
    uint8_t start[START_BYTES];  /* as in the head; all zero: free */
    uint64_t highest;            /* counter */
    uint64_t seen[WINDOW_WORDS]; /* counter c: bit c % SEAL_WINDOW; of (highest - SEAL_WINDOW,
                                    highest] */
    uint64_t used;               /* when it was last heard, in messages opened */
    struct seal_key
        keys[SEAL_KEYS_MAX]; /* derived for that start; valid if keys_of is the ring's */
    uint32_t keys_of;
};

struct seal {
    struct seal_conf conf;
    struct seal_key ring[SEAL_KEYS_MAX];
    size_t ring_count;
    uint32_t ring_number; /* counted up with each seal_set_keys() */
    struct seal_key own;  /* derived from ring[0] */
    bool own_is_good;
    uint8_t own_start[START_BYTES];
    uint64_t counter, opened;
    struct sender *senders; /* [sets * WAYS] */
    uint32_t sets;          /* a power of two */
};

/* ---- Bytes */

static void put_u64(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static void put_nonce(uint8_t nonce[NONCE_BYTES], const uint8_t *counter)
{
    memset(nonce, 0, NONCE_BYTES - 8);
    memcpy(nonce + NONCE_BYTES - 8, counter, 8);
}

static void put_associated(uint8_t out[UUID_BYTES + SEAL_HEAD_BYTES], const struct seal *s,
                           const uint8_t *head)
{
    memcpy(out, s->conf.identity.cluster.bytes, UUID_BYTES);
    memcpy(out + UUID_BYTES, head, SEAL_HEAD_BYTES);
}

/* ---- Keys */

static bool derive(struct seal_key *out, const struct seal_key *key,
                   const uint8_t start[START_BYTES])
{
    uint8_t info[sizeof purpose - 1 + START_BYTES];
    memcpy(info, purpose, sizeof purpose - 1);
    memcpy(info + sizeof purpose - 1, start, START_BYTES);
    return wc_HKDF(WC_SHA256, key->bytes, SEAL_KEY_BYTES, NULL, 0, info, sizeof info, out->bytes,
                   SEAL_KEY_BYTES) == 0;
}

struct seal *seal_create(const struct seal_conf *conf)
{
    assert(conf->identity.generation > 0);

    struct seal *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->conf = *conf;
    memcpy(s->own_start, conf->identity.node.bytes, UUID_BYTES);
    put_u64(s->own_start + AT_GENERATION - AT_NODE, conf->identity.generation);
    memcpy(s->own_start + AT_SALT - AT_NODE, conf->salt, SEAL_SALT_BYTES);
    s->sets = 1;
    while (s->sets * WAYS < conf->senders_max) {
        s->sets *= 2;
    }
    s->senders = calloc((size_t)s->sets * WAYS, sizeof s->senders[0]);
    if (s->senders == NULL) {
        seal_destroy(s);
        return NULL;
    }
    return s;
}

void seal_destroy(struct seal *s)
{
    if (s == NULL) {
        return;
    }
    if (s->senders != NULL) {
        explicit_bzero(s->senders, (size_t)s->sets * WAYS * sizeof s->senders[0]);
        free(s->senders);
    }
    explicit_bzero(s, sizeof *s);
    free(s);
}

void seal_set_keys(struct seal *s, const struct seal_key *keys, size_t count)
{
    assert(count >= 1 && count <= SEAL_KEYS_MAX);

    explicit_bzero(s->ring, sizeof s->ring);
    memcpy(s->ring, keys, count * sizeof keys[0]);
    s->ring_count = count;
    s->ring_number++;
    s->own_is_good = derive(&s->own, &s->ring[0], s->own_start);
}

/* ---- Sealing */

enum seal_err seal_make(struct seal *s, uint8_t *out, struct bytes message)
{
    if (!s->own_is_good) {
        return SEAL_NO_MEMORY;
    }
    if (s->counter == UINT64_MAX) {
        return SEAL_EXHAUSTED;
    }
    uint8_t associated[UUID_BYTES + SEAL_HEAD_BYTES], nonce[NONCE_BYTES];
    out[0] = SEAL_VERSION;
    out[1] = 0;
    memcpy(out + AT_NODE, s->own_start, START_BYTES);
    put_u64(out + AT_COUNTER, ++s->counter);
    put_associated(associated, s, out);
    put_nonce(nonce, out + AT_COUNTER);
    const int err = wc_ChaCha20Poly1305_Encrypt(
        s->own.bytes, nonce, associated, sizeof associated, message.at, (word32)message.len,
        out + SEAL_HEAD_BYTES, out + SEAL_HEAD_BYTES + message.len);
    return err == 0 ? SEAL_OK : SEAL_NO_MEMORY;
}

/* ---- Senders */

static struct sender *set_of(const struct seal *s, const uint8_t *node)
{
    const uint64_t hash = (get_u64(node) ^ get_u64(node + 8)) * 0x9e3779b97f4a7c15u;
    return &s->senders[(hash >> 32 & (s->sets - 1)) * WAYS];
}

static struct sender *find(const struct seal *s, const uint8_t *node)
{
    struct sender *const set = set_of(s, node);
    for (unsigned i = 0; i < WAYS; i++) {
        if (memcmp(set[i].start, node, UUID_BYTES) == 0) {
            return &set[i];
        }
    }
    return NULL;
}

/* A free one, or whoever was not heard for longest. */
static struct sender *find_room(const struct seal *s, const uint8_t *node)
{
    struct sender *const set = set_of(s, node);
    struct sender *oldest = &set[0];
    for (unsigned i = 1; i < WAYS; i++) {
        oldest = set[i].used < oldest->used ? &set[i] : oldest;
    }
    return oldest;
}

static void begin_start(struct sender *sender, const uint8_t *start)
{
    *sender = (struct sender){.highest = 0};
    memcpy(sender->start, start, START_BYTES);
}

static bool is_set(const struct sender *sender, uint64_t counter)
{
    const uint64_t bit = counter % SEAL_WINDOW;
    return (sender->seen[bit / 64] >> bit % 64 & 1) != 0;
}

static bool is_replay(const struct sender *sender, uint64_t counter)
{
    if (counter > sender->highest) {
        return false;
    }
    return sender->highest - counter >= SEAL_WINDOW || is_set(sender, counter);
}

static void mark(struct sender *sender, uint64_t counter)
{
    if (counter > sender->highest) {
        const uint64_t step = counter - sender->highest;
        for (uint64_t i = 1; i <= step && i <= SEAL_WINDOW; i++) {
            const uint64_t bit = (sender->highest + i) % SEAL_WINDOW;
            sender->seen[bit / 64] &= ~((uint64_t)1 << bit % 64);
        }
        sender->highest = counter;
    }
    const uint64_t bit = counter % SEAL_WINDOW;
    sender->seen[bit / 64] |= (uint64_t)1 << bit % 64;
}

/* What can be said before the message is known to be the sender's: nothing follows from it but that
 * it is not looked at any further. */
static enum seal_err judge(const struct sender *known, const uint8_t *head)
{
    if (known == NULL) {
        return SEAL_OK;
    }
    const uint64_t generation = get_u64(head + AT_GENERATION);
    const uint64_t heard = get_u64(known->start + AT_GENERATION - AT_NODE);
    if (generation != heard) {
        return generation < heard ? SEAL_EARLIER_START : SEAL_OK;
    }
    if (memcmp(known->start, head + AT_NODE, START_BYTES) != 0) {
        return SEAL_TWIN;
    }
    return is_replay(known, get_u64(head + AT_COUNTER)) ? SEAL_REPLAYED : SEAL_OK;
}

/* ---- Opening */

static enum seal_err decrypt(const struct seal *s, const struct seal_key *key, uint8_t *out,
                             struct bytes sealed)
{
    uint8_t associated[UUID_BYTES + SEAL_HEAD_BYTES], nonce[NONCE_BYTES];
    const size_t len = sealed.len - SEAL_BYTES;
    put_associated(associated, s, sealed.at);
    put_nonce(nonce, sealed.at + AT_COUNTER);
    const int err = wc_ChaCha20Poly1305_Decrypt(key->bytes, nonce, associated, sizeof associated,
                                                sealed.at + SEAL_HEAD_BYTES, (word32)len,
                                                sealed.at + SEAL_HEAD_BYTES + len, out);
    return err == 0 ? SEAL_OK : SEAL_FORGED;
}

/* The keys of that start of the sender: those that are kept, or, for one that is not known, new
 * ones in *derived. NULL: wolfCrypt has failed. */
static const struct seal_key *keys_of(const struct seal *s, struct sender *known,
                                      const uint8_t *start, struct seal_key derived[SEAL_KEYS_MAX])
{
    const bool same = known != NULL && memcmp(known->start, start, START_BYTES) == 0;
    if (same && known->keys_of == s->ring_number) {
        return known->keys;
    }
    struct seal_key *const keys = same ? known->keys : derived;
    for (size_t i = 0; i < s->ring_count; i++) {
        if (!derive(&keys[i], &s->ring[i], start)) {
            return NULL;
        }
    }
    if (same) {
        known->keys_of = s->ring_number;
    }
    return keys;
}

static enum seal_err open_by_ring(const struct seal *s, struct sender *known, uint8_t *out,
                                  struct bytes sealed)
{
    struct seal_key derived[SEAL_KEYS_MAX];
    const struct seal_key *const keys = keys_of(s, known, sealed.at + AT_NODE, derived);
    enum seal_err err = keys == NULL ? SEAL_NO_MEMORY : SEAL_FORGED;
    for (size_t i = 0; err == SEAL_FORGED && i < s->ring_count; i++) {
        err = decrypt(s, &keys[i], out, sealed);
    }
    explicit_bzero(derived, sizeof derived);
    return err;
}

static bool is_well_formed(struct bytes sealed)
{
    static const uint8_t none[UUID_BYTES];
    return sealed.len >= SEAL_BYTES && sealed.at[0] == SEAL_VERSION && sealed.at[1] == 0 &&
           memcmp(sealed.at + AT_NODE, none, UUID_BYTES) != 0 &&
           get_u64(sealed.at + AT_GENERATION) != 0 && get_u64(sealed.at + AT_COUNTER) != 0;
}

enum seal_err seal_open(struct seal *s, uint8_t *out, size_t *len, struct seal_sender *sender,
                        struct bytes sealed)
{
    if (!is_well_formed(sealed)) {
        return SEAL_MALFORMED;
    }
    const uint8_t *const start = sealed.at + AT_NODE;
    if (memcmp(start, s->conf.identity.node.bytes, UUID_BYTES) == 0) {
        return SEAL_OWN;
    }
    struct sender *known = find(s, start);
    enum seal_err err = judge(known, sealed.at);
    if (err == SEAL_OK) {
        err = open_by_ring(s, known, out, sealed);
    }
    if (err != SEAL_OK) {
        return err;
    }
    known = known == NULL ? find_room(s, start) : known;
    if (memcmp(known->start, start, START_BYTES) != 0) {
        begin_start(known, start);
    }
    known->used = ++s->opened;
    mark(known, get_u64(sealed.at + AT_COUNTER));
    *len = sealed.len - SEAL_BYTES;
    memcpy(sender->node.bytes, start, UUID_BYTES);
    sender->generation = get_u64(sealed.at + AT_GENERATION);
    sender->counter = get_u64(sealed.at + AT_COUNTER);
    return SEAL_OK;
}
