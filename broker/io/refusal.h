/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refusal: who it is that refuses io_uring to this process, and what there is to be changed.
 *
 * Owner: none. Nothing is changed, and nothing is asked of io_uring itself.
 */
#pragma once

#include <stdbool.h>

#include "broker/io/io.h"

/* What the system shows of its reasons. */
struct refusal_signs {
    int disabled;  /* the sysctl kernel.io_uring_disabled, 0 to 2; -1: there is none */
    bool filtered; /* a seccomp filter is in force for this process */
};

struct refusal_signs refusal_look(void);

/* Of an io_uring_create() that answered `err`, not IO_OK, with that errno: what to change, for the
 * operator. A static text. */
const char *refusal_remedy(enum io_err err, int sys_errno, struct refusal_signs signs);
