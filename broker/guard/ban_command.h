/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ban_command: `dunlin ban`, which adds bans to a ban list, takes them out, and shows them.
 *
 * Nothing of it runs in a broker. Exit status: 0, 1 if it did not come about, 2 for a wrong command
 * line; what was wrong is on stderr.
 */
#pragma once

/* argv[0] is "ban". */
int ban_command(int argc, char *const *argv);
