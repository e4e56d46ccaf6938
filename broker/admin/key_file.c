/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/key_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

#include "broker/config/file_text.h"

#define HASH_FORM  "sha256:"
#define LINE_WORDS 3u

static const char *const role_names[] = {[KEY_READ_ONLY] = "read-only", [KEY_ADMIN] = "admin"};

const char *key_role_name(enum key_role role)
{
    return role_names[role];
}

bool key_role_parse(struct bytes text, enum key_role *role)
{
    for (size_t i = 0; i < sizeof role_names / sizeof role_names[0]; i++) {
        if (bytes_equal(text, bytes_text(role_names[i]))) {
            *role = (enum key_role)i;
            return true;
        }
    }
    return false;
}

bool key_name_is_fine(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        const uint8_t c = name.at[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return name.len > 0 && name.len < KEY_NAME_BYTES;
}

static bool hash_of(struct bytes text, uint8_t hash[KEY_HASH_BYTES])
{
    return wc_Sha256Hash(text.at, (word32)text.len, hash) == 0;
}

/* ---- lines */

/* The next line, without its end, off the front; *whole: with it. */
static struct bytes next_line(struct bytes *left, struct bytes *whole)
{
    const uint8_t *const end = memchr(left->at, '\n', left->len);
    const size_t len = end == NULL ? left->len : (size_t)(end - left->at);
    *whole = bytes_of(left->at, end == NULL ? len : len + 1);
    *left = bytes_of(left->at + whole->len, left->len - whole->len);
    return bytes_of(whole->at, len);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct bytes next_word(struct bytes *line)
{
    size_t begin = 0;
    while (begin < line->len && is_blank(line->at[begin])) {
        begin++;
    }
    size_t end = begin;
    while (end < line->len && !is_blank(line->at[end])) {
        end++;
    }
    const struct bytes word = bytes_of(line->at + begin, end - begin);
    *line = bytes_of(line->at + end, line->len - end);
    return word;
}

/* false: there are more than that; *count: 0 of a comment or an empty line. */
static bool split(struct bytes line, struct bytes words[LINE_WORDS], unsigned *count)
{
    *count = 0;
    for (;;) {
        const struct bytes word = next_word(&line);
        if (word.len == 0 || (*count == 0 && word.at[0] == '#')) {
            return true;
        }
        if (*count == LINE_WORDS) {
            return false;
        }
        words[(*count)++] = word;
    }
}

static int digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(struct bytes text, uint8_t hash[KEY_HASH_BYTES])
{
    const size_t form = sizeof HASH_FORM - 1;
    if (text.len != form + KEY_HASH_BYTES * 2 || memcmp(text.at, HASH_FORM, form) != 0) {
        return false;
    }
    for (size_t i = 0; i < KEY_HASH_BYTES; i++) {
        const int high = digit(text.at[form + 2 * i]), low = digit(text.at[form + 2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static const char *read_key(struct key *key, const struct bytes words[LINE_WORDS], unsigned count)
{
    if (count != LINE_WORDS) {
        return "is not NAME ROLE HASH, as dunlin admin-key writes it";
    }
    if (!key_name_is_fine(words[0])) {
        return "has a name of other characters than letters, digits and ._-, or of more than 64";
    }
    if (!key_role_parse(words[1], &key->role)) {
        return "has a role that is neither read-only nor admin";
    }
    if (!read_hash(words[2], key->hash)) {
        return "has no hash as dunlin admin-key writes it, sha256: and 64 digits";
    }
    memcpy(key->name, words[0].at, words[0].len);
    key->name[words[0].len] = '\0';
    return NULL;
}

static bool has_name(const struct key_file *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++) {
        if (strcmp(f->keys[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* NULL, or what is wrong. */
static const char *take_line(struct key_file *f, struct bytes line)
{
    struct bytes words[LINE_WORDS];
    unsigned count;
    const bool fits = split(line, words, &count);
    if (fits && count == 0) {
        return NULL;
    }
    if (f->count == KEYS_MAX) {
        return "is one key too many; there may be 256";
    }
    struct key *const key = &f->keys[f->count];
    *key = (struct key){.role = KEY_READ_ONLY};
    const char *const wrong = read_key(key, words, fits ? count : 0);
    if (wrong != NULL) {
        return wrong;
    }
    if (has_name(f, key->name)) {
        return "has a name that is given before; remove one";
    }
    f->count++;
    return NULL;
}

enum key_file_err key_file_parse(struct key_file **out, const char *name, struct bytes text,
                                 struct config_error *error)
{
    const unsigned mistakes = error->count;
    struct key_file *const f = calloc(1, sizeof *f + KEYS_MAX * sizeof f->keys[0]);
    if (f == NULL) {
        return KEY_FILE_NO_MEMORY;
    }
    for (unsigned number = 1; text.len > 0; number++) {
        struct bytes whole;
        const char *const wrong = take_line(f, next_line(&text, &whole));
        if (wrong != NULL) {
            config_error_add(error, "%s:%u: the line %s", name, number, wrong);
        }
    }
    if (error->count > mistakes) {
        free(f);
        return KEY_FILE_INVALID;
    }
    *out = f;
    return KEY_FILE_OK;
}

enum key_file_err key_file_read(struct key_file **out, const char *path, struct config_error *error)
{
    char *text;
    size_t len;
    const int err = file_text_read(path, KEY_FILE_BYTES_MAX, &text, &len);
    if (err == ENOMEM) {
        return KEY_FILE_NO_MEMORY;
    }
    if (err != 0) {
        config_error_add(error, "%s: it cannot be read: %s", path,
                         err == EFBIG ? "it has more than 64 KiB" : strerror(err));
        return KEY_FILE_INVALID;
    }
    const enum key_file_err parsed = key_file_parse(out, path, bytes_of(text, len), error);
    free(text);
    return parsed;
}

/* ---- asking */

static bool is_same(const uint8_t *a, const uint8_t *b)
{
    uint8_t different = 0;
    for (size_t i = 0; i < KEY_HASH_BYTES; i++) {
        different |= a[i] ^ b[i];
    }
    return different == 0;
}

const struct key *key_file_find(const struct key_file *f, struct bytes text)
{
    uint8_t hash[KEY_HASH_BYTES];
    const struct key *found = NULL;
    if (!hash_of(text, hash)) {
        return NULL;
    }
    for (size_t i = 0; i < f->count; i++) { /* all of them, whichever it is */
        found = is_same(f->keys[i].hash, hash) ? &f->keys[i] : found;
    }
    return found;
}

/* ---- making */

static void print_hex(char *to, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 0xf];
    }
    *to = '\0';
}

bool key_make(const char *name, enum key_role role, char text[KEY_TEXT_BYTES],
              char line[KEY_LINE_BYTES])
{
    uint8_t secret[32], hash[KEY_HASH_BYTES];
    char hex[KEY_HASH_BYTES * 2 + 1];
    if (getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret) {
        return false;
    }
    memcpy(text, KEY_PREFIX, sizeof KEY_PREFIX);
    print_hex(text + sizeof KEY_PREFIX - 1, secret, sizeof secret);
    explicit_bzero(secret, sizeof secret);
    if (!hash_of(bytes_text(text), hash)) {
        return false;
    }
    print_hex(hex, hash, sizeof hash);
    snprintf(line, KEY_LINE_BYTES, "%s %s " HASH_FORM "%s\n", name, key_role_name(role), hex);
    return true;
}

char *key_file_edit(struct bytes text, const char *name, const char *line, bool *found)
{
    char *out = NULL;
    size_t len;
    FILE *const f = open_memstream(&out, &len);
    if (f == NULL) {
        return NULL;
    }
    *found = false;
    struct bytes last = bytes_of(NULL, 0);
    while (text.len > 0) {
        struct bytes whole, words[LINE_WORDS];
        unsigned count;
        const struct bytes one = next_line(&text, &whole);
        (void)split(one, words, &count);
        if (count == 0 || !bytes_equal(words[0], bytes_text(name))) {
            fwrite(whole.at, 1, whole.len, f);
            last = whole;
            continue;
        }
        if (!*found) {
            fputs(line, f);
            last = bytes_text(line);
        }
        *found = true;
    }
    if (!*found && last.len > 0 && last.at[last.len - 1] != '\n') {
        fputc('\n', f);
    }
    if (!*found) {
        fputs(line, f);
    }
    if (fclose(f) != 0) {
        free(out);
        return NULL;
    }
    return out;
}
