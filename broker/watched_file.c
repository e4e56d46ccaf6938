/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/watched_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/log.h"

bool watched_file_open(struct watched_file *f, const char *name)
{
    *f = (struct watched_file){.name = strdup(name)};
    if (f->name == NULL) {
        log_event(LOG_ERROR, "out_of_memory", LOG_TEXT("of", name));
        return false;
    }
    f->watch.loaded = f->watch.seen = file_stamp_add(0, f->name);
    return true;
}

void watched_file_close(struct watched_file *f)
{
    free(f->name);
    *f = (struct watched_file){.name = NULL};
}

bool watched_file_is_due(struct watched_file *f, bool all)
{
    if (!watched_file_is_there(f)) {
        return false;
    }
    const uint64_t stamp = file_stamp_add(0, f->name);
    if (!file_watch_has_changed(&f->watch, stamp) && !all) {
        return false;
    }
    f->watch.loaded = stamp;
    return true;
}
