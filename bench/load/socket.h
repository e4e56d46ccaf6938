/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket: a TCP socket on its way to the broker; from several addresses of 127.0.0.0/8 in turn
 * where one has too few ports.
 */
#pragma once

#include <stdint.h>

#include "bench/load/url.h"

/*
 * A non-blocking socket that is connecting, with TCP_NODELAY; -1 and errno if there is none.
 * source: the how-manieth of the addresses 127.0.1.1, 127.0.1.2 … to come from; 0: whichever the
 * kernel takes. Other than 0 only where the broker is on 127.0.0.0/8.
 */
int socket_connect(const struct url *url, uint32_t source);
