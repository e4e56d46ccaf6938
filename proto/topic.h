/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic: topic names, topic filters, shared subscriptions (4.7, 4.8.2): form and matching.
 *
 * Memory: none. All functions take any bytes, and cost at most their length. UTF-8 was checked by
 * the decoder; here only the characters that mean something are looked at.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/bytes.h"

/* At least one character, no '+', '#', U+0000; at most 65535 bytes [MQTT-4.7.1-1, 4.7.3-1..3]. */
bool topic_name_valid(struct bytes name);

/* A plain filter, $share not interpreted: '#' only last and a whole level, '+' a whole level. */
bool topic_filter_valid(struct bytes filter);

/* "$share/NAME/FILTER" (4.8.2). false when it does not begin with "$share/", or is ill-formed;
 * on true both parts are set and well-formed. */
bool topic_share_parse(struct bytes filter, struct bytes *share_name, struct bytes *topic_filter);

bool topic_is_share(struct bytes filter); /* begins with "$share/", or is "$share" */

/* Does the (plain, valid) filter match the (valid) name? [MQTT-4.7.2-1] included. */
bool topic_matches(struct bytes filter, struct bytes name);

size_t topic_levels(struct bytes topic);      /* 1 + number of '/' */
bool topic_has_wildcard(struct bytes filter); /* '+' or '#' as a level of a valid filter */

/* Takes the next level off *rest; *more: is there another? Every topic has at least one level, so:
 * bool more = true; while (more) { level = topic_level_next(&rest, &more); … } */
struct bytes topic_level_next(struct bytes *rest, bool *more);
