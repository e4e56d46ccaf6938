/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_command: `dunlin admin-key`, which makes the keys of the API and changes the file that has
 * what is made of them (admin.keys_file).
 *
 * Owner: main(), before there is a broker. It prints a key once, to the standard output.
 */
#pragma once

/* argv[0] is "admin-key"; the status to exit with: 0, 1: it did not come about, 2: the command line
 * is wrong. */
int key_command(int argc, char *const *argv);
