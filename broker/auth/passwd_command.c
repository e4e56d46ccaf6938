/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/passwd_command.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/auth/locked_file.h"
#include "broker/auth/password_edit.h"
#include "broker/auth/password_file.h"
#include "broker/auth/password_prompt.h"
#include "broker/config/config_error.h"
#include "broker/config/resemblance.h"

#define USAGE_STATUS 2

struct request {
    bool scram, create, delete, check, help;
    bool more; /* there are more words than FILE and USER */
    const char *file;
    const char *user; /* NULL with --check */
};

/* ---- the command line */

static const char help[] =
    "dunlin passwd: makes, changes and checks password files\n"
    "\n"
    "Usage: dunlin passwd [--scram] [--create] FILE USER\n"
    "       dunlin passwd --delete FILE USER\n"
    "       dunlin passwd --check FILE\n"
    "\n"
    "The first adds the user, or gives a user that is there another password. It asks for the\n"
    "password twice; where stdin is not a terminal, its first line is the password.\n"
    "\n"
    "  --scram   Keep what SCRAM-SHA-256 needs; a login by password works with it too.\n"
    "            Otherwise the password is kept as a scrypt hash.\n"
    "  --create  Make the file, which must not be there yet; it is its owner's alone (0600).\n"
    "  --delete  Take the user out.\n"
    "  --check   Say what is wrong with the file, each with its line.\n"
    "  --help    Print this.\n"
    "\n"
    "Comments and the order of the lines stay. The file is replaced at once: whoever reads it\n"
    "finds the old one or the new. A broker that runs takes it up when it is told to (SIGHUP).\n"
    "\n"
    "Examples:\n"
    "  dunlin passwd --create /etc/dunlin/passwords alice\n"
    "  dunlin passwd --scram /etc/dunlin/passwords alice < /run/secrets/alice\n"
    "  dunlin passwd --check /etc/dunlin/passwords\n";

static bool *flag_of(struct request *r, const char *argument)
{
    return strcmp(argument, "--scram") == 0                                 ? &r->scram
           : strcmp(argument, "--create") == 0                              ? &r->create
           : strcmp(argument, "--delete") == 0                              ? &r->delete
           : strcmp(argument, "--check") == 0                               ? &r->check
           : strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0 ? &r->help
                                                                            : NULL;
}

static void unknown_flag(const char *argument, struct config_error *error)
{
    static const char *const flags[] = {"--scram", "--create", "--delete", "--check", "--help"};
    const char *best = NULL;
    unsigned best_distance = RESEMBLANCE_NONE;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        const unsigned d = resemblance(argument, strlen(argument), flags[i], strlen(flags[i]));
        if (d < best_distance) {
            best_distance = d;
            best = flags[i];
        }
    }
    if (best != NULL) {
        config_error_add(error, "%.64s: there is no such flag; did you mean %s?", argument, best);
    } else {
        config_error_add(
            error, "there is no such flag as one that is given; dunlin passwd --help lists all");
    }
}

/* A word too many may well be a password: it is not repeated. */
static void judge(const struct request *r, struct config_error *error)
{
    if ((r->check && (r->scram || r->create || r->delete)) ||
        (r->delete &&(r->scram || r->create))) {
        config_error_add(error, "--check and --delete go with no other flag; leave the others out");
        return;
    }
    if (r->file == NULL || (r->user == NULL && !r->check)) {
        config_error_add(error, "%s is missing; dunlin passwd --help tells more",
                         r->file == NULL ? "FILE" : "USER");
    }
    if (r->check && r->user != NULL) {
        config_error_add(error, "--check is for one FILE; nothing else belongs there");
    } else if (r->more) {
        config_error_add(error,
                         "behind FILE and USER nothing belongs; the password is asked for, or "
                         "read from stdin, where others do not see it");
    } else if (r->user != NULL && password_name_problem(bytes_text(r->user)) != NULL) {
        config_error_add(error, "USER %s", password_name_problem(bytes_text(r->user)));
    }
}

static bool parse(struct request *r, int argc, char *const *argv, struct config_error *error)
{
    bool flags = true; /* until -- */
    for (int i = 1; i < argc; i++) {
        bool *const flag = flags ? flag_of(r, argv[i]) : NULL;
        if (flag != NULL) {
            *flag = true;
        } else if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (flags && argv[i][0] == '-') {
            unknown_flag(argv[i], error);
        } else if (r->file == NULL) {
            r->file = argv[i];
        } else if (r->user == NULL) {
            r->user = argv[i];
        } else {
            r->more = true;
        }
    }
    if (!r->help && error->count == 0) {
        judge(r, error);
    }
    return error->count == 0;
}

/* ---- the hash */

static bool printable(const struct password_input *p)
{
    for (size_t i = 0; i < p->len; i++) {
        if (p->bytes[i] < 0x20 || p->bytes[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

static bool hash_input(char text[PASSWORD_HASH_TEXT], const struct password_input *p,
                       enum password_form form, struct config_error *error)
{
    uint8_t salt[PASSWORD_NEW_SALT_BYTES];
    struct password_hash h;
    if (form == PASSWORD_SCRAM_SHA256 && !printable(p)) {
        config_error_add(error, "for --scram the password has to be of printable ASCII characters: "
                                "of others, clients do not all make the same bytes");
        return false;
    }
    if (getrandom(salt, sizeof salt, 0) != (ssize_t)sizeof salt) {
        config_error_add(error, "no random bytes are to be had: %s", strerror(errno));
        return false;
    }
    password_hash_init(&h, form, bytes_of(salt, sizeof salt));
    if (password_hash_make(&h, bytes_of(p->bytes, p->len)) != PASSWORD_OK) {
        config_error_add(error, "out of memory");
        return false;
    }
    password_hash_print(&h, text);
    return true;
}

/* Asks for the password; nothing of it is left when this returns. */
static bool make_hash(char text[PASSWORD_HASH_TEXT], const struct request *r,
                      struct config_error *error)
{
    struct password_input p;
    const enum password_input_err err = password_prompt(&p, STDIN_FILENO, stderr, r->user);
    bool made = false;
    if (err == PASSWORD_INPUT_OK) {
        made = hash_input(text, &p, r->scram ? PASSWORD_SCRAM_SHA256 : PASSWORD_SCRYPT, error);
    } else if (err == PASSWORD_INPUT_FAILED) {
        config_error_add(error, "%s: %s", password_input_err_text(err), strerror(errno));
    } else {
        config_error_add(error, "%s", password_input_err_text(err));
    }
    password_input_wipe(&p);
    return made;
}

/* ---- the file */

static void tell(const struct request *r, enum locked_file_err err, int sys_errno,
                 struct config_error *error)
{
    const char *const remedy = err == LOCKED_FILE_ABSENT && !r->delete ? "; --create makes it"
                               : err == LOCKED_FILE_EXISTS ? "; leave out --create to change it"
                                                           : "";
    config_error_add(error, "%s: %s%s%s%s", r->file, locked_file_err_text(err), remedy,
                     sys_errno != 0 ? ": " : "", sys_errno != 0 ? strerror(sys_errno) : "");
}

/* Before somebody types a password in vain. */
static bool is_there_as_asked(const struct request *r, struct config_error *error)
{
    struct stat st;
    assert(r->file != NULL); /* only --help comes without */
    const bool there = stat(r->file, &st) == 0;
    if (!there && errno != ENOENT) {
        tell(r, LOCKED_FILE_UNREACHABLE, errno, error);
        return false;
    }
    if (there == r->create) {
        tell(r, there ? LOCKED_FILE_EXISTS : LOCKED_FILE_ABSENT, 0, error);
        return false;
    }
    return true;
}

static bool replace(struct locked_file *f, const struct request *r, struct bytes text,
                    struct config_error *error)
{
    int sys_errno = 0;
    const enum locked_file_err err = text.len > PASSWORD_FILE_BYTES_MAX
                                         ? LOCKED_FILE_TOO_LARGE
                                         : locked_file_replace(f, text, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
    }
    return err == LOCKED_FILE_OK;
}

/* hash.at NULL: the user goes. *found: the user was there. */
static bool edit_locked(struct locked_file *f, const struct request *r, struct bytes hash,
                        bool *found, struct config_error *error)
{
    char *text;
    size_t len;
    int sys_errno;
    const enum locked_file_err err =
        locked_file_read(f, PASSWORD_FILE_BYTES_MAX, &text, &len, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
        return false;
    }
    struct password_edit edited;
    assert(r->user != NULL); /* what asks for no user does not come here */
    const bool enough = password_edit(&edited, bytes_of(text, len), bytes_text(r->user), hash);
    free(text);
    if (!enough) {
        tell(r, LOCKED_FILE_NO_MEMORY, 0, error);
        return false;
    }
    *found = edited.found > 0;
    bool done = false;
    if (hash.at == NULL && !*found) {
        config_error_add(error, "%s: there is no user '%s'", r->file, r->user);
    } else {
        done = replace(f, r, bytes_of(edited.text, edited.len), error);
    }
    free(edited.text);
    return done;
}

static bool edit(const struct request *r, struct bytes hash, struct config_error *error)
{
    struct locked_file f;
    int sys_errno;
    bool found = false;
    const enum locked_file_err err =
        locked_file_open(&f, r->file, r->create ? LOCKED_FILE_NEW : LOCKED_FILE_OLD, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        tell(r, err, sys_errno, error);
        return false;
    }
    const bool done = edit_locked(&f, r, hash, &found, error);
    locked_file_close(&f);
    if (done) {
        printf("%s: user '%s' %s\n", r->file, r->user,
               hash.at == NULL ? "is gone"
               : found         ? "has a new password"
                               : "is added");
    }
    return done;
}

/* ---- what is asked for */

static bool set(const struct request *r, struct config_error *error)
{
    char hash[PASSWORD_HASH_TEXT];
    return is_there_as_asked(r, error) && make_hash(hash, r, error) &&
           edit(r, bytes_text(hash), error);
}

static bool check(const struct request *r, struct config_error *error)
{
    struct password_file *file;
    const enum password_file_err err = password_file_read(&file, r->file, 0, error);
    if (err == PASSWORD_FILE_NO_MEMORY) {
        tell(r, LOCKED_FILE_NO_MEMORY, 0, error);
    }
    if (err != PASSWORD_FILE_OK) {
        return false;
    }
    printf("the password file is valid; users: %zu\n", password_file_count(file));
    password_file_destroy(file);
    return true;
}

int passwd_command(int argc, char *const *argv)
{
    struct request r = {.file = NULL};
    struct config_error error = {0};
    if (!parse(&r, argc, argv, &error)) {
        fputs(error.text, stderr);
        return USAGE_STATUS;
    }
    if (r.help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    const bool done = r.check    ? check(&r, &error)
                      : r.delete ? edit(&r, bytes_of(NULL, 0), &error)
                                 : set(&r, &error);
    fputs(error.text, stderr);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
