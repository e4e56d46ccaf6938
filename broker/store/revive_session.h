/* SPDX-License-Identifier: Apache-2.0 */
/*
 * revive_session: one session put together from what is on disk: the steps that a start
 * (store/revival.h) and a partition that is to be led here (broker/partitions) have in common.
 *
 * Owner: the session's shard, or who is it for the moment.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/route/local.h"
#include "broker/store/session_record.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct session;

/* What its record says, but for its end and its will. It is new, and kept. false: no memory. */
NODISCARD bool revive_session_fill(struct session *session, const struct session_record *record);

/* Instead of the will that it has. false: no memory. */
NODISCARD bool revive_session_will(struct session *session, const struct stored_will *stored);

/* A filter's record; any bytes are fair input. */
NODISCARD bool revive_filter_read(struct bytes value, struct bytes *filter,
                                  struct subscribe_options *options);
struct subscribe_options revive_options(const struct stored_options *stored);

/* Who was connected may have been sent so many of what is in its queue. */
uint32_t revive_perhaps_sent_max(const struct session *session);

/* All that it may have been sent is in session->out; before anything else comes there. sent_end: as
 * its record says, if it was not connected. */
void revive_queue_restored(struct session *session, bool connected, uint64_t sent_end);

/* It is in its groups again: deliveries of lower numbers than `end` have those instead of the
 * hashes of their names. */
void revive_name_groups(struct session *session, uint64_t end);
