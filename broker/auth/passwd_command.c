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

#include "broker/auth/file_command.h"
#include "broker/auth/password_edit.h"
#include "broker/auth/password_file.h"
#include "broker/auth/password_prompt.h"

struct request {
    struct file_command command;
    bool scram, delete, check;
    const char *user;  /* NULL with --check */
    struct bytes hash; /* of the user's new line; at NULL: the user goes */
    bool found;        /* the user was there */
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

/* A word too many may well be a password: it is not repeated. */
static void judge(struct request *r)
{
    struct file_command *const c = &r->command;
    struct config_error *const error = &c->error;
    c->file = c->words[0];
    r->user = c->words[1];
    c->makes = !r->delete;
    if ((r->check && (r->scram || c->create || r->delete)) ||
        (r->delete &&(r->scram || c->create))) {
        config_error_add(error, "--check and --delete go with no other flag; leave the others out");
        return;
    }
    if (c->file == NULL || (r->user == NULL && !r->check)) {
        config_error_add(error, "%s is missing; dunlin passwd --help tells more",
                         c->file == NULL ? "FILE" : "USER");
    }
    if (r->check && r->user != NULL) {
        config_error_add(error, "--check is for one FILE; nothing else belongs there");
    } else if (c->word_count > 2) {
        config_error_add(error,
                         "behind FILE and USER nothing belongs; the password is asked for, or "
                         "read from stdin, where others do not see it");
    } else if (r->user != NULL && password_name_problem(bytes_text(r->user)) != NULL) {
        config_error_add(error, "USER %s", password_name_problem(bytes_text(r->user)));
    }
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

/* Before somebody types a password in vain. */
static bool is_there_as_asked(struct file_command *c)
{
    struct stat st;
    assert(c->file != NULL); /* only --help comes without */
    const bool there = stat(c->file, &st) == 0;
    if (!there && errno != ENOENT) {
        file_command_tell(c, LOCKED_FILE_UNREACHABLE, errno);
        return false;
    }
    if (there == c->create) {
        file_command_tell(c, there ? LOCKED_FILE_EXISTS : LOCKED_FILE_ABSENT, 0);
        return false;
    }
    return true;
}

/* file_command_edit_fn. */
static char *edit_text(struct file_command *c, void *context, struct bytes text, size_t *len)
{
    struct request *const r = context;
    struct password_edit edited;
    assert(r->user != NULL); /* what asks for no user does not come here */
    if (!password_edit(&edited, text, bytes_text(r->user), r->hash)) {
        file_command_tell(c, LOCKED_FILE_NO_MEMORY, 0);
        return NULL;
    }
    r->found = edited.found > 0;
    if (r->hash.at == NULL && !r->found) {
        config_error_add(&c->error, "%s: there is no user '%s'", c->file, r->user);
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
        printf("%s: user '%s' %s\n", r->command.file, r->user,
               r->hash.at == NULL ? "is gone"
               : r->found         ? "has a new password"
                                  : "is added");
    }
    return done;
}

/* ---- what is asked for */

static bool set(struct request *r)
{
    char hash[PASSWORD_HASH_TEXT];
    if (!is_there_as_asked(&r->command) || !make_hash(hash, r, &r->command.error)) {
        return false;
    }
    r->hash = bytes_text(hash);
    return edit(r);
}

static bool check(struct file_command *c)
{
    struct password_file *file;
    const enum password_file_err err = password_file_read(&file, c->file, 0, &c->error);
    if (err == PASSWORD_FILE_NO_MEMORY) {
        file_command_tell(c, LOCKED_FILE_NO_MEMORY, 0);
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
    struct request r = {.user = NULL};
    const struct file_flag flags[] = {
        {"--scram", &r.scram, NULL}, {"--delete", &r.delete, NULL}, {"--check", &r.check, NULL}};
    struct file_command *const c = &r.command;
    int status;
    *c = (struct file_command){.name = "passwd",
                               .help = help,
                               .flags = flags,
                               .flag_count = sizeof flags / sizeof flags[0],
                               .bytes_max = PASSWORD_FILE_BYTES_MAX};
    if (file_command_take(c, argc, argv)) {
        judge(&r);
    }
    if (!file_command_begins(c, &status)) {
        return status;
    }
    return file_command_end(c, r.check ? check(c) : r.delete ? edit(&r) : set(&r));
}
