/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of segments, by what its slots say: with a disk that is full or fails when it is told
 * to. A plain program, for ThreadSanitizer too.
 */
#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/store/keeper.h"
#include "cluster/journal/files.h"

#define SHARDS       2u
#define SEGMENT      8192u
#define SEGMENTS_MAX 4u
#define PATIENCE_S   20

static char dir[] = "/tmp/dunlin-keeper-XXXXXX";
static struct keeper *keeper;
static struct keeper_slot *slots[SHARDS];
static sem_t woken[SHARDS];

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "failed: %s\n", what);
        abort();
    }
}

/* ---- the disk; openat() is openat64() where files may be large */

static atomic_int write_fails, sync_fails, open_fails; /* an errno; 0: it works */

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_openat64(int at, const char *name, int flags, mode_t mode);
int __wrap_openat64(int at, const char *name, int flags, mode_t mode);
int __real___openat64_2(int at, const char *name, int flags); /* what it is called fortified */
int __wrap___openat64_2(int at, const char *name, int flags);

static bool fails(const atomic_int *how)
{
    errno = atomic_load(how);
    return errno != 0;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    return fails(&write_fails) ? -1 : __real_write(fd, data, len);
}

int __wrap_fsync(int fd)
{
    return fails(&sync_fails) ? -1 : __real_fsync(fd);
}

static bool may_open(const char *name)
{
    return strstr(name, ".seg") == NULL || !fails(&open_fails);
}

int __wrap_openat64(int at, const char *name, int flags, mode_t mode)
{
    return may_open(name) ? __real_openat64(at, name, flags, mode) : -1;
}

int __wrap___openat64_2(int at, const char *name, int flags)
{
    return may_open(name) ? __real___openat64_2(at, name, flags) : -1;
}

/* ---- what there is */

/* The numbers of a shard's segments, as text: "1 2 ". */
static void segments_are(unsigned shard, const char *want)
{
    struct files f;
    struct recover_file *list = NULL;
    size_t count = 0;
    char text[128] = "";
    check(files_open(&f, dir, shard, SEGMENT) == 0 && files_list(&f, &list, &count) == 0, "lists");
    for (size_t i = 0; i < count; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%llu ",
                 (unsigned long long)list[i].number);
        check(list[i].bytes == SEGMENT, "a segment has its size from its first moment");
    }
    free(list);
    files_close(&f);
    if (strcmp(text, want) != 0) {
        fprintf(stderr, "shard %u has segments %s, not %s\n", shard, text, want);
        abort();
    }
}

/* Descriptors of this process that are files of the directory. */
static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *const all = opendir("/proc/self/fd");
    check(all != NULL, "/proc/self/fd is there");
    for (const struct dirent *e; (e = readdir(all)) != NULL;) {
        char path[300], target[512];
        snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        const ssize_t len = readlink(path, target, sizeof target - 1);
        target[len > 0 ? len : 0] = '\0';
        count += strncmp(target, dir, strlen(dir)) == 0 && strstr(target, ".seg") != NULL;
    }
    closedir(all);
    return count;
}

static ino_t inode_of(int descriptor)
{
    struct stat st;
    check(fstat(descriptor, &st) == 0, "the descriptor is open");
    return st.st_ino;
}

/* ---- the shards */

static void wake(void *context, unsigned shard)
{
    check(context == &keeper && shard < SHARDS, "wake() gets what was given");
    sem_post(&woken[shard]);
}

static void want(unsigned shard, uint64_t wanted, uint64_t needed)
{
    atomic_store_explicit(&slots[shard]->needed, needed, memory_order_release);
    atomic_store_explicit(&slots[shard]->wanted, wanted, memory_order_release);
    keeper_look(keeper);
}

/* As a shard waits: it is woken whenever its slot says something new. */
static void wait_for(unsigned shard, uint64_t ready, int error, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    while (atomic_load_explicit(&slots[shard]->ready, memory_order_acquire) != ready ||
           atomic_load_explicit(&slots[shard]->error, memory_order_acquire) != error) {
        check(sem_timedwait(&woken[shard], &until) == 0 || errno == EINTR, what);
    }
}

/* For what wakes nobody. */
static void wait_until_gone(unsigned shard, uint64_t segments)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    for (unsigned i = 0; slots[shard]->segments != segments; i++) {
        check(i < PATIENCE_S * 1000, "what is not needed goes");
        nanosleep(&pause, NULL);
    }
}

static void begin(void)
{
    const struct keeper_conf conf = {.dir = dir,
                                     .shards = SHARDS,
                                     .segment_bytes = SEGMENT,
                                     .segments_max = SEGMENTS_MAX,
                                     .wake = wake,
                                     .context = &keeper};
    check(mkdtemp(dir) != NULL, "a directory");
    check(keeper_create(&keeper, &conf) == 0, "keeper_create()");
    for (unsigned i = 0; i < SHARDS; i++) {
        slots[i] = keeper_slot_of(keeper, i);
        sem_init(&woken[i], 0, 0);
    }
    check(keeper_start(keeper) == 0, "keeper_start()");
}

static void end(void)
{
    keeper_stop(keeper);
    keeper_stop(keeper); /* fine when it does not run */
    keeper_destroy(keeper);
    check(open_files() == 0, "nothing stays open");
    for (unsigned i = 0; i < SHARDS; i++) {
        sem_destroy(&woken[i]);
    }
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    check(system(command) == 0, "rm");
    snprintf(dir, sizeof dir, "/tmp/dunlin-keeper-XXXXXX");
}

/* ---- the claims */

static void each_shard_gets_what_it_wants(void)
{
    begin();
    want(0, 1, 0);
    wait_for(0, 1, 0, "the first segment");
    const int first = slots[0]->descriptor;
    check(pwrite(first, "mine", 4, 0) == 4, "it can be written");
    check(slots[0]->segments == 1 && slots[1]->segments == 0, "they are counted for each shard");
    check(slots[1]->ready == 0, "who wants nothing gets nothing");
    want(1, 7, 7);
    want(0, 2, 1);
    wait_for(1, 7, 0, "the other shard's");
    wait_for(0, 2, 0, "the second");
    check(inode_of(first) != inode_of(slots[0]->descriptor), "another file");
    check(open_files() == 3, "all that are needed stay open");
    segments_are(0, "1 2 ");
    segments_are(1, "7 ");
    end();
}

/* What is not needed is used again, the rest goes, and the descriptors with it. */
static void what_is_not_needed_goes(void)
{
    begin();
    ino_t inodes[4] = {0};
    for (uint64_t i = 1; i <= 3; i++) {
        want(0, i, 1);
        wait_for(0, i, 0, "one after the other");
        inodes[i] = inode_of(slots[0]->descriptor);
    }
    want(0, 4, 3);
    wait_for(0, 4, 0, "the fourth");
    wait_until_gone(0, 2);
    check(inode_of(slots[0]->descriptor) == inodes[1], "it is an old one's file");
    check(open_files() == 2, "those of 3 and 4");
    segments_are(0, "3 4 ");
    want(0, 4, 4); /* nothing new is wanted */
    wait_until_gone(0, 1);
    check(open_files() == 1, "that of 4");
    segments_are(0, "4 ");
    end();
}

/* At the bound it is as if the disk were full, until one is not needed any more. */
static void a_shard_has_no_more_than_its_bound(void)
{
    begin();
    for (uint64_t i = 1; i <= SEGMENTS_MAX; i++) {
        want(0, i, 1);
        wait_for(0, i, 0, "up to the bound");
    }
    want(0, SEGMENTS_MAX + 1, 1);
    wait_for(0, SEGMENTS_MAX, ENOSPC, "at the bound");
    want(1, 1, 0);
    wait_for(1, 1, 0, "the bound is each shard's");
    segments_are(0, "1 2 3 4 ");
    want(0, SEGMENTS_MAX + 1, 2);
    wait_for(0, SEGMENTS_MAX + 1, 0, "there is room again");
    segments_are(0, "2 3 4 5 ");
    end();
}

/* It is tried again without being told to, and the shard hears of both. */
static void a_disk_that_is_full_is_tried_again(void)
{
    begin();
    atomic_store(&write_fails, ENOSPC);
    want(0, 1, 0);
    wait_for(0, 0, ENOSPC, "the slot says why");
    segments_are(0, "");
    check(open_files() == 0, "nothing is left open");
    atomic_store(&write_fails, 0);
    wait_for(0, 1, 0, "it is made when there is room");
    end();
}

static void a_disk_that_fails_is_tried_again(void)
{
    begin();
    atomic_store(&sync_fails, EIO);
    want(0, 1, 0);
    want(1, 1, 0);
    wait_for(0, 0, EIO, "what is not on disk is not handed over");
    wait_for(1, 0, EIO, "to nobody");
    atomic_store(&sync_fails, EDQUOT);
    wait_for(0, 0, EDQUOT, "the reason is that of the last try");
    atomic_store(&sync_fails, 0);
    wait_for(0, 1, 0, "it is made when the disk works");
    wait_for(1, 1, 0, "for all");
    segments_are(0, "1 ");
    end();
}

static void a_segment_that_could_not_be_opened_is_opened_later(void)
{
    begin();
    atomic_store(&open_fails, EMFILE);
    want(0, 1, 0);
    wait_for(0, 0, EMFILE, "the slot says why");
    atomic_store(&open_fails, 0);
    wait_for(0, 1, 0, "the same one");
    segments_are(0, "1 ");
    end();
}

/* With something wanted that cannot be made, and as often as it likes. */
static void it_stops_while_something_is_wanted(void)
{
    begin();
    atomic_store(&write_fails, ENOSPC);
    want(0, 1, 0);
    wait_for(0, 0, ENOSPC, "the slot says why");
    want(1, 1, 0);
    end();
    atomic_store(&write_fails, 0);
}

static void one_that_never_ran_can_be_destroyed(void)
{
    const struct keeper_conf conf = {
        .dir = "/nowhere", .shards = 1, .segment_bytes = SEGMENT, .segments_max = SEGMENTS_MAX};
    struct keeper *none = NULL;
    check(keeper_create(&none, &conf) == ENOENT && none == NULL, "there is no such directory");
    keeper_stop(none);
    keeper_destroy(none);
}

/* Both shards want and give back without waiting for the other. */
static void many_in_a_row(void)
{
    begin();
    for (uint64_t i = 1; i <= 200; i++) {
        for (unsigned shard = 0; shard < SHARDS; shard++) {
            want(shard, i, i < 3 ? 1 : i - 2);
        }
        for (unsigned shard = 0; shard < SHARDS; shard++) {
            wait_for(shard, i, 0, "one after the other");
        }
    }
    wait_until_gone(0, 3);
    wait_until_gone(1, 3);
    segments_are(0, "198 199 200 ");
    segments_are(1, "198 199 200 ");
    check(open_files() == 6, "three for each");
    end();
}

int main(void)
{
    each_shard_gets_what_it_wants();
    what_is_not_needed_goes();
    a_shard_has_no_more_than_its_bound();
    a_disk_that_is_full_is_tried_again();
    a_disk_that_fails_is_tried_again();
    a_segment_that_could_not_be_opened_is_opened_later();
    it_stops_while_something_is_wanted();
    one_that_never_ran_can_be_destroyed();
    many_in_a_row();
    return 0;
}
