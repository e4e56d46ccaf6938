/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_file: the keys by which the API may be asked, as a file has them: not the keys, but what
 * SHA-256 makes of them. A key is 256 random bits, made by `dunlin admin-key` alone, so that
 * nothing slower than that is needed against those who have stolen the file.
 *
 *   NAME ROLE HASH     HASH: sha256: and 64 hexadecimal digits
 *   # comment          also behind blanks; and an empty line
 *
 * Owner: whoever made it; it never changes, so that any thread may ask.
 * Memory: some 120 bytes for each key. At the bounds below: a mistake, told as any other. Any bytes
 * are fair input.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config_error.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define KEY_FILE_BYTES_MAX 65536u
#define KEYS_MAX           256u
#define KEY_NAME_BYTES     65u /* with its NUL */
#define KEY_HASH_BYTES     32u
#define KEY_PREFIX         "dunlin_"
#define KEY_TEXT_BYTES     (sizeof KEY_PREFIX + 64) /* with its NUL */

enum key_role { KEY_READ_ONLY, KEY_ADMIN };

struct key {
    char name[KEY_NAME_BYTES];
    enum key_role role;
    uint8_t hash[KEY_HASH_BYTES];
};

struct key_file {
    size_t count;
    struct key keys[];
};

enum key_file_err {
    KEY_FILE_OK = 0,
    KEY_FILE_INVALID, /* each mistake is in *error; no hash is in there */
    KEY_FILE_NO_MEMORY,
};

/* `name` is how messages call the file. *out is to be freed; it is written on success only. */
NODISCARD enum key_file_err key_file_parse(struct key_file **out, const char *name,
                                           struct bytes text, struct config_error *error);
NODISCARD enum key_file_err key_file_read(struct key_file **out, const char *path,
                                          struct config_error *error);

/* The key that the text is; NULL: none. Takes as long whether it is one, and which. */
const struct key *key_file_find(const struct key_file *f, struct bytes text);

/* A new key: its text, and its line in the file, with its end. false: no random bytes. */
#define KEY_LINE_BYTES 192u
NODISCARD bool key_make(const char *name, enum key_role role, char text[KEY_TEXT_BYTES],
                        char line[KEY_LINE_BYTES]);

/* The text of a file with that key's line in the place of the former one of its name, or behind all
 * others; line empty: without it. To be freed; *found: there was one. NULL: no memory. */
NODISCARD char *key_file_edit(struct bytes text, const char *name, const char *line, bool *found);

bool key_name_is_fine(struct bytes name); /* letters, digits, and ._- ; 64 at most */
bool key_role_parse(struct bytes text, enum key_role *role);
const char *key_role_name(enum key_role role);
