/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topics: what holds for messages of some topics only, the list `topics`.
 *
 * Cost: a PUBLISH is compared with each filter, at most CONFIG_TOPICS_MAX; with none, where the
 * list is empty.
 */
#pragma once

#include <stdbool.h>

#include "broker/config/config.h"
#include "proto/bytes.h"

struct config_error;

/* Are the filters filters, and does data.durability leave anything to say? */
void topics_check(const struct config *c, struct config_error *error);

/* The first entry whose filter matches, or NULL. */
const struct config_topic *topics_find(const struct config *c, struct bytes topic);

/* Is a message of that topic acknowledged before it is on disk? */
static inline bool topics_hurry(const struct config *c, struct bytes topic)
{
    if (c->topics_count == 0) {
        return false;
    }
    const struct config_topic *const t = topics_find(c, topic);
    return t != NULL && t->durability == CONFIG_DURABILITY_INTERVAL;
}
