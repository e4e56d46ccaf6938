/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend.h"

#include <string.h>

#include "broker/config/config.h"
#include "broker/io/io.h"
#include "broker/io/refusal.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/shard/shard.h"

/* Receive buffers of a shard: enough for streams (64 of 64 KiB were, 16 were not), in pieces small
 * enough that a thousand devices sending at once find one each. */
#define RECEIVE_BUFFERS      256u
#define RECEIVE_BUFFER_BYTES 16384u
#define RING_ENTRIES         4096u

static const struct io_conf io_conf = {.receive_buffers = RECEIVE_BUFFERS,
                                       .receive_buffer_bytes = RECEIVE_BUFFER_BYTES,
                                       .entries = RING_ENTRIES};

static enum io_err create_uring(struct io **out, const struct io_handlers *handlers, void *context,
                                int *sys_errno)
{
    return io_uring_create(out, &io_conf, handlers, context, sys_errno);
}

static enum io_err create_epoll(struct io **out, const struct io_handlers *handlers, void *context,
                                int *sys_errno)
{
    return io_epoll_create(out, &io_conf, handlers, context, sys_errno);
}

/* By the system, and for good. What else may fail, may fail with epoll as well. */
static bool is_refused(enum io_err err)
{
    return err == IO_FORBIDDEN || err == IO_TOO_OLD;
}

static bool fail(enum io_err err, int sys_errno)
{
    log_event(LOG_ERROR, "start_failed", LOG_TEXT("reason", io_err_text(err)),
              LOG_ERRNO("error", sys_errno));
    return false;
}

static bool on_epoll(struct node **out, struct node_conf *conf)
{
    int sys_errno = 0;
    conf->create_io = create_epoll;
    const enum io_err err = node_create(out, conf, &sys_errno);
    return err == IO_OK || fail(err, sys_errno);
}

bool backend_node_create(struct node **out, struct node_conf *conf)
{
    const enum config_io wanted = conf->config->process.io;
    int sys_errno = 0;
    if (wanted == CONFIG_IO_EPOLL) {
        return on_epoll(out, conf);
    }
    conf->create_io = create_uring;
    const enum io_err err = node_create(out, conf, &sys_errno);
    if (err == IO_OK) {
        return true;
    }
    if (!is_refused(err)) {
        return fail(err, sys_errno);
    }
    const char *const remedy = refusal_remedy(err, sys_errno, refusal_look());
    if (wanted == CONFIG_IO_URING) {
        log_event(LOG_ERROR, "start_failed",
                  LOG_TEXT("reason", "process.io asks for io_uring, which is refused"),
                  LOG_ERRNO("error", sys_errno), LOG_TEXT("remedy", remedy));
        return false;
    }
    log_event(LOG_WARNING, "io_uring_refused", LOG_ERRNO("error", sys_errno),
              LOG_TEXT("meaning", "the shards wait with epoll instead"),
              LOG_TEXT("remedy", remedy));
    return on_epoll(out, conf);
}

bool backend_is_uring(const struct node *node)
{
    return strcmp(io_backend_name(node->shards[0]->io), "io_uring") == 0;
}
