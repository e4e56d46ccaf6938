/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_line.h"

struct password_lines password_lines_of(struct bytes text)
{
    return (struct password_lines){.left = text};
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* A mark of UTF-8 is a blank in every line, not in the first alone: another becomes the first when
 * that is taken out, and has to mean the same then. */
static size_t blank_at_front(struct bytes text)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    if (text.len >= sizeof mark && memcmp(text.at, mark, sizeof mark) == 0) {
        return sizeof mark;
    }
    return text.len > 0 && is_blank(text.at[0]);
}

static struct bytes trimmed(struct bytes text)
{
    for (size_t n = blank_at_front(text); n > 0; n = blank_at_front(text)) {
        text = bytes_of(text.at + n, text.len - n);
    }
    while (text.len > 0 && is_blank(text.at[text.len - 1])) {
        text.len--;
    }
    return text;
}

static size_t end_length(struct bytes whole)
{
    if (whole.len == 0 || whole.at[whole.len - 1] != '\n') {
        return 0;
    }
    return whole.len > 1 && whole.at[whole.len - 2] == '\r' ? 2 : 1;
}

bool password_lines_next(struct password_lines *lines, struct password_line *line)
{
    const struct bytes left = lines->left;
    if (left.len == 0) {
        return false;
    }
    const uint8_t *const newline = memchr(left.at, '\n', left.len);
    const size_t len = newline == NULL ? left.len : (size_t)(newline - left.at) + 1;
    lines->left = bytes_of(left.at + len, left.len - len);
    lines->line++;

    *line = (struct password_line){.whole = bytes_of(left.at, len)};
    const size_t end_len = end_length(line->whole);
    line->end = bytes_of(left.at + len - end_len, end_len);
    const struct bytes text = trimmed(bytes_of(left.at, len - end_len));
    if (text.len == 0 || text.at[0] == '#') {
        line->kind = PASSWORD_LINE_EMPTY;
        return true;
    }
    const uint8_t *const colon = memchr(text.at, ':', text.len);
    if (colon == NULL) {
        line->kind = PASSWORD_LINE_NO_COLON;
        return true;
    }
    const size_t user_len = (size_t)(colon - text.at);
    line->kind = PASSWORD_LINE_USER;
    line->user = trimmed(bytes_of(text.at, user_len));
    line->hash = trimmed(bytes_of(colon + 1, text.len - user_len - 1));
    return true;
}
