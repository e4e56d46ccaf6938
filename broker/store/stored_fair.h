/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored_fair: whether what another node says of a session may become a part of one here. What is
 * on a disk of ours was checked when a client said it; what comes from a peer is not taken on
 * trust, as sessions are made of it that assert it: names, filters, and properties.
 *
 * Pure. Any bytes are fair input.
 */
#pragma once

#include <stdbool.h>

#include "proto/bytes.h"

bool stored_fair_message(struct bytes stored); /* stored_message.h */
bool stored_fair_filter(struct bytes filter);  /* shared ones, too */
bool stored_fair_client_id(struct bytes client_id);
