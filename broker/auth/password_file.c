/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_file.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "broker/auth/password_line.h"
#include "broker/config/file_text.h"
#include "proto/utf8.h"

#define SHOWN_BYTES 64 /* of a name that is repeated in a message */
#define FREE_SLOT   0u

struct entry {
    uint32_t name_at; /* in names */
    uint16_t name_len;
    unsigned line;
    struct password_hash hash;
};

struct password_file {
    uint64_t seed;
    size_t count;
    size_t mask;     /* number of slots less one: a power of two, at least twice count */
    uint32_t *slots; /* by the name's hash, then one after the other: an entry's index and 1 */
    struct entry *entries;           /* in the order of the file */
    const struct entry *first_scram; /* of `entries`; NULL: there is none */
    uint8_t *names;
    size_t names_len;
};

struct reader {
    struct password_file *file;
    const char *name;
    struct config_error *error;
};

/* ---- looking up */

static struct bytes name_of(const struct password_file *f, const struct entry *e)
{
    return bytes_of(f->names + e->name_at, e->name_len);
}

static uint64_t hash_of(const struct password_file *f, struct bytes user)
{
    return XXH3_64bits_withSeed(user.at, user.len, f->seed);
}

/* Where the user's entry is, or would be. */
static size_t slot_of(const struct password_file *f, struct bytes user)
{
    size_t slot = hash_of(f, user) & f->mask;
    while (f->slots[slot] != FREE_SLOT &&
           !bytes_equal(name_of(f, &f->entries[f->slots[slot] - 1]), user)) {
        slot = (slot + 1) & f->mask;
    }
    return slot;
}

const struct password_hash *password_file_find(const struct password_file *f, struct bytes user)
{
    const uint32_t found = f->slots[slot_of(f, user)];
    return found == FREE_SLOT ? NULL : &f->entries[found - 1].hash;
}

const struct password_hash *password_file_first_scram(const struct password_file *f)
{
    return f->first_scram == NULL ? NULL : &f->first_scram->hash;
}

size_t password_file_count(const struct password_file *f)
{
    return f->count;
}

enum password_err password_file_verify(const struct password_file *f, struct bytes user,
                                       struct bytes password)
{
    const struct password_hash *const hash = password_file_find(f, user);
    if (hash != NULL) {
        return password_hash_verify(hash, password);
    }
    if (f->count == 0) {
        return password_hash_dummy(password);
    }
    const struct entry *const like = &f->entries[hash_of(f, user) % f->count];
    const enum password_err err = password_hash_verify(&like->hash, password);
    return err == PASSWORD_OK ? PASSWORD_WRONG : err;
}

/* ---- reading */

/* For "%.*s"; not in the midst of a character. */
static int shown(struct bytes text)
{
    size_t len = text.len < SHOWN_BYTES ? text.len : SHOWN_BYTES;
    while (len < text.len && len > 0 && (text.at[len] & 0xc0) == 0x80) {
        len--;
    }
    return (int)len;
}

static bool has_control(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < 0x20 || text.at[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

const char *password_name_problem(struct bytes user)
{
    if (user.len == 0) {
        return "is empty";
    }
    if (user.len > PASSWORD_NAME_BYTES_MAX) {
        return "is longer than 256 bytes";
    }
    if (!utf8_valid(user)) {
        return "is not UTF-8";
    }
    if (has_control(user)) {
        return "has a control character in it";
    }
    if (memchr(user.at, ':', user.len) != NULL) {
        return "has a colon in it, which ends the name in a password file";
    }
    if (user.at[0] == '#') {
        return "begins with #, which begins a comment in a password file";
    }
    if (user.len >= 3 && memcmp(user.at, "\xef\xbb\xbf", 3) == 0) {
        return "begins with U+FEFF, which does not count in a password file";
    }
    if (user.at[0] == ' ' || user.at[user.len - 1] == ' ') {
        return "begins or ends with a blank, which does not count in a password file";
    }
    return NULL;
}

static void add(struct reader *r, unsigned line, struct bytes user,
                const struct password_hash *hash)
{
    struct password_file *const f = r->file;
    const size_t slot = slot_of(f, user);
    if (f->slots[slot] != FREE_SLOT) {
        config_error_add(r->error, "%s:%u: user '%.*s': given twice, first on line %u; remove one",
                         r->name, line, shown(user), (const char *)user.at,
                         f->entries[f->slots[slot] - 1].line);
        return;
    }
    struct entry *const e = &f->entries[f->count++];
    *e = (struct entry){.name_at = (uint32_t)f->names_len,
                        .name_len = (uint16_t)user.len,
                        .line = line,
                        .hash = *hash};
    memcpy(f->names + f->names_len, user.at, user.len);
    f->names_len += user.len;
    f->slots[slot] = (uint32_t)f->count;
    if (f->first_scram == NULL && hash->form == PASSWORD_SCRAM_SHA256) {
        f->first_scram = e;
    }
}

static void read_user(struct reader *r, unsigned number, const struct password_line *line)
{
    const char *const problem = password_name_problem(line->user);
    if (problem != NULL) {
        config_error_add(r->error, "%s:%u: the user name %s; a line is USER:HASH", r->name, number,
                         problem);
        return;
    }
    struct password_hash hash;
    const char *const wrong = password_hash_parse(&hash, line->hash);
    if (wrong != NULL) {
        config_error_add(r->error, "%s:%u: user '%.*s': %s", r->name, number, shown(line->user),
                         (const char *)line->user.at, wrong);
        return;
    }
    add(r, number, line->user, &hash);
}

static void read_line(struct reader *r, unsigned number, const struct password_line *line)
{
    if (line->kind == PASSWORD_LINE_EMPTY) {
        return;
    }
    if (line->whole.len - line->end.len > PASSWORD_LINE_BYTES_MAX) {
        config_error_add(r->error, "%s:%u: the line is longer than %u bytes; a line is USER:HASH",
                         r->name, number, PASSWORD_LINE_BYTES_MAX);
    } else if (line->kind == PASSWORD_LINE_NO_COLON) { /* it may well be a password: not shown */
        config_error_add(r->error, "%s:%u: there is no colon; a line is USER:HASH", r->name,
                         number);
    } else {
        read_user(r, number, line);
    }
}

/* How many users there can be, and how long their names are at most. */
static size_t users_in(struct bytes text, size_t *names_len)
{
    struct password_lines lines = password_lines_of(text);
    struct password_line line;
    size_t count = 0;
    *names_len = 0;
    while (password_lines_next(&lines, &line)) {
        count += line.kind == PASSWORD_LINE_USER;
        *names_len += line.user.len;
    }
    return count;
}

static struct password_file *create(size_t users, size_t names_len, uint64_t seed)
{
    size_t slots = 2;
    while (slots < 2 * users) {
        slots *= 2;
    }
    struct password_file *const f = calloc(1, sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    f->seed = seed;
    f->mask = slots - 1;
    f->slots = calloc(slots, sizeof f->slots[0]);
    f->entries = calloc(users > 0 ? users : 1, sizeof f->entries[0]);
    f->names = malloc(names_len > 0 ? names_len : 1);
    if (f->slots == NULL || f->entries == NULL || f->names == NULL) {
        password_file_destroy(f);
        return NULL;
    }
    return f;
}

enum password_file_err password_file_parse(struct password_file **out, const char *name,
                                           struct bytes text, uint64_t seed,
                                           struct config_error *error)
{
    const unsigned mistakes = error->count;
    if (text.len > PASSWORD_FILE_BYTES_MAX) {
        config_error_add(error, "%s: it has more than %u bytes", name, PASSWORD_FILE_BYTES_MAX);
        return PASSWORD_FILE_INVALID;
    }
    size_t names_len;
    const size_t users = users_in(text, &names_len);
    if (users > PASSWORD_USERS_MAX) {
        config_error_add(error, "%s: it has more than %u users", name, PASSWORD_USERS_MAX);
        return PASSWORD_FILE_INVALID;
    }
    struct reader r = {.file = create(users, names_len, seed), .name = name, .error = error};
    if (r.file == NULL) {
        return PASSWORD_FILE_NO_MEMORY;
    }
    struct password_lines lines = password_lines_of(text);
    struct password_line line;
    while (password_lines_next(&lines, &line)) {
        read_line(&r, lines.line, &line);
    }
    assert(r.file->count <= users);
    assert(r.file->names_len <= names_len);
    if (error->count > mistakes) {
        password_file_destroy(r.file);
        return PASSWORD_FILE_INVALID;
    }
    *out = r.file;
    return PASSWORD_FILE_OK;
}

enum password_file_err password_file_read(struct password_file **out, const char *path,
                                          uint64_t seed, struct config_error *error)
{
    char *text;
    size_t len;
    const int err = file_text_read(path, PASSWORD_FILE_BYTES_MAX, &text, &len);
    if (err == ENOMEM) {
        return PASSWORD_FILE_NO_MEMORY;
    }
    if (err != 0) {
        config_error_add(error, "%s: it cannot be read: %s", path,
                         err == EFBIG ? "it has more than 32 MiB" : strerror(err));
        return PASSWORD_FILE_INVALID;
    }
    const enum password_file_err parsed =
        password_file_parse(out, path, bytes_of(text, len), seed, error);
    free(text);
    return parsed;
}

void password_file_destroy(struct password_file *f)
{
    if (f != NULL) {
        free(f->slots);
        free(f->entries);
        free(f->names);
        free(f);
    }
}
