/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/recorder/recorder.h"
#include "broker/shard/shard.h"

#define PATIENCE_MS   1000u
#define LOOK_AGAIN_MS 1u
#define PATH_BYTES    4352u

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* ---- the rings */

static void sleep_ms(unsigned ms)
{
    const struct timespec wait = {.tv_nsec = (long)ms * 1000000};
    (void)nanosleep(&wait, NULL);
}

/* Offers each an empty ring. false: no memory; nothing is offered then. */
static bool offer(struct node *node)
{
    struct note_ring *fresh[INDEX_SHARDS_MAX] = {NULL};
    bool ok = true;
    for (unsigned i = 0; ok && i < node->shard_count; i++) {
        const size_t bytes = node->shards[i]->recorder.bytes;
        fresh[i] = bytes == 0 ? NULL : note_ring_create(bytes);
        ok = bytes == 0 || fresh[i] != NULL;
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (!ok) {
            note_ring_destroy(fresh[i]);
        } else if (fresh[i] != NULL) {
            recorder_offer(&node->shards[i]->recorder, fresh[i]);
        }
    }
    return ok;
}

/* The former rings, as they come: owned[i] is set for those that are ours now. */
static void collect(struct node *node, struct story *story, bool owned[STORY_SHARDS_MAX])
{
    node_wake_shards(node);
    for (unsigned waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms += LOOK_AGAIN_MS) {
        bool all = true;
        for (unsigned i = 0; i < node->shard_count; i++) {
            struct note_ring *const ring =
                owned[i] ? NULL : recorder_take(&node->shards[i]->recorder);
            if (ring != NULL) {
                story->rings[i] = ring;
                owned[i] = true;
            }
            all = all && (owned[i] || node->shards[i]->recorder.bytes == 0);
        }
        if (all) {
            return;
        }
        sleep_ms(LOOK_AGAIN_MS);
    }
}

/* Of those that did not come: what was offered goes, unless they took it in this moment. */
static void read_in_place(struct node *node, struct story *story, bool owned[STORY_SHARDS_MAX])
{
    for (unsigned i = 0; i < node->shard_count; i++) {
        struct recorder *const r = &node->shards[i]->recorder;
        if (owned[i] || node->shards[i]->recorder.bytes == 0) {
            continue;
        }
        struct note_ring *const offered = recorder_withdraw(r);
        if (offered == NULL) { /* it is at it, between two instructions */
            struct note_ring *given;
            while ((given = recorder_take(r)) == NULL) {
                sleep_ms(LOOK_AGAIN_MS);
            }
            story->rings[i] = given;
            owned[i] = true;
        } else {
            note_ring_destroy(offered);
            story->rings[i] = r->ring;
        }
    }
}

bool dump_tell(struct node *node, story_sink *sink, void *context)
{
    bool owned[STORY_SHARDS_MAX] = {false};
    bool ok = false;
    struct story story;
    story_of(&story, node);
    pthread_mutex_lock(&one_at_a_time);
    if (offer(node)) {
        collect(node, &story, owned);
        read_in_place(node, &story, owned);
        ok = story_tell(&story, sink, context);
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (owned[i]) {
            note_ring_destroy((struct note_ring *)(uintptr_t)story.rings[i]);
        }
    }
    pthread_mutex_unlock(&one_at_a_time);
    return ok;
}

/* ---- a file */

static bool to_file(void *context, const void *bytes, size_t len)
{
    return fwrite(bytes, 1, len, context) == len;
}

/* The oldest go; their names begin with the time. */
static void tidy(const char *dir)
{
    char pattern[PATH_BYTES];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/recorder-*.pcapng", dir);
    if (glob(pattern, 0, NULL, &found) != 0) {
        return;
    }
    for (size_t i = 0; i + DUMP_FILES_MAX < found.gl_pathc; i++) {
        (void)unlink(found.gl_pathv[i]);
    }
    globfree(&found);
}

/* 0, or errno. */
static int write_file(struct node *node, const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *const f = fd < 0 ? NULL : fdopen(fd, "w");
    if (f == NULL) {
        const int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return error;
    }
    errno = 0;
    const bool told = dump_tell(node, to_file, f);
    const int error = told ? 0 : errno != 0 ? errno : ENOMEM;
    const int at_close = fclose(f) == 0 ? 0 : errno;
    return error != 0 ? error : at_close;
}

void dump_to_file(struct node *node, const char *dir, const char *why)
{
    char path[PATH_BYTES];
    char when[32];
    struct tm utc;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(when, sizeof when, "%Y%m%dT%H%M%S", gmtime_r(&now.tv_sec, &utc));
    snprintf(path, sizeof path, "%s/recorder-%s.%03ldZ-%s.pcapng", dir, when, now.tv_nsec / 1000000,
             why);
    const int error = write_file(node, path);
    if (error != 0) {
        (void)unlink(path);
        log_event(LOG_ERROR, "recorder_failed", LOG_TEXT("file", path), LOG_ERRNO("error", error));
        return;
    }
    log_event(LOG_INFO, "recorder_written", LOG_TEXT("file", path), LOG_TEXT("why", why));
    tidy(dir);
}
