/* SPDX-License-Identifier: Apache-2.0 */
/*
 * by_password: what others who judge by the password file share with the method "password".
 *
 * Owner: the shard.
 */
#pragma once

#include <stdint.h>

struct password_hash;
struct shard;

/* Of a user's line; another for every line, as each has a salt of its own. A user of the method
 * "password" with another one is not connected any longer. */
uint64_t login_fingerprint(const struct shard *s, const struct password_hash *hash);
