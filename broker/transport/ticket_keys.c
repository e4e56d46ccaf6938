/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/ticket_keys.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/hmac.h>

#define NAME_BYTES   16u
#define KEY_BYTES    32u
#define NONCE_BYTES  12u
#define TAG_BYTES    16u
#define SECRET_BYTES 256u /* of a line; what is behind is refused */

/* How long a client may come back with a ticket: a day. */
#define TICKET_HINT_S 86400

struct key {
    uint8_t name[NAME_BYTES];
    uint8_t key[KEY_BYTES];
};

struct ticket_keys {
    _Atomic unsigned references;
    unsigned count;
    struct key keys[TICKET_KEYS_MAX];
};

/* ---- making them */

static bool derive(struct key *key, const uint8_t *secret, size_t len)
{
    static const uint8_t use[] = "dunlin tls ticket";
    uint8_t both[NAME_BYTES + KEY_BYTES];
    const int err =
        wc_HKDF(WC_SHA256, secret, (word32)len, NULL, 0, use, sizeof use - 1, both, sizeof both);
    memcpy(key->name, both, NAME_BYTES);
    memcpy(key->key, both + NAME_BYTES, KEY_BYTES);
    explicit_bzero(both, sizeof both);
    return err == 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The bytes that so many digits are; 0: they are none. */
static size_t unhex(const char *text, size_t len, uint8_t secret[SECRET_BYTES])
{
    if (len % 2 != 0 || len / 2 > SECRET_BYTES) {
        return 0;
    }
    for (size_t i = 0; i < len; i += 2) {
        const int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return 0;
        }
        secret[i / 2] = (uint8_t)(high << 4 | low);
    }
    return len / 2;
}

static const char *add_line(struct ticket_keys *k, const char *line, size_t len)
{
    uint8_t secret[SECRET_BYTES];
    const char *wrong = NULL;
    if (len > 0 && line[len - 1] == '\r') {
        len--;
    }
    if (len == 0 || line[0] == '#') {
        return NULL;
    }
    const size_t bytes = unhex(line, len, secret);
    if (bytes < KEY_BYTES) {
        wrong = "a line is not 64 to 512 hexadecimal digits (openssl rand -hex 32 makes one)";
    } else if (k->count == TICKET_KEYS_MAX) {
        wrong = "there are more than 4 keys";
    } else if (!derive(&k->keys[k->count], secret, bytes)) {
        wrong = "a key could not be derived";
    } else {
        k->count++;
    }
    explicit_bzero(secret, sizeof secret);
    return wrong;
}

static struct ticket_keys *create(void)
{
    struct ticket_keys *k = calloc(1, sizeof *k);
    if (k != NULL) {
        atomic_init(&k->references, 1);
    }
    return k;
}

struct ticket_keys *ticket_keys_parse(const char *text, size_t len, const char **wrong)
{
    struct ticket_keys *k = create();
    *wrong = k == NULL ? "out of memory" : NULL;
    for (size_t at = 0; at < len && *wrong == NULL;) {
        const char *const newline = memchr(text + at, '\n', len - at);
        const size_t end = newline == NULL ? len : (size_t)(newline - text);
        *wrong = add_line(k, text + at, end - at);
        at = end + 1;
    }
    if (*wrong == NULL && k->count == 0) {
        *wrong = "there is no key in it";
    }
    if (*wrong != NULL) {
        ticket_keys_put(k);
        return NULL;
    }
    return k;
}

struct ticket_keys *ticket_keys_random(void)
{
    uint8_t secret[KEY_BYTES];
    struct ticket_keys *k = create();
    if (k == NULL || getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret ||
        !derive(&k->keys[0], secret, sizeof secret)) {
        ticket_keys_put(k);
        return NULL;
    }
    explicit_bzero(secret, sizeof secret);
    k->count = 1;
    return k;
}

struct ticket_keys *ticket_keys_take(struct ticket_keys *k)
{
    atomic_fetch_add_explicit(&k->references, 1, memory_order_relaxed);
    return k;
}

void ticket_keys_put(struct ticket_keys *k)
{
    if (k != NULL && atomic_fetch_sub_explicit(&k->references, 1, memory_order_acq_rel) == 1) {
        explicit_bzero(k, sizeof *k);
        free(k);
    }
}

/* ---- sealing and opening: wolfSSL's callback */

static int seal(const struct key *key, uint8_t name[NAME_BYTES], uint8_t *nonce, uint8_t *tag,
                uint8_t *state, int len)
{
    Aes aes;
    int err = -1;
    if (getrandom(nonce, WOLFSSL_TICKET_IV_SZ, 0) != WOLFSSL_TICKET_IV_SZ ||
        wc_AesInit(&aes, NULL, INVALID_DEVID) != 0) {
        return WOLFSSL_TICKET_RET_REJECT;
    }
    memcpy(name, key->name, NAME_BYTES);
    memset(tag, 0, WOLFSSL_TICKET_MAC_SZ);
    if (wc_AesGcmSetKey(&aes, key->key, KEY_BYTES) == 0) {
        err = wc_AesGcmEncrypt(&aes, state, state, (word32)len, nonce, NONCE_BYTES, tag, TAG_BYTES,
                               name, NAME_BYTES);
    }
    wc_AesFree(&aes);
    return err == 0 ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_REJECT;
}

static int open_sealed(const struct key *key, const uint8_t *name, const uint8_t *nonce,
                       const uint8_t *tag, uint8_t *state, int len)
{
    Aes aes;
    int err = -1;
    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0) {
        return -1;
    }
    if (wc_AesGcmSetKey(&aes, key->key, KEY_BYTES) == 0) {
        err = wc_AesGcmDecrypt(&aes, state, state, (word32)len, nonce, NONCE_BYTES, tag, TAG_BYTES,
                               name, NAME_BYTES);
    }
    wc_AesFree(&aes);
    return err;
}

static int on_ticket(WOLFSSL *ssl, unsigned char name[WOLFSSL_TICKET_NAME_SZ],
                     unsigned char nonce[WOLFSSL_TICKET_IV_SZ],
                     unsigned char tag[WOLFSSL_TICKET_MAC_SZ], int sealing, unsigned char *state,
                     int len, int *out_len, void *keys)
{
    const struct ticket_keys *const k = keys;
    (void)ssl;
    *out_len = len; /* GCM adds nothing */
    if (sealing != 0) {
        return seal(&k->keys[0], name, nonce, tag, state, len);
    }
    for (unsigned i = 0; i < k->count; i++) {
        if (memcmp(k->keys[i].name, name, NAME_BYTES) == 0) {
            if (open_sealed(&k->keys[i], name, nonce, tag, state, len) != 0) {
                return WOLFSSL_TICKET_RET_REJECT;
            }
            return i == 0 ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_CREATE;
        }
    }
    return WOLFSSL_TICKET_RET_REJECT; /* of another node, or another time: a whole handshake */
}

_Static_assert(WOLFSSL_TICKET_NAME_SZ == NAME_BYTES, "a ticket's name");
_Static_assert(WOLFSSL_TICKET_IV_SZ >= (int)NONCE_BYTES, "a ticket's nonce");
_Static_assert(WOLFSSL_TICKET_MAC_SZ >= (int)TAG_BYTES, "a ticket's tag");

int ticket_keys_use(WOLFSSL_CTX *context, struct ticket_keys *k)
{
    const bool ok = wolfSSL_CTX_set_TicketEncCb(context, on_ticket) == WOLFSSL_SUCCESS &&
                    wolfSSL_CTX_set_TicketEncCtx(context, k) == WOLFSSL_SUCCESS &&
                    wolfSSL_CTX_set_TicketHint(context, TICKET_HINT_S) == WOLFSSL_SUCCESS;
    return ok ? 0 : -1;
}
