/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored_same: are two entries or records the same in all that they say? Of each type only what it
 * has is looked at; runs are compared by their bytes. For tests and fuzzers.
 */
#pragma once

#include <stdbool.h>

#include "broker/store/entry.h"
#include "broker/store/session_record.h"

bool stored_same_message(const struct stored_message *a, const struct stored_message *b);
bool stored_same_entry(const struct entry *a, const struct entry *b);
bool stored_same_session(const struct session_record *a, const struct session_record *b);
bool stored_same_delivery(const struct stored_delivery *a, const struct stored_delivery *b);
