/* SPDX-License-Identifier: Apache-2.0 */
/*
 * password_hash: what is kept instead of a password, and whether a password is the one.
 *
 *   $scrypt$ln=14,r=8,p=1$SALT$HASH              ours; passlib's form
 *   $argon2id$v=19$m=47104,t=1,p=1$SALT$HASH     Mosquitto 2.1, and many others
 *   $7$ITERATIONS$SALT$HASH                      Mosquitto 1.6 and later: PBKDF2-HMAC-SHA512
 *   $6$SALT$HASH                                 Mosquitto before: SHA-512 of password and salt
 *   SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER  RFC 5803, with RFC 7677's hash
 *
 * Any thread may call, several at a time; none that clients wait for, as a verification takes what
 * the hash says: ours about 50 ms of a processor and 16 MiB, given back afterwards.
 * Memory: a struct of the caller's. During a call as much as the hash says.
 * At the bounds below: password_hash_parse() refuses, so that no text makes a verification take
 * more than about two seconds, or more than 65 MiB.
 * What was derived from a password is wiped here; wolfCrypt frees scrypt's memory without that.
 */
#pragma once

#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define PASSWORD_BYTES_MAX        65535u /* as long as MQTT's can be; a longer one is wrong */
#define PASSWORD_SALT_BYTES_MAX   64u
#define PASSWORD_DIGEST_BYTES_MAX 64u
#define PASSWORD_SCRAM_BYTES      32u
#define PASSWORD_MEMORY_KIB_MAX   65536u
#define PASSWORD_WORK_KIB_MAX     262144u  /* scrypt: memory times p; argon2id: memory times t */
#define PASSWORD_ITERATIONS_MAX   1000000u /* of PBKDF2 */
#define PASSWORD_SCRAM_MIN        4096u    /* iterations; RFC 7677, section 4 */

/* Ours, when it is made. */
#define PASSWORD_SCRYPT_LN        14u /* with r = 8: 16 MiB */
#define PASSWORD_SCRYPT_R         8u
#define PASSWORD_SCRYPT_P         1u
#define PASSWORD_SCRAM_ITERATIONS 15000u /* RFC 7677 again: the client has to do them too */
#define PASSWORD_NEW_SALT_BYTES   16u

/* The longest text of a hash, with its NUL. */
#define PASSWORD_HASH_TEXT 256u

enum password_form {
    PASSWORD_SCRYPT,
    PASSWORD_ARGON2ID,
    PASSWORD_PBKDF2_SHA512,
    PASSWORD_SHA512,
    PASSWORD_SCRAM_SHA256,
};

struct password_hash {
    enum password_form form;
    uint32_t iterations; /* PBKDF2, SCRAM; argon2id: t. Otherwise 0 */
    uint32_t memory_kib; /* argon2id: m. Otherwise 0 */
    uint8_t ln, r;       /* scrypt: the logarithm of N, and the block size. Otherwise 0 */
    uint8_t p;           /* scrypt, argon2id: lanes. Otherwise 0 */
    uint8_t salt_len;
    uint8_t digest_len;
    uint8_t salt[PASSWORD_SALT_BYTES_MAX];
    uint8_t digest[PASSWORD_DIGEST_BYTES_MAX]; /* SCRAM: StoredKey */
    uint8_t server_key[PASSWORD_SCRAM_BYTES];  /* SCRAM: ServerKey. Otherwise zeros */
};

enum password_err {
    PASSWORD_OK = 0,
    PASSWORD_WRONG,
    PASSWORD_NO_MEMORY, /* it could not be judged: it counts as wrong, and the log should say why */
};

/* NULL, or what is wrong and what would be right; the text itself is not repeated. */
NODISCARD const char *password_hash_parse(struct password_hash *h, struct bytes text);

/* The text that it was parsed from; returns its length without the NUL. */
size_t password_hash_print(const struct password_hash *h, char text[PASSWORD_HASH_TEXT]);

/* For a SCRAM line: derives the keys, and compares StoredKey. */
NODISCARD enum password_err password_hash_verify(const struct password_hash *h,
                                                 struct bytes password);

/* The work of a verification of ours, and then PASSWORD_WRONG: where there is nothing to compare
 * with, so that a stranger cannot tell from the time. */
NODISCARD enum password_err password_hash_dummy(struct bytes password);

/* PASSWORD_SCRYPT or PASSWORD_SCRAM_SHA256 at today's cost; salt: at most PASSWORD_SALT_BYTES_MAX
 * random bytes. The digest is still to be made. */
void password_hash_init(struct password_hash *h, enum password_form form, struct bytes salt);

/* Fills the digest in, and for SCRAM the server key: of the form, cost and salt that are there. */
NODISCARD enum password_err password_hash_make(struct password_hash *h, struct bytes password);
