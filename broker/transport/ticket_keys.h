/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ticket_keys: the keys that tickets of TLS resumption are sealed with (RFC 5077, 4; RFC 8446,
 * 4.6.1). Every node that has the same key takes the tickets of the others.
 *
 *   ticket: name (16) │ nonce (12, of 16) │ state, sealed by AES-256-GCM │ tag (16, of 32)
 *
 * What is read is stretched (HKDF-SHA-256) into a name and a key, so that a longer line is as good
 * as one of 32 bytes. A ticket of another than the first key is taken, and a new one given.
 *
 * Owner: one reference each (ticket_keys_take(), _put()); constant, so that any thread may use it.
 * At the bound: more than TICKET_KEYS_MAX are refused.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/nodiscard.h"

#define TICKET_KEYS_MAX   4u
#define TICKET_FILE_BYTES 4096u

struct ticket_keys;

/* NULL and *wrong, a constant text: the file's text is not good, or there is no memory. */
NODISCARD struct ticket_keys *ticket_keys_parse(const char *text, size_t len, const char **wrong);
struct ticket_keys *ticket_keys_random(void); /* NULL: no memory, or no entropy */

struct ticket_keys *ticket_keys_take(struct ticket_keys *k);
void ticket_keys_put(struct ticket_keys *k); /* NULL is fine */

/* Gives a WOLFSSL_CTX these keys. It borrows them: they have to outlive what comes of it. */
struct WOLFSSL_CTX;
NODISCARD int ticket_keys_use(struct WOLFSSL_CTX *context, struct ticket_keys *k); /* 0, or -1 */
