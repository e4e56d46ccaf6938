/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send_now: what a socket takes at once, by a system call. Internal to broker/io.
 *
 * Owner: whoever may send on the descriptor.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

/* Of iov[0..n): how many bytes were taken, or an errno below 0 (-EAGAIN: none now). It does not
 * wait, whatever the descriptor's own mode, and raises no SIGPIPE. */
ssize_t send_now(int fd, const struct iovec *iov, unsigned n);

/* The same, for io_send_at_once(): 0 where it went wrong, which whoever sends next finds out. */
size_t send_now_some(int fd, const struct iovec *iov, unsigned n);
