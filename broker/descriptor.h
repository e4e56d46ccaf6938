/* SPDX-License-Identifier: Apache-2.0 */
/* descriptor: what is done with descriptors in many places. */
#pragma once

#include <errno.h>
#include <unistd.h>

/* Closes it; errno says what it said before. Returns -1, as whoever could not go on with it does.
 */
static inline int descriptor_drop(int fd)
{
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
}
