/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passwd_command: `dunlin passwd`: makes, changes and checks password files (docs/passwords.md).
 *
 * Owner: main. The password is in one place of its stack, and wiped as soon as it is hashed; it is
 * never an argument, nor in a message.
 */
#pragma once

#include "proto/nodiscard.h"

/* argv[0] is "passwd". Returns the exit status: 0; 1, it did not come about; 2, the command line
 * is wrong. */
NODISCARD int passwd_command(int argc, char *const *argv);
