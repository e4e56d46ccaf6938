/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/topics.h"

#include <stddef.h>
#include <stdio.h>

#include "broker/config/schema.h"
#include "broker/config/settings.h"
#include "proto/topic.h"

static const char *origin(const struct config *c, unsigned entry)
{
    char path[SCHEMA_PATH_BYTES];
    snprintf(path, sizeof path, "topics.%u.filter", entry);
    return settings_origin(c->settings, path);
}

void topics_check(const struct config *c, struct config_error *error)
{
    for (unsigned i = 0; i < c->topics_count; i++) {
        const struct bytes filter = bytes_text(c->topics[i].filter);
        if (!topic_filter_valid(filter) || topic_is_share(filter)) {
            config_error_add(error,
                             "%s: topics.%u.filter: '%.64s' is not a topic filter as in sensors/#",
                             origin(c, i), i, c->topics[i].filter);
        }
    }
    if (c->topics_count > 0 && c->data.durability != CONFIG_DURABILITY_SYNC) {
        config_error_add(error,
                         "%s: topics.0.filter: data.durability (%s) is not sync, so that nothing "
                         "waits for the disk anyway, and no topic can; remove the list, or set "
                         "data.durability to sync",
                         origin(c, 0), settings_origin(c->settings, "data.durability"));
    }
}

const struct config_topic *topics_find(const struct config *c, struct bytes topic)
{
    for (uint32_t i = 0; i < c->topics_count; i++) {
        if (topic_matches(bytes_text(c->topics[i].filter), topic)) {
            return &c->topics[i];
        }
    }
    return NULL;
}
