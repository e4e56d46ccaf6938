/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/config/config_error.h"
#include "broker/route/index.h"
#include "broker/store/checkpoint_check.h"
#include "broker/store/format.h"
#include "cluster/journal/files.h"

static bool check_file(const struct manifest_file *want, const char *dir,
                       struct config_error *error)
{
    char path[PATH_MAX];
    struct manifest_file found = {0};
    snprintf(path, sizeof path, "%s/%s", dir, want->path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const int err = fd < 0 ? errno : manifest_sum(fd, &found);
    if (fd >= 0) {
        close(fd);
    }
    if (err != 0) {
        config_error_add(error, "%s: it cannot be read: %s", path, strerror(err));
    } else if (found.bytes != want->bytes || found.sum != want->sum) {
        config_error_add(error, "%s: it is not what was written: take another backup", path);
    }
    return err == 0 && found.bytes == want->bytes && found.sum == want->sum;
}

static bool take_any(void *context, const struct record *entry)
{
    (void)context, (void)entry;
    return true;
}

/* *segments: those that there are. */
static bool check_journal(const struct files *files, const uint8_t *store_id, size_t *segments,
                          struct config_error *error)
{
    struct recover_file *list = NULL;
    size_t count = 0;
    struct recovered recovered = {0};
    const struct segment_owner owner = format_owner(store_id, files->shard);
    const struct recover_visitor visitor = {.entry = take_any};
    enum recover_err err = RECOVER_IO;
    const int number = files_list(files, &list, &count);
    if (number == 0) {
        const struct recover_source source = files_source(files, list, count);
        err = recover_journal(&recovered, &owner, &source, &visitor);
    }
    if (err != RECOVER_OK) {
        config_error_add(error, "shard %u, segment %llu, offset %llu: %s", files->shard,
                         (unsigned long long)recovered.bad_segment,
                         (unsigned long long)recovered.bad_offset, recover_err_text(err));
    }
    *segments += count;
    recovered_fini(&recovered);
    free(list);
    return err == RECOVER_OK;
}

static size_t segments_of(const struct manifest *m)
{
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++) {
        count += strncmp(m->files[i].path, "journal/", 8) == 0;
    }
    return count;
}

static bool check_journals(const struct manifest *m, const char *dir, const uint8_t *store_id,
                           struct config_error *error)
{
    char path[PATH_MAX];
    struct files files;
    size_t segments = 0;
    snprintf(path, sizeof path, "%s/journal", dir);
    const int number = files_open(&files, path, 0, 0);
    if (number != 0) {
        config_error_add(error, "%s: it cannot be opened: %s", path, strerror(number));
        return false;
    }
    bool done = true;
    for (uint32_t shard = 0; done && shard < STORE_JOURNALS_MAX; shard++) {
        files.shard = shard;
        done = check_journal(&files, store_id, &segments, error);
    }
    files_close(&files);
    if (done && segments != segments_of(m)) {
        config_error_add(error, "%s: there are other segments than were written", path);
        done = false;
    }
    return done;
}

bool check_backup(const struct manifest *m, const char *dir, struct config_error *error)
{
    struct checkpoint_facts facts;
    int number = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (!check_file(&m->files[i], dir, error)) {
            return false;
        }
    }
    const enum checkpoint_err err = checkpoint_check(&facts, dir, &number);
    if (err != CHECKPOINT_OK) {
        config_error_add(error, "%s: %s", dir, checkpoint_err_text(err));
        return false;
    }
    return check_journals(m, dir, facts.id, error);
}
