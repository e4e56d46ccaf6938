/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_edit.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/auth/password_line.h"

static void append(struct password_edit *e, struct bytes more)
{
    if (more.len > 0) {
        memcpy(e->text + e->len, more.at, more.len);
        e->len += more.len;
    }
}

static void append_user(struct password_edit *e, struct bytes user, struct bytes hash,
                        struct bytes end)
{
    append(e, user);
    append(e, bytes_text(":"));
    append(e, hash);
    append(e, end);
}

bool password_edit(struct password_edit *out, struct bytes text, struct bytes user,
                   struct bytes hash)
{
    const size_t room = text.len + user.len + hash.len + sizeof "\n:\n";
    struct password_edit e = {.text = malloc(room)};
    if (e.text == NULL) {
        return false;
    }
    struct password_lines lines = password_lines_of(text);
    struct password_line line;
    while (password_lines_next(&lines, &line)) {
        if (line.kind != PASSWORD_LINE_USER || !bytes_equal(line.user, user)) {
            append(&e, line.whole);
        } else if (e.found++ == 0 && hash.at != NULL) {
            append_user(&e, user, hash, line.end);
        }
    }
    if (e.found == 0 && hash.at != NULL) {
        if (text.len > 0 && text.at[text.len - 1] != '\n') {
            append(&e, bytes_text("\n"));
        }
        append_user(&e, user, hash, bytes_text("\n"));
    }
    assert(e.len <= room);
    *out = e;
    return true;
}
