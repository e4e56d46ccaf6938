/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_pem: public keys in PEM, one behind the other ("PUBLIC KEY": SubjectPublicKeyInfo). They
 * have no names; a key of RSA is for RS256, the others for the one algorithm of their curve.
 */
#pragma once

#include "broker/auth/token_keys.h"

/* NULL, or what is wrong with it: a constant text. */
const char *token_pem_read(struct token_keys *keys, struct bytes text);
