/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/key_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/admin/key_file.h"
#include "broker/auth/file_command.h"

enum verb { VERB_NONE, VERB_ADD, VERB_REMOVE, VERB_LIST };

struct request {
    struct file_command command;
    const char *role; /* NULL: not given */
    enum verb verb;
    enum key_role as;
    const char *name;
    const char *line; /* of the new key; "": the key goes */
    bool found;       /* there was one of that name */
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

static enum verb verb_of(const struct file_command *c)
{
    const char *const word = c->word_count > 0 ? c->words[0] : "";
    return strcmp(word, "add") == 0      ? VERB_ADD
           : strcmp(word, "remove") == 0 ? VERB_REMOVE
           : strcmp(word, "list") == 0   ? VERB_LIST
                                         : VERB_NONE;
}

static void judge(struct request *r)
{
    struct file_command *const c = &r->command;
    r->verb = verb_of(c);
    const unsigned words = r->verb == VERB_LIST ? 2 : 3;
    c->makes = r->verb == VERB_ADD;
    c->file = c->words[1];
    r->name = c->words[2];
    if (r->verb == VERB_NONE) {
        config_error_add(&c->error, "what is to be done: add, remove, or list? dunlin admin-key "
                                    "--help tells more");
    } else if (c->word_count != words) {
        config_error_add(&c->error, "behind %s belongs %s; dunlin admin-key --help tells more",
                         c->words[0], r->verb == VERB_LIST ? "one FILE" : "FILE NAME");
    } else if (r->verb != VERB_ADD && (c->create || r->role != NULL)) {
        config_error_add(&c->error, "flags are for add; leave them out");
    } else if (r->verb != VERB_LIST && !key_name_is_fine(bytes_text(r->name))) {
        config_error_add(&c->error, "a name has letters, digits and ._-, and at most 64 of them");
    } else if (r->verb == VERB_ADD &&
               (r->role == NULL || !key_role_parse(bytes_text(r->role), &r->as))) {
        config_error_add(&c->error,
                         "--role read-only or --role admin: what may the key be used for?");
    }
}

/* ---- the file */

/* Would a broker take it? */
static bool is_good(struct file_command *c, const char *text)
{
    struct key_file *keys;
    const enum key_file_err err = key_file_parse(&keys, c->file, bytes_text(text), &c->error);
    if (err == KEY_FILE_NO_MEMORY) {
        file_command_tell(c, LOCKED_FILE_NO_MEMORY, 0);
    }
    if (err == KEY_FILE_OK) {
        free(keys);
    }
    return err == KEY_FILE_OK;
}

/* file_command_edit_fn. */
static char *edit(struct file_command *c, void *context, struct bytes text, size_t *len)
{
    struct request *const r = context;
    if (memchr(text.at, '\0', text.len) != NULL) {
        config_error_add(&c->error, "%s: there is a NUL in it", c->file);
        return NULL;
    }
    char *const edited = key_file_edit(text, r->name, r->line, &r->found);
    if (edited == NULL) {
        file_command_tell(c, LOCKED_FILE_NO_MEMORY, 0);
        return NULL;
    }
    bool fine = false;
    if (r->verb == VERB_REMOVE && !r->found) {
        config_error_add(&c->error, "%s: there is no key '%s'", c->file, r->name);
    } else {
        fine = is_good(c, edited);
    }
    if (!fine) {
        free(edited);
        return NULL;
    }
    *len = strlen(edited);
    return edited;
}

static bool add(struct request *r)
{
    char text[KEY_TEXT_BYTES], line[KEY_LINE_BYTES];
    struct file_command *const c = &r->command;
    if (!key_make(r->name, r->as, text, line)) {
        config_error_add(&c->error, "no random bytes are to be had: %s", strerror(errno));
        return false;
    }
    r->line = line;
    const bool done = file_command_edit(c, edit, r);
    if (done) {
        puts(text);
        fprintf(stderr, "%s: key '%s' (%s) %s; it is shown this once\n", c->file, r->name,
                key_role_name(r->as), r->found ? "is another one now" : "is added");
    }
    explicit_bzero(text, sizeof text);
    return done;
}

static bool take_away(struct request *r)
{
    r->line = "";
    const bool done = file_command_edit(&r->command, edit, r);
    if (done) {
        printf("%s: key '%s' is void\n", r->command.file, r->name);
    }
    return done;
}

static bool list(struct request *r)
{
    struct key_file *keys;
    struct file_command *const c = &r->command;
    const enum key_file_err err = key_file_read(&keys, c->file, &c->error);
    if (err == KEY_FILE_NO_MEMORY) {
        file_command_tell(c, LOCKED_FILE_NO_MEMORY, 0);
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
    const struct file_flag flags[] = {{"--role", NULL, &r.role}};
    struct file_command *const c = &r.command;
    int status;
    *c = (struct file_command){.name = "admin-key",
                               .help = help,
                               .flags = flags,
                               .flag_count = sizeof flags / sizeof flags[0],
                               .bytes_max = KEY_FILE_BYTES_MAX};
    if (file_command_take(c, argc, argv)) {
        judge(&r);
    }
    if (!file_command_begins(c, &status)) {
        return status;
    }
    return file_command_end(c, r.verb == VERB_ADD      ? add(&r)
                               : r.verb == VERB_REMOVE ? take_away(&r)
                                                       : list(&r));
}
