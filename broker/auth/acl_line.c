/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/acl_line.h"

#include <string.h>

struct acl_lines acl_lines_of(struct bytes text)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    if (text.len >= sizeof mark && memcmp(text.at, mark, sizeof mark) == 0) {
        text = bytes_of(text.at + sizeof mark, text.len - sizeof mark);
    }
    return (struct acl_lines){.left = text};
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void skip(struct bytes *text, size_t len)
{
    *text = bytes_of(text->at + len, text->len - len);
}

static void skip_blanks(struct bytes *text)
{
    while (text->len > 0 && is_blank(text->at[0])) {
        skip(text, 1);
    }
}

bool acl_lines_next(struct acl_lines *lines, struct bytes *line)
{
    while (lines->left.len > 0) {
        const struct bytes left = lines->left;
        const uint8_t *const newline = memchr(left.at, '\n', left.len);
        const size_t len = newline == NULL ? left.len : (size_t)(newline - left.at);
        skip(&lines->left, newline == NULL ? len : len + 1);
        lines->line++;
        *line = bytes_of(left.at, len);
        if (newline != NULL && len > 0 && left.at[len - 1] == '\r') {
            line->len--;
        }
        skip_blanks(line);
        if (line->len > 0 && line->at[0] != '#') {
            return true;
        }
    }
    return false;
}

/* What stands in quotes, which *line begins with, goes to out[*len]. */
static enum acl_word_err take_quoted(struct bytes *line, uint8_t *out, size_t *len)
{
    skip(line, 1);
    while (line->len > 0) {
        uint8_t c = line->at[0];
        skip(line, 1);
        if (c == '"') {
            return ACL_WORD_OK;
        }
        if (c == '\\') {
            if (line->len == 0 || (line->at[0] != '"' && line->at[0] != '\\')) {
                return ACL_WORD_ESCAPE;
            }
            c = line->at[0];
            skip(line, 1);
        }
        out[(*len)++] = c;
    }
    return ACL_WORD_UNQUOTED;
}

enum acl_word_err acl_word_next(struct bytes *line, struct acl_word *word, uint8_t *out)
{
    skip_blanks(line);
    if (line->len == 0) {
        return ACL_WORD_NONE;
    }
    size_t len = 0;
    bool quoted = false;
    word->key_len = 0;
    while (line->len > 0 && !is_blank(line->at[0])) {
        if (line->at[0] == '"') {
            quoted = true;
            const enum acl_word_err err = take_quoted(line, out, &len);
            if (err != ACL_WORD_OK) {
                return err;
            }
            continue;
        }
        if (line->at[0] == '=' && !quoted && word->key_len == 0) {
            word->key_len = len;
        }
        out[len++] = line->at[0];
        skip(line, 1);
    }
    word->text = bytes_of(out, len);
    return ACL_WORD_OK;
}
