/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passwords_fuzz: any bytes are a password file, or are refused in words that have a line; its
 * users are those that a naive reading finds, and no hash is over its bounds. A hash that is taken
 * is written as it was read. With one user changed, or taken out, all other lines are as they were.
 *
 * Input: a user's name, up to a byte 0xff, which no name has; then the file. Hashes are judged by
 * only if that costs next to nothing.
 */
#include <string.h>

#include "broker/auth/password_edit.h"
#include "broker/auth/password_file.h"
#include "broker/auth/password_line.h"
#include "tests/fuzz/fuzz.h"

#define SEED 4711u
#define NEW  "$scrypt$ln=1,r=1,p=1$MTIzNDU2Nzg$eXUbzuXSKrYboQ3lHPzQqg"

/* "fuzz:12: …" or "fuzz: …", each a line. */
static void told(const struct config_error *error)
{
    const size_t len = strlen(error->text);
    FUZZ_EXPECT(error->count > 0 && len > 0 && len < CONFIG_ERROR_BYTES);
    FUZZ_EXPECT(error->text[len - 1] == '\n');
    FUZZ_EXPECT(strncmp(error->text, "fuzz:", 5) == 0);
}

static bool is_cheap(const struct password_hash *h)
{
    return h->iterations <= PASSWORD_SCRAM_MIN && h->memory_kib * h->iterations <= 64 &&
           h->ln <= 4 && h->p <= 2;
}

static void hash_is_right(const struct password_hash *h, struct bytes text)
{
    char again[PASSWORD_HASH_TEXT];
    FUZZ_EXPECT(bytes_equal(bytes_of(again, password_hash_print(h, again)), text));
    FUZZ_EXPECT(h->salt_len > 0 && h->salt_len <= PASSWORD_SALT_BYTES_MAX);
    FUZZ_EXPECT(h->digest_len >= 16 && h->digest_len <= PASSWORD_DIGEST_BYTES_MAX);
    FUZZ_EXPECT(h->iterations <= PASSWORD_ITERATIONS_MAX);
    FUZZ_EXPECT(h->memory_kib <= PASSWORD_MEMORY_KIB_MAX);
    FUZZ_EXPECT(((uint64_t)h->r << h->ln) / 8 <= PASSWORD_MEMORY_KIB_MAX);
    FUZZ_EXPECT(((uint64_t)h->r << h->ln) / 8 * h->p <= PASSWORD_WORK_KIB_MAX);
    FUZZ_EXPECT(h->form != PASSWORD_ARGON2ID ||
                (uint64_t)h->memory_kib * h->iterations <= PASSWORD_WORK_KIB_MAX);
}

/* A file that was taken: each line of a user is that user, and there are no others. */
static void users_are_right(const struct password_file *f, struct bytes text, struct bytes user)
{
    struct password_lines lines = password_lines_of(text);
    struct password_line line;
    size_t count = 0;
    bool found = false;
    while (password_lines_next(&lines, &line)) {
        FUZZ_EXPECT(line.kind != PASSWORD_LINE_NO_COLON);
        if (line.kind == PASSWORD_LINE_USER) {
            const struct password_hash *const h = password_file_find(f, line.user);
            FUZZ_EXPECT(h != NULL && password_name_problem(line.user) == NULL);
            hash_is_right(h, line.hash);
            found = found || bytes_equal(line.user, user);
            count++;
        }
    }
    const struct password_hash *const h = password_file_find(f, user);
    FUZZ_EXPECT(password_file_count(f) == count && found == (h != NULL));
    if (h != NULL && is_cheap(h)) {
        FUZZ_EXPECT(password_file_verify(f, user, bytes_text("no")) == PASSWORD_WRONG);
    }
}

static bool judged(struct bytes text, struct bytes user)
{
    struct password_file *f = NULL;
    struct config_error error = {0};
    if (password_file_parse(&f, "fuzz", text, SEED, &error) != PASSWORD_FILE_OK) {
        FUZZ_EXPECT(f == NULL);
        told(&error);
        return false;
    }
    FUZZ_EXPECT(error.count == 0);
    users_are_right(f, text, user);
    password_file_destroy(f);
    return true;
}

/* A line without its end, which the last may get; a \r alone before it is then a part of that. */
static struct bytes without_end(const struct password_line *line)
{
    struct bytes text = bytes_of(line->whole.at, line->whole.len - line->end.len);
    while (text.len > 0 && text.at[text.len - 1] == '\r') {
        text.len--;
    }
    return text;
}

/* The next line of another user, or none. */
static bool next_other(struct password_lines *lines, struct bytes user, struct bytes *whole)
{
    struct password_line line;
    while (password_lines_next(lines, &line)) {
        if (line.kind != PASSWORD_LINE_USER || !bytes_equal(line.user, user)) {
            *whole = without_end(&line);
            return true;
        }
    }
    return false;
}

static unsigned lines_of(struct bytes text, struct bytes user)
{
    struct password_lines lines = password_lines_of(text);
    struct password_line line;
    unsigned count = 0;
    while (password_lines_next(&lines, &line)) {
        count += line.kind == PASSWORD_LINE_USER && bytes_equal(line.user, user);
    }
    return count;
}

static void edited(struct bytes text, struct bytes user, struct bytes hash, bool was_good)
{
    struct password_edit e;
    FUZZ_EXPECT(password_edit(&e, text, user, hash));
    const struct bytes after = bytes_of(e.text, e.len);
    FUZZ_EXPECT(e.found == lines_of(text, user));
    FUZZ_EXPECT(lines_of(after, user) == (hash.at != NULL));
    struct password_lines before_lines = password_lines_of(text);
    struct password_lines after_lines = password_lines_of(after);
    struct bytes a, b;
    while (next_other(&before_lines, user, &a)) {
        FUZZ_EXPECT(next_other(&after_lines, user, &b) && bytes_equal(a, b));
    }
    FUZZ_EXPECT(!next_other(&after_lines, user, &b));
    if (was_good) {
        FUZZ_EXPECT(judged(after, user));
    }
    free(e.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *const end = size == 0 ? NULL : memchr(data, 0xff, size);
    if (end == NULL) {
        return 0;
    }
    const struct bytes user = bytes_of(data, (size_t)(end - data));
    const struct bytes text = bytes_of(end + 1, size - user.len - 1);
    const bool good = judged(text, user);
    if (password_name_problem(user) == NULL) {
        edited(text, user, bytes_text(NEW), good);
        edited(text, user, bytes_of(NULL, 0), good);
    }
    return 0;
}
