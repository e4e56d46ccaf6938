/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/ban_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/auth/locked_file.h"
#include "broker/config/config_error.h"
#include "broker/config/file_text.h"
#include "broker/guard/ban_edit.h"
#include "broker/guard/ban_list.h"
#include "proto/utf8.h"

#define USAGE_STATUS 2
#define FOR_S_MAX    (100ll * 366 * 86400)

enum verb { VERB_NONE, VERB_ADD, VERB_REMOVE, VERB_LIST };

#define WORDS_MAX 4u /* the verb, FILE, KIND, VALUE */

struct request {
    bool help, create;
    const char *until, *period, *because; /* NULL: not given */
    const char *words[WORDS_MAX];
    unsigned words_count; /* also those that found no room */
    enum verb verb;
    struct ban ban; /* of add and remove */
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

static const char **option_of(struct request *r, const char *argument)
{
    return strcmp(argument, "--until") == 0     ? &r->until
           : strcmp(argument, "--for") == 0     ? &r->period
           : strcmp(argument, "--because") == 0 ? &r->because
                                                : NULL;
}

/* How many arguments it took; 0: there is no such flag, or its value is missing. */
static int take_flag(struct request *r, int argc, char *const *argv, int i)
{
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
        r->help = true;
        return 1;
    }
    if (strcmp(argv[i], "--create") == 0) {
        r->create = true;
        return 1;
    }
    const char **const option = option_of(r, argv[i]);
    if (option == NULL || i + 1 == argc) {
        return 0;
    }
    *option = argv[i + 1];
    return 2;
}

static void take_word(struct request *r, const char *word)
{
    if (r->words_count < WORDS_MAX) {
        r->words[r->words_count] = word;
    }
    r->words_count++;
}

static bool take_arguments(struct request *r, int argc, char *const *argv,
                           struct config_error *error)
{
    bool flags = true; /* until -- */
    for (int i = 1; i < argc;) {
        int taken = 1;
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (flags && argv[i][0] == '-') {
            taken = take_flag(r, argc, argv, i);
        } else {
            take_word(r, argv[i]);
        }
        if (taken == 0) {
            config_error_add(error, "%.64s: %s; dunlin ban --help tells more", argv[i],
                             option_of(r, argv[i]) == NULL ? "there is no such flag"
                                                           : "its value is missing");
            return false;
        }
        i += taken;
    }
    return true;
}

static enum verb verb_of(const struct request *r)
{
    const char *const word = r->words_count > 0 ? r->words[0] : "";
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

static void judge(struct request *r, struct config_error *error)
{
    r->verb = verb_of(r);
    if (r->verb == VERB_NONE) {
        config_error_add(error, "what is to be done: add, remove, or list? dunlin ban --help tells "
                                "more");
        return;
    }
    const unsigned words = r->verb == VERB_LIST ? 2 : WORDS_MAX;
    if (r->words_count != words) {
        config_error_add(error, "behind %s belongs %s; dunlin ban --help tells more", r->words[0],
                         r->verb == VERB_LIST ? "one FILE, and nothing else" : "FILE KIND VALUE");
        return;
    }
    if (r->verb != VERB_ADD &&
        (r->create || r->until != NULL || r->period != NULL || r->because != NULL)) {
        config_error_add(error, "flags are for add; leave them out");
        return;
    }
    if (r->verb != VERB_LIST) {
        const char *const wrong =
            ban_make(&r->ban, bytes_text(r->words[2]), bytes_text(r->words[3]));
        if (wrong != NULL) {
            config_error_add(error, "%s", wrong);
        }
        judge_end(r, error);
        judge_because(r, error);
    }
}

/* ---- the file */

static void tell(const struct request *r, enum locked_file_err err, int sys_errno,
                 struct config_error *error)
{
    const char *const remedy = err == LOCKED_FILE_ABSENT && r->verb == VERB_ADD
                                   ? "; --create makes it"
                               : err == LOCKED_FILE_EXISTS ? "; leave out --create to change it"
                                                           : "";
    config_error_add(error, "%s: %s%s%s%s", r->words[1], locked_file_err_text(err), remedy,
                     sys_errno != 0 ? ": " : "", sys_errno != 0 ? strerror(sys_errno) : "");
}

static bool replace(struct locked_file *f, const struct request *r, struct bytes text,
                    struct config_error *error)
{
    int sys_errno = 0;
    const enum locked_file_err err = text.len > BAN_FILE_BYTES_MAX
                                         ? LOCKED_FILE_TOO_LARGE
                                         : locked_file_replace(f, text, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
    }
    return err == LOCKED_FILE_OK;
}

/* *found: there was such a ban. */
static bool edit_locked(struct locked_file *f, const struct request *r, bool *found,
                        struct config_error *error)
{
    char *text;
    size_t len;
    int sys_errno;
    const enum locked_file_err err =
        locked_file_read(f, BAN_FILE_BYTES_MAX, &text, &len, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
        return false;
    }
    struct ban_edit edited;
    const bool enough = ban_edit(&edited, bytes_of(text, len), &r->ban, r->verb == VERB_ADD);
    free(text);
    if (!enough) {
        tell(r, LOCKED_FILE_NO_MEMORY, 0, error);
        return false;
    }
    *found = edited.found > 0;
    bool done = false;
    if (r->verb == VERB_REMOVE && !*found) {
        config_error_add(error, "%s: there is no such ban", r->words[1]);
    } else {
        done = replace(f, r, bytes_of(edited.text, edited.len), error);
    }
    free(edited.text);
    return done;
}

static bool edit(const struct request *r, struct config_error *error)
{
    struct locked_file f;
    int sys_errno;
    bool found = false;
    const enum locked_file_err err = locked_file_open(
        &f, r->words[1], r->create ? LOCKED_FILE_NEW : LOCKED_FILE_OLD, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
        return false;
    }
    const bool done = edit_locked(&f, r, &found, error);
    locked_file_close(&f);
    if (done) {
        char line[BAN_LINE_BYTES_MAX];
        ban_print(&r->ban, line);
        printf("%s: %s %s\n", r->words[1], line,
               r->verb == VERB_REMOVE ? "is not banned any more"
               : found                ? "is banned, as before"
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

static bool list(const struct request *r, struct config_error *error)
{
    char *text;
    size_t len;
    struct ban_list *bans;
    const struct ban_clock clock = {.wall_s = time(NULL)};
    const int err = file_text_read(r->words[1], BAN_FILE_BYTES_MAX, &text, &len);
    if (err != 0) {
        config_error_add(error, "%s: it cannot be read: %s", r->words[1], strerror(err));
        return false;
    }
    const enum ban_list_err parsed =
        ban_list_parse(&bans, r->words[1], bytes_of(text, len), 0, clock, error);
    if (parsed == BAN_LIST_NO_MEMORY) {
        tell(r, LOCKED_FILE_NO_MEMORY, 0, error);
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
    struct config_error error = {0};
    if (take_arguments(&r, argc, argv, &error) && !r.help) {
        judge(&r, &error);
    }
    if (error.count > 0) {
        fputs(error.text, stderr);
        return USAGE_STATUS;
    }
    if (r.help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    const bool done = r.verb == VERB_LIST ? list(&r, &error) : edit(&r, &error);
    fputs(error.text, stderr);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
