/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int directory_sync(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    const int err = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return err;
}
