/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/ban_edit.h"

#include <assert.h>
#include <stdlib.h>

static void append(struct ban_edit *e, struct bytes more)
{
    if (more.len > 0) {
        memcpy(e->text + e->len, more.at, more.len);
        e->len += more.len;
    }
}

/* A line with a mistake is of nobody. */
static bool is_of(const struct ban_line *line, const struct ban *ban)
{
    struct ban other;
    return line->text.len > 0 && ban_parse(&other, line->text) == NULL && ban_is_same(&other, ban);
}

bool ban_edit(struct ban_edit *out, struct bytes text, const struct ban *ban, bool keep)
{
    char printed[BAN_LINE_BYTES_MAX];
    const struct bytes own = bytes_of(printed, ban_print(ban, printed));
    const size_t room = text.len + own.len + sizeof "\n\n";
    struct ban_edit e = {.text = malloc(room)};
    if (e.text == NULL) {
        return false;
    }
    struct ban_lines lines = ban_lines_of(text);
    struct ban_line line;
    while (ban_lines_next(&lines, &line)) {
        if (!is_of(&line, ban)) {
            append(&e, line.whole);
        } else if (e.found++ == 0 && keep) {
            append(&e, own);
            append(&e, line.end);
        }
    }
    if (e.found == 0 && keep) {
        if (text.len > 0 && text.at[text.len - 1] != '\n') {
            append(&e, bytes_text("\n"));
        }
        append(&e, own);
        append(&e, bytes_text("\n"));
    }
    assert(e.len <= room);
    *out = e;
    return true;
}
