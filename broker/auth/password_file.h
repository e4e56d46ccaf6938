/* SPDX-License-Identifier: Apache-2.0 */
/*
 * password_file: the users of a password file, and whether a name and a password belong together.
 * docs/passwords.md describes the file; password_line.h, password_hash.h its parts.
 *
 * Owner: whoever made it; it never changes, so that any thread may ask. Asking for a password takes
 * the time and memory of password_hash_verify(), so no shard does that itself.
 * Memory: some 200 bytes for each user and the name, in four blocks.
 * At the bounds below: a mistake, told as any other. Any bytes are fair input.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "broker/auth/password_hash.h"
#include "broker/config/config_error.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define PASSWORD_FILE_BYTES_MAX (32u << 20)
#define PASSWORD_LINE_BYTES_MAX 1024u /* without its end */
#define PASSWORD_NAME_BYTES_MAX 256u
#define PASSWORD_USERS_MAX      100000u

struct password_file;

enum password_file_err {
    PASSWORD_FILE_OK = 0,
    PASSWORD_FILE_INVALID, /* each mistake is in *error; no hash and no password is in there */
    PASSWORD_FILE_NO_MEMORY,
};

/* `name` is how messages call the file. seed: random, and the same for the life of the process, so
 * that nobody can tell from times which names are users. *out is written on success only. */
NODISCARD enum password_file_err password_file_parse(struct password_file **out, const char *name,
                                                     struct bytes text, uint64_t seed,
                                                     struct config_error *error);
/* The same, of a file on disk. What keeps it from being read is a mistake too. */
NODISCARD enum password_file_err password_file_read(struct password_file **out, const char *path,
                                                    uint64_t seed, struct config_error *error);
void password_file_destroy(struct password_file *f); /* NULL is fine */

size_t password_file_count(const struct password_file *f);

/* NULL: there is no such user. Borrowed from f; for SCRAM, whose lines can be told by their form.
 */
const struct password_hash *password_file_find(const struct password_file *f, struct bytes user);

/* The first SCRAM line of the file, as an example of its lines; NULL: it has none. Borrowed from f.
 */
const struct password_hash *password_file_first_scram(const struct password_file *f);

/* PASSWORD_WRONG for an unknown user too, after the work that some user's hash takes, always the
 * same one's: where all hashes have one form and cost, time does not tell who exists. */
NODISCARD enum password_err password_file_verify(const struct password_file *f, struct bytes user,
                                                 struct bytes password);

/* NULL, or why this cannot be the name of a user in a file: "has a colon in it", and so on. */
const char *password_name_problem(struct bytes user);
