/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_op: how far a write of a file has come, whichever backend makes it. Internal to broker/io.
 *
 * Owner: whoever makes the write.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "broker/io/io.h"

/* Past `bytes` that are written, and past what is empty; n is 0 when nothing is left. */
void file_op_advance(struct io_file_op *op, size_t bytes);

/* After an attempt at what is left: res is the bytes written, or what a sync answered, or an errno
 * below 0. True: there is to be another one. False: it is over, and *error says how. */
bool file_op_goes_on(struct io_file_op *op, ssize_t res, int *error);
