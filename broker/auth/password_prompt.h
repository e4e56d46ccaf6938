/* SPDX-License-Identifier: Apache-2.0 */
/*
 * password_prompt: a password from whoever sits at the terminal, twice and without an echo; or,
 * where there is none, from a pipe or a file: its first line.
 *
 * Owner: the caller, who calls password_input_wipe() as soon as the password is not needed.
 * A signal that ends the process does so after the echo is on again.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/nodiscard.h"

#define PASSWORD_INPUT_BYTES_MAX 1024u

struct password_input {
    size_t len;
    uint8_t bytes[PASSWORD_INPUT_BYTES_MAX];
};

enum password_input_err {
    PASSWORD_INPUT_OK = 0,
    PASSWORD_INPUT_NONE, /* the end of the input, and nothing before it */
    PASSWORD_INPUT_EMPTY,
    PASSWORD_INPUT_TOO_LONG,
    PASSWORD_INPUT_DIFFERS, /* the second time */
    PASSWORD_INPUT_FAILED,  /* see errno */
};

const char *password_input_err_text(enum password_input_err err);

/* fd: STDIN_FILENO. The questions go to `out`. */
NODISCARD enum password_input_err password_prompt(struct password_input *p, int fd, FILE *out,
                                                  const char *user);
void password_input_wipe(struct password_input *p);
