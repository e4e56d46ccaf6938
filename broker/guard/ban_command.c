/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/ban_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/auth/file_command.h"
#include "broker/config/file_text.h"
#include "broker/guard/ban_edit.h"
#include "broker/guard/ban_list.h"
#include "proto/utf8.h"

#define FOR_S_MAX (100ll * 366 * 86400)

enum verb { VERB_NONE, VERB_ADD, VERB_REMOVE, VERB_LIST };

struct request {
    struct file_command command;
    const char *until, *period, *because; /* NULL: not given */
    enum verb verb;
    struct ban ban; /* of add and remove */
    bool found;     /* there was such a ban */
};

/* ---- the command line */

static const char help[] =
    "dunlin ban: who may not connect\n"
    "\n"
    "Usage: dunlin ban add [--create] [--until TIME | --for PERIOD] [--because TEXT] FILE KIND "
    "VALUE\n"
    "       dunlin ban remove FILE KIND VALUE\n"
    "       dunlin ban list FILE\n"
    "\n"
    "KIND is client (by its client id), user (by its user name), or address (an IP address, or a\n"
    "range, as in 192.0.2.0/24). FILE is the broker's auth.ban_file.\n"
    "\n"
    "  --create        Make the file, which must not be there yet; it is its owner's alone "
    "(0600).\n"
    "  --until TIME    The ban ends then; of UTC, as in 2026-12-31T23:59:59Z. Without an end it\n"
    "                  is for good.\n"
    "  --for PERIOD    It ends after that: a number and s, m, h or d, as in 90m.\n"
    "  --because TEXT  Why; for whoever reads the list.\n"
    "  --help          Print this.\n"
    "\n"
    "A value that is banned already is banned anew. Comments and the order of the lines stay. The\n"
    "file is replaced at once: whoever reads it finds the old one or the new. A broker that runs\n"
    "takes it up within some seconds, or when it is told to (SIGHUP), and ends the connections of\n"
    "those who are banned. The list shows bans that are over behind a #; a broker passes over "
    "them.\n"
    "\n"
    "Examples:\n"
    "  dunlin ban add --create /etc/dunlin/bans client sensor-17\n"
    "  dunlin ban add --for 2h --because 'it floods' /etc/dunlin/bans address 192.0.2.7\n"
    "  dunlin ban remove /etc/dunlin/bans user alice\n";

static enum verb verb_of(const struct file_command *c)
{
    const char *const word = c->word_count > 0 ? c->words[0] : "";
    return strcmp(word, "add") == 0      ? VERB_ADD
           : strcmp(word, "remove") == 0 ? VERB_REMOVE
           : strcmp(word, "list") == 0   ? VERB_LIST
                                         : VERB_NONE;
}

/* "90m": false: it is no such period. */
static bool period_parse(const char *text, int64_t *out_s)
{
    static const struct {
        char unit;
        int64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    int64_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && n < FOR_S_MAX; at++) {
        n = n * 10 + (*at - '0');
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (at > text && at[0] == units[i].unit && at[1] == '\0') {
            *out_s = n * units[i].s;
            return *out_s > 0 && *out_s <= FOR_S_MAX;
        }
    }
    return false;
}

static bool is_one_line(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n' || *text == '\r') {
            return false;
        }
    }
    return true;
}

static void judge_end(struct request *r, struct config_error *error)
{
    int64_t period_s;
    if (r->until != NULL && r->period != NULL) {
        config_error_add(error, "--until and --for do not go together; leave out one");
    } else if (r->until != NULL && !ban_time_parse(&r->ban.until_s, bytes_text(r->until))) {
        config_error_add(error, "--until takes a time of UTC, as in 2026-12-31T23:59:59Z");
    } else if (r->period != NULL && !period_parse(r->period, &period_s)) {
        config_error_add(error, "--for takes a number and s, m, h or d, as in 90m; at most a "
                                "hundred years");
    } else if (r->period != NULL) {
        r->ban.until_s = time(NULL) + period_s;
    }
}

static void judge_because(struct request *r, struct config_error *error)
{
    if (r->because == NULL) {
        return;
    }
    r->ban.because = bytes_text(r->because);
    if (r->ban.because.len > BAN_TEXT_BYTES_MAX || !utf8_valid(r->ban.because) ||
        !is_one_line(r->because)) {
        config_error_add(error, "--because takes one line of UTF-8, of at most %u bytes",
                         BAN_TEXT_BYTES_MAX);
    }
}

static void judge(struct request *r)
{
    struct file_command *const c = &r->command;
    r->verb = verb_of(c);
    c->makes = r->verb == VERB_ADD;
    c->file = c->words[1];
    if (r->verb == VERB_NONE) {
        config_error_add(&c->error, "what is to be done: add, remove, or list? dunlin ban --help "
                                    "tells more");
        return;
    }
    const unsigned words = r->verb == VERB_LIST ? 2 : 4;
    if (c->word_count != words) {
        config_error_add(&c->error, "behind %s belongs %s; dunlin ban --help tells more",
                         c->words[0],
                         r->verb == VERB_LIST ? "one FILE, and nothing else" : "FILE KIND VALUE");
        return;
    }
    if (r->verb != VERB_ADD &&
        (c->create || r->until != NULL || r->period != NULL || r->because != NULL)) {
        config_error_add(&c->error, "flags are for add; leave them out");
        return;
    }
    if (r->verb != VERB_LIST) {
        const char *const wrong =
            ban_make(&r->ban, bytes_text(c->words[2]), bytes_text(c->words[3]));
        if (wrong != NULL) {
            config_error_add(&c->error, "%s", wrong);
        }
        judge_end(r, &c->error);
        judge_because(r, &c->error);
    }
}

/* ---- the file */

/* file_command_edit_fn. */
static char *edit_text(struct file_command *c, void *context, struct bytes text, size_t *len)
{
    struct request *const r = context;
    struct ban_edit edited;
    if (!ban_edit(&edited, text, &r->ban, r->verb == VERB_ADD)) {
        file_command_tell(c, LOCKED_FILE_NO_MEMORY, 0);
        return NULL;
    }
    r->found = edited.found > 0;
    if (r->verb == VERB_REMOVE && !r->found) {
        config_error_add(&c->error, "%s: there is no such ban", c->file);
        free(edited.text);
        return NULL;
    }
    *len = edited.len;
    return edited.text;
}

static bool edit(struct request *r)
{
    const bool done = file_command_edit(&r->command, edit_text, r);
    if (done) {
        char line[BAN_LINE_BYTES_MAX];
        ban_print(&r->ban, line);
        printf("%s: %s %s\n", r->command.file, line,
               r->verb == VERB_REMOVE ? "is not banned any more"
               : r->found             ? "is banned, as before"
                                      : "is banned");
    }
    return done;
}

/* ---- the list */

static void print_all(struct bytes text, int64_t now_s)
{
    struct ban_lines lines = ban_lines_of(text);
    struct ban_line line;
    while (ban_lines_next(&lines, &line)) {
        struct ban ban;
        char printed[BAN_LINE_BYTES_MAX];
        if (line.text.len > 0 && ban_parse(&ban, line.text) == NULL) {
            ban_print(&ban, printed);
            printf("%s%s\n", ban.until_s <= now_s ? "# over: " : "", printed);
        }
    }
}

static bool list(struct request *r)
{
    char *text;
    size_t len;
    struct ban_list *bans;
    struct file_command *const c = &r->command;
    const struct ban_clock clock = {.wall_s = time(NULL)};
    const int err = file_text_read(c->file, BAN_FILE_BYTES_MAX, &text, &len);
    if (err != 0) {
        config_error_add(&c->error, "%s: it cannot be read: %s", c->file, strerror(err));
        return false;
    }
    const enum ban_list_err parsed =
        ban_list_parse(&bans, c->file, bytes_of(text, len), 0, clock, &c->error);
    if (parsed == BAN_LIST_NO_MEMORY) {
        file_command_tell(c, LOCKED_FILE_NO_MEMORY, 0);
    }
    print_all(bytes_of(text, len), clock.wall_s);
    free(text);
    if (parsed == BAN_LIST_OK) {
        ban_list_destroy(bans);
    }
    return parsed == BAN_LIST_OK;
}

int ban_command(int argc, char *const *argv)
{
    struct request r = {.verb = VERB_NONE};
    const struct file_flag flags[] = {
        {"--until", NULL, &r.until}, {"--for", NULL, &r.period}, {"--because", NULL, &r.because}};
    struct file_command *const c = &r.command;
    int status;
    *c = (struct file_command){.name = "ban",
                               .help = help,
                               .flags = flags,
                               .flag_count = sizeof flags / sizeof flags[0],
                               .bytes_max = BAN_FILE_BYTES_MAX};
    if (file_command_take(c, argc, argv)) {
        judge(&r);
    }
    if (!file_command_begins(c, &status)) {
        return status;
    }
    return file_command_end(c, r.verb == VERB_LIST ? list(&r) : edit(&r));
}
