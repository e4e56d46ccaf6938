/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/wake_fd.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

/* It blocks, or fails, only when the counter is full: with one that is read (io_uring) a wake-up is
 * under way then; the others are full after five hundred years of one a nanosecond. */
void wake_fd_write(int fd)
{
    const int saved_errno = errno; /* this may be a signal handler */
    const uint64_t one = 1;
    const ssize_t ignored = write(fd, &one, sizeof one);
    (void)ignored;
    errno = saved_errno;
}
