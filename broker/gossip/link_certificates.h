/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_certificates: the files of cluster.tls, kept as they are on disk: read at the start, again
 * when they have changed and then stopped changing, and at SIGHUP. What is not good is told, and
 * leaves the former in force. Once a day it is told that the certificate ends soon.
 *
 * Owner: the main thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/file_stamp.h"
#include "proto/nodiscard.h"

struct tls_context;

struct link_certificates {
    struct config_listener files; /* as a listener's that requires certificates; our own copies */
    struct file_watch watch;
    struct tls_context *context; /* in force; NULL: cluster.tls is off */
    uint64_t warn_ms;            /* when it is told next that it ends */
};

/* false: the files are not good, or there is no memory; told. */
NODISCARD bool link_certificates_open(struct link_certificates *c,
                                      const struct config_cluster *config, uint64_t now_ms);
void link_certificates_close(struct link_certificates *c); /* fine with zeros */

static inline bool link_certificates_are_needed(const struct link_certificates *c)
{
    return c->context != NULL;
}

enum link_certificates_news {
    LINK_CERTIFICATES_SAME,
    LINK_CERTIFICATES_NEW,     /* c->context is another one */
    LINK_CERTIFICATES_DISTRUST /* and trusts others than the former */
};

/* all: whether they have changed or not. */
enum link_certificates_news link_certificates_refresh(struct link_certificates *c, bool all,
                                                      uint64_t now_ms);
