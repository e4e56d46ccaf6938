/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that is nobody's yet, or never will be anybody's. */
#include <sys/socket.h>
#include <unistd.h>

#include "broker/io/io.h"
#include "broker/peers/peers.h"
#include "broker/transport/tls_pipe.h"
#include "cluster/link/greeting.h"

void peer_wire_close(struct peer_wire w)
{
    tls_pipe_destroy(w.tls);
    if (w.fd >= 0) {
        close(w.fd);
    }
}

/* Some hundred bytes, among the first of it: there is room. */
static void send_encrypted(struct peer_wire w, struct bytes farewell)
{
    struct iovec iov[IO_IOV_MAX];
    size_t taken, bytes;
    if (!tls_pipe_write(w.tls, &farewell, 1, &taken)) {
        return;
    }
    const struct msghdr message = {.msg_iov = iov,
                                   .msg_iovlen = tls_pipe_gather(w.tls, iov, IO_IOV_MAX, &bytes)};
    (void)sendmsg(w.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void peer_wire_refuse(struct peer_wire w, enum node_close why)
{
    uint8_t out[GREETING_FAREWELL_BYTES];
    const size_t len = greeting_farewell(out, why);
    if (w.tls != NULL) {
        send_encrypted(w, bytes_of(out, len));
    } else {
        (void)send(w.fd, out, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    peer_wire_close(w);
}
