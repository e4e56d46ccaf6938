/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/patience.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "broker/config/listen_url.h"

#define STEP_MS 25u

bool patience_waits(struct patience *p)
{
    static const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    if (errno != EADDRINUSE || p->waited_ms >= PATIENCE_MS) {
        return false;
    }
    (void)nanosleep(&step, NULL); /* a signal may shorten it */
    p->waited_ms += STEP_MS;
    return true;
}

bool patience_bind(int fd, const struct listen_url *where)
{
    struct patience p = {0};
    while (bind(fd, (const struct sockaddr *)&where->address, where->address_len) != 0) {
        if (!patience_waits(&p)) {
            return false;
        }
    }
    return true;
}
