/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For ThreadSanitizer: two shards that hand entries of several partitions to the applier, and take
 * its news; and what is on disk then.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/partitions/applier.h"
#include "broker/store/entry.h"
#include "broker/store/partition_hash.h"
#include "broker/store/records_overlay.h"
#include "broker/store/serial.h"
#include "broker/store/session_record.h"
#include "broker/store/stored_message.h"

#define SHARDS     2u
#define PARTITIONS 6u
#define ENTRIES    1500u
#define BAD        5u /* a partition that fails, at: */
#define BAD_INDEX  700u

static struct checkpoint *cp;
static struct applier_thread *applier;
static uint8_t homes[SERIAL_PARTITIONS];
static struct partition_place places[SERIAL_PARTITIONS];
static atomic_uint wakes;
static atomic_uint flushed, failed;
static char dir[] = "/tmp/dunlin-applier-XXXXXX";

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "failed: %s\n", what);
        abort();
    }
}

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void wake(void *context, unsigned shard)
{
    (void)context;
    check(shard < SHARDS, "a shard that is there");
    atomic_fetch_add(&wakes, 1);
}

static void say(struct field_writer *w, unsigned p, uint64_t index)
{
    static const char text[] = "topicbody";
    uint8_t message[STORED_MESSAGE_HEAD + sizeof text];
    const struct stored_message m = {.topic = bytes_of(text, 5), .qos = 1};
    const uint64_t serial = serial_make(p, 1, 1);
    stored_message_head(&m, message);
    memcpy(message + STORED_MESSAGE_HEAD, text, sizeof text - 1);
    field_writer_begin(w);
    if (index == 1) {
        entry_write(w, &(struct entry){.type = ENTRY_OPENED,
                                       .serial = serial,
                                       .opened = {.client_id = bytes_text("client")}});
        return;
    }
    entry_write(w, &(struct entry){.type = ENTRY_QUEUED,
                                   .queued = {.message = bytes_of(message, STORED_MESSAGE_HEAD +
                                                                               sizeof text - 1)}});
    entry_write_recipient(w, serial, &(struct stored_delivery){.number = index, .qos = 1});
}

static void take_news(unsigned shard, uint64_t *written)
{
    for (struct applier_news *n = applier_take(applier, shard); n != NULL;) {
        struct applier_news *const next = n->next;
        switch ((enum applier_news_kind)n->kind) {
        case APPLIER_WRITTEN:
            check(n->index >= written[n->partition], "what is on disk stays there");
            written[n->partition] = n->index;
            break;
        case APPLIER_FLUSHED:
            check(n->partition == BAD || written[n->partition] >= n->index, "all of it is on disk");
            atomic_fetch_add(&flushed, 1);
            break;
        case APPLIER_FAILED:
            check(n->partition == BAD && n->index == BAD_INDEX, "the one that has failed");
            atomic_fetch_add(&failed, 1);
            break;
        default:
            check(false, "no copy was asked for");
        }
        free(n);
        n = next;
    }
}

static void *run_shard(void *context)
{
    const unsigned shard = *(const unsigned *)context;
    struct field_writer w = {.at = NULL};
    uint64_t written[SERIAL_PARTITIONS] = {0};
    for (uint64_t index = 1; index <= ENTRIES; index++) {
        for (unsigned p = shard; p < PARTITIONS; p += SHARDS) {
            say(&w, p, index);
            applier_entry(applier, p, index,
                          p == BAD && index == BAD_INDEX ? bytes_text("none") : field_written(&w));
            if (index % 500 == 0) {
                applier_flush(applier, p, index);
            }
        }
        take_news(shard, written);
    }
    while (atomic_load(&flushed) < PARTITIONS * 3) {
        const struct timespec pause = {.tv_nsec = 1000000};
        take_news(shard, written);
        nanosleep(&pause, NULL);
    }
    field_writer_fini(&w);
    return NULL;
}

static void check_records(void)
{
    struct records_overlay o;
    struct partition_hash hash;
    records_overlay_init(&o, cp);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct record_key key = place_key(p);
        struct partition_place place = {.index = 0};
        struct bytes value;
        check(partition_hash(&o.records, p, &hash) == CHECKPOINT_OK, "records");
        check(records_get(&o.records, &key, &value) == CHECKPOINT_OK && value.at != NULL &&
                  place_read(value, &place),
              "a place");
        if (p == BAD) {
            check(place.index < BAD_INDEX, "nothing behind what cannot be applied");
            check(hash.deliveries == (place.index == 0 ? 0 : place.index - 1), "all before it");
            continue;
        }
        check(place.index == ENTRIES && hash.deliveries == ENTRIES - 1, "all entries");
    }
    records_overlay_fini(&o);
}

int main(void)
{
    static const unsigned numbers[SHARDS] = {0, 1};
    pthread_t threads[SHARDS];
    const struct checkpoint_conf conf = {
        .map_bytes_max = 1u << 30, .reference = delivery_record_reference, .referring = 'q'};
    int sys_errno = 0;
    check(mkdtemp(dir) != NULL, "a directory");
    check(checkpoint_open(&cp, dir, &conf, &sys_errno) == CHECKPOINT_OK, "a checkpoint");
    for (unsigned p = 0; p < SERIAL_PARTITIONS; p++) {
        homes[p] = (uint8_t)(p % SHARDS);
    }
    const struct applier_conf applier_conf = {.checkpoint = cp,
                                              .clock_ms = clock_ms,
                                              .shards = SHARDS,
                                              .homes = homes,
                                              .places = places,
                                              .wake = wake};
    applier = applier_create(&applier_conf);
    check(applier != NULL, "an applier");
    for (unsigned p = 0; p < PARTITIONS; p++) {
        applier_begin(applier, p, 0, &(struct partition_place){.incarnation = 1}, true);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        check(pthread_create(&threads[i], NULL, run_shard, (void *)&numbers[i]) == 0, "a thread");
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_join(threads[i], NULL);
    }
    applier_end(applier);
    check(atomic_load(&failed) == 1 && atomic_load(&wakes) > 0, "it is told");
    check_records();
    applier_destroy(applier);
    checkpoint_close(cp);
    return 0;
}
