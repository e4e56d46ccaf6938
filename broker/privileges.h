/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privileges: what the process gives up that a broker has no use for, so that whoever takes it over
 * has not got it either (docs/hardening.md).
 *
 * Owner: the main thread. Nothing of it can be had back.
 */
#pragma once

#include <stdbool.h>

#include "proto/nodiscard.h"

struct config_process;

/* Before any thread is started: no program that it may execute gives it more (no_new_privs), and no
 * file and no debugger of the same user gets to see its memory, unless core_dumps says so. */
void privileges_begin(const struct config_process *config);

/* When sockets are bound: becomes process.user, if it is root. false: that cannot be; told. */
NODISCARD bool privileges_drop(const struct config_process *config);

/* When all files are open that only a start opens: calls that no broker makes are refused from now
 * on, for all threads (seccomp). With io_uring in use, what its rings are asked by stays, but there
 * will be no new ring; without it, nothing of it. false: it cannot be; told. */
NODISCARD bool privileges_confine(const struct config_process *config, bool uses_io_uring);
