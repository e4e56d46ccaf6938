/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_jwks: a JSON Web Key Set (RFC 7517, 5). Adds the keys that are for us to `keys`, and counts
 * the others. Members that are written twice are a mistake (RFC 7517, 4).
 *
 *   {"keys": [{"kty": "RSA", "kid": "2026-11", "alg": "RS256", "use": "sig", "n": "…", "e":
 * "AQAB"}]}
 *
 * A key without "alg" is for what its kind is mostly used for: RS256 (RSA), the one algorithm of
 * its curve (EC, OKP); a secret ("oct") has to say.
 */
#pragma once

#include "broker/auth/token_keys.h"

/* NULL, or what is wrong with it: a constant text. */
const char *token_jwks_read(struct token_keys *keys, struct bytes text);
