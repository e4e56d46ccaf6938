/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/key_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/admin/key_file.h"
#include "broker/auth/locked_file.h"
#include "broker/config/config_error.h"

#define USAGE_STATUS 2
#define WORDS_MAX    3u /* the verb, FILE, NAME */

enum verb { VERB_NONE, VERB_ADD, VERB_REMOVE, VERB_LIST };

struct request {
    bool help, create;
    const char *role; /* NULL: not given */
    const char *words[WORDS_MAX];
    unsigned words_count; /* also those that found no room */
    enum verb verb;
    enum key_role as;
};

static const char help[] =
    "dunlin admin-key: who may use the administration API\n"
    "\n"
    "Usage: dunlin admin-key add [--create] --role read-only|admin FILE NAME\n"
    "       dunlin admin-key remove FILE NAME\n"
    "       dunlin admin-key list FILE\n"
    "\n"
    "FILE is the broker's admin.keys_file. A new key is printed once; the file has only its hash.\n"
    "A key is sent as \"Authorization: Bearer KEY\".\n"
    "\n"
    "  --create       Make the file, which must not be there yet; it is its owner's alone (0600).\n"
    "  --role ROLE    read-only: may look. admin: may also change things, and publish.\n"
    "  --help         Print this.\n"
    "\n"
    "A name that there is already gets a new key, and the former one is void. The file is "
    "replaced\n"
    "at once; a broker that runs takes it up within some seconds, or when it is told to (SIGHUP).\n"
    "\n"
    "Examples:\n"
    "  dunlin admin-key add --create --role admin /etc/dunlin/admin-keys alice\n"
    "  dunlin admin-key remove /etc/dunlin/admin-keys alice\n";

/* ---- the command line */

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
    if (strcmp(argv[i], "--role") != 0 || i + 1 == argc) {
        return 0;
    }
    r->role = argv[i + 1];
    return 2;
}

static bool take_arguments(struct request *r, int argc, char *const *argv,
                           struct config_error *error)
{
    for (int i = 1; i < argc;) {
        if (argv[i][0] == '-') {
            const int taken = take_flag(r, argc, argv, i);
            if (taken == 0) {
                config_error_add(error, "%.64s: %s; dunlin admin-key --help tells more", argv[i],
                                 strcmp(argv[i], "--role") == 0 ? "its value is missing"
                                                                : "there is no such flag");
                return false;
            }
            i += taken;
            continue;
        }
        if (r->words_count < WORDS_MAX) {
            r->words[r->words_count] = argv[i];
        }
        r->words_count++;
        i++;
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

static void judge(struct request *r, struct config_error *error)
{
    r->verb = verb_of(r);
    const unsigned words = r->verb == VERB_LIST ? 2 : WORDS_MAX;
    if (r->verb == VERB_NONE) {
        config_error_add(error, "what is to be done: add, remove, or list? dunlin admin-key --help "
                                "tells more");
    } else if (r->words_count != words) {
        config_error_add(error, "behind %s belongs %s; dunlin admin-key --help tells more",
                         r->words[0], r->verb == VERB_LIST ? "one FILE" : "FILE NAME");
    } else if (r->verb != VERB_ADD && (r->create || r->role != NULL)) {
        config_error_add(error, "flags are for add; leave them out");
    } else if (r->verb != VERB_LIST && !key_name_is_fine(bytes_text(r->words[2]))) {
        config_error_add(error, "a name has letters, digits and ._-, and at most 64 of them");
    } else if (r->verb == VERB_ADD &&
               (r->role == NULL || !key_role_parse(bytes_text(r->role), &r->as))) {
        config_error_add(error, "--role read-only or --role admin: what may the key be used for?");
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

/* Would a broker take it? */
static bool is_good(const struct request *r, const char *text, struct config_error *error)
{
    struct key_file *keys;
    const enum key_file_err err = key_file_parse(&keys, r->words[1], bytes_text(text), error);
    if (err == KEY_FILE_NO_MEMORY) {
        tell(r, LOCKED_FILE_NO_MEMORY, 0, error);
    }
    if (err == KEY_FILE_OK) {
        free(keys);
    }
    return err == KEY_FILE_OK;
}

static bool replace(struct locked_file *f, const struct request *r, const char *text,
                    struct config_error *error)
{
    int sys_errno = 0;
    const enum locked_file_err err = strlen(text) > KEY_FILE_BYTES_MAX
                                         ? LOCKED_FILE_TOO_LARGE
                                         : locked_file_replace(f, bytes_text(text), &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
    }
    return err == LOCKED_FILE_OK;
}

/* line "": the key goes. *found: there was one of that name. */
static bool edit_locked(struct locked_file *f, const struct request *r, const char *line,
                        bool *found, struct config_error *error)
{
    char *text;
    size_t len;
    int sys_errno;
    const enum locked_file_err err =
        locked_file_read(f, KEY_FILE_BYTES_MAX, &text, &len, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
        return false;
    }
    if (strlen(text) != len) {
        config_error_add(error, "%s: there is a NUL in it", r->words[1]);
        free(text);
        return false;
    }
    char *const edited = key_file_edit(bytes_of(text, len), r->words[2], line, found);
    free(text);
    if (edited == NULL) {
        tell(r, LOCKED_FILE_NO_MEMORY, 0, error);
        return false;
    }
    bool done = false;
    if (r->verb == VERB_REMOVE && !*found) {
        config_error_add(error, "%s: there is no key '%s'", r->words[1], r->words[2]);
    } else {
        done = is_good(r, edited, error) && replace(f, r, edited, error);
    }
    free(edited);
    return done;
}

static bool edit(const struct request *r, const char *line, bool *found, struct config_error *error)
{
    struct locked_file f;
    int sys_errno;
    const enum locked_file_err err = locked_file_open(
        &f, r->words[1], r->create ? LOCKED_FILE_NEW : LOCKED_FILE_OLD, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
        return false;
    }
    const bool done = edit_locked(&f, r, line, found, error);
    locked_file_close(&f);
    return done;
}

static bool add(const struct request *r, struct config_error *error)
{
    char text[KEY_TEXT_BYTES], line[KEY_LINE_BYTES];
    bool found;
    if (!key_make(r->words[2], r->as, text, line)) {
        config_error_add(error, "no random bytes are to be had: %s", strerror(errno));
        return false;
    }
    const bool done = edit(r, line, &found, error);
    if (done) {
        puts(text);
        fprintf(stderr, "%s: key '%s' (%s) %s; it is shown this once\n", r->words[1], r->words[2],
                key_role_name(r->as), found ? "is another one now" : "is added");
    }
    explicit_bzero(text, sizeof text);
    return done;
}

static bool take_away(const struct request *r, struct config_error *error)
{
    bool found;
    const bool done = edit(r, "", &found, error);
    if (done) {
        printf("%s: key '%s' is void\n", r->words[1], r->words[2]);
    }
    return done;
}

static bool list(const struct request *r, struct config_error *error)
{
    struct key_file *keys;
    const enum key_file_err err = key_file_read(&keys, r->words[1], error);
    if (err == KEY_FILE_NO_MEMORY) {
        tell(r, LOCKED_FILE_NO_MEMORY, 0, error);
    }
    if (err != KEY_FILE_OK) {
        return false;
    }
    for (size_t i = 0; i < keys->count; i++) {
        printf("%s %s\n", keys->keys[i].name, key_role_name(keys->keys[i].role));
    }
    free(keys);
    return true;
}

int key_command(int argc, char *const *argv)
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
    const bool done = r.verb == VERB_ADD      ? add(&r, &error)
                      : r.verb == VERB_REMOVE ? take_away(&r, &error)
                                              : list(&r, &error);
    fputs(error.text, stderr);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
