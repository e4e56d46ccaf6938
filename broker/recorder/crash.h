/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash: when the process is about to end by a signal of its own fault (a failed assertion, a bad
 * address), what was recorded is written to a file first. Then the signal does what it would have.
 *
 * Owner: the main thread, once, before the shards run. The rings are read as they stand, by the
 * thread that crashed, while others may still write: a note may be torn.
 */
#pragma once

struct node;

/* Into dir/recorder-crash-PID.pcapng. Nothing, where a sanitizer wants those signals. */
void crash_prepare(struct node *node, const char *dir);

/* The node is about to go. */
void crash_forget(void);
