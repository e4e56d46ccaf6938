/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/file_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/resemblance.h"

#define USAGE_STATUS 2

/* ---- the command line */

static const struct file_flag *find(const struct file_command *c, const char *name)
{
    for (size_t i = 0; i < c->flag_count; i++) {
        if (strcmp(c->flags[i].name, name) == 0) {
            return &c->flags[i];
        }
    }
    return NULL;
}

static void try_name(const char *argument, const char *name, const char **best, unsigned *distance)
{
    const unsigned d = resemblance(argument, strlen(argument), name, strlen(name));
    if (d < *distance) {
        *distance = d;
        *best = name;
    }
}

static void tell_unknown(struct file_command *c, const char *argument)
{
    const char *best = NULL;
    unsigned distance = RESEMBLANCE_NONE;
    try_name(argument, "--help", &best, &distance);
    try_name(argument, "--create", &best, &distance);
    for (size_t i = 0; i < c->flag_count; i++) {
        try_name(argument, c->flags[i].name, &best, &distance);
    }
    if (best != NULL) {
        config_error_add(&c->error, "%.64s: there is no such flag; did you mean %s?", argument,
                         best);
    } else {
        config_error_add(&c->error,
                         "there is no such flag as one that is given; dunlin %s --help lists all",
                         c->name);
    }
}

/* How many arguments it took. */
static int take_flag(struct file_command *c, int argc, char *const *argv, int i)
{
    const struct file_flag *const flag = find(c, argv[i]);
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
        c->help_wanted = true;
    } else if (strcmp(argv[i], "--create") == 0) {
        c->create = true;
    } else if (flag == NULL) {
        tell_unknown(c, argv[i]);
    } else if (flag->given != NULL) {
        *flag->given = true;
    } else if (i + 1 == argc) {
        config_error_add(&c->error, "%s: its value is missing; dunlin %s --help tells more",
                         flag->name, c->name);
    } else {
        *flag->value = argv[i + 1];
        return 2;
    }
    return 1;
}

bool file_command_take(struct file_command *c, int argc, char *const *argv)
{
    bool flags = true; /* until -- */
    for (int i = 1; i < argc;) {
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
            i++;
        } else if (flags && argv[i][0] == '-') {
            i += take_flag(c, argc, argv, i);
        } else {
            if (c->word_count < FILE_COMMAND_WORDS_MAX) {
                c->words[c->word_count] = argv[i];
            }
            c->word_count++;
            i++;
        }
    }
    return c->error.count == 0 && !c->help_wanted;
}

bool file_command_begins(const struct file_command *c, int *status)
{
    if (c->error.count > 0) {
        fputs(c->error.text, stderr);
        *status = USAGE_STATUS;
        return false;
    }
    if (c->help_wanted) {
        fputs(c->help, stdout);
        *status = EXIT_SUCCESS;
        return false;
    }
    return true;
}

int file_command_end(const struct file_command *c, bool done)
{
    fputs(c->error.text, stderr);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- the file */

void file_command_tell(struct file_command *c, enum locked_file_err err, int sys_errno)
{
    const char *const remedy = err == LOCKED_FILE_ABSENT && c->makes ? "; --create makes it"
                               : err == LOCKED_FILE_EXISTS ? "; leave out --create to change it"
                                                           : "";
    config_error_add(&c->error, "%s: %s%s%s%s", c->file, locked_file_err_text(err), remedy,
                     sys_errno != 0 ? ": " : "", sys_errno != 0 ? strerror(sys_errno) : "");
}

static bool replace(struct file_command *c, struct locked_file *f, struct bytes text)
{
    int sys_errno = 0;
    const enum locked_file_err err =
        text.len > c->bytes_max ? LOCKED_FILE_TOO_LARGE : locked_file_replace(f, text, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        file_command_tell(c, err, sys_errno);
    }
    return err == LOCKED_FILE_OK;
}

static bool edit_locked(struct file_command *c, struct locked_file *f, file_command_edit_fn *edit,
                        void *context)
{
    char *text;
    size_t len, edited_len;
    int sys_errno;
    const enum locked_file_err err = locked_file_read(f, c->bytes_max, &text, &len, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        file_command_tell(c, err, sys_errno);
        return false;
    }
    char *const edited = edit(c, context, bytes_of(text, len), &edited_len);
    const bool done = edited != NULL && replace(c, f, bytes_of(edited, edited_len));
    free(text);
    free(edited);
    return done;
}

bool file_command_edit(struct file_command *c, file_command_edit_fn *edit, void *context)
{
    struct locked_file f;
    int sys_errno;
    const enum locked_file_err err =
        locked_file_open(&f, c->file, c->create ? LOCKED_FILE_NEW : LOCKED_FILE_OLD, &sys_errno);
    if (err != LOCKED_FILE_OK) {
        file_command_tell(c, err, sys_errno);
        return false;
    }
    const bool done = edit_locked(c, &f, edit, context);
    locked_file_close(&f);
    return done;
}
