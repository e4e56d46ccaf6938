/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/keeper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cluster/journal/files.h"

#define SEGMENT      4096u
#define SEGMENTS_MAX 8u

static char root[] = "/tmp/dunlin-keeper-XXXXXX";
static struct keeper *keeper;
static struct keeper_slot *slot;
static struct files files;
static _Atomic unsigned given_up;

static void wake(void *context, unsigned shard)
{
    (void)context, (void)shard;
}

static void on_lost(void *context)
{
    ++*(_Atomic unsigned *)context;
}

static void begin(void)
{
    cr_assert_not_null(mkdtemp(root));
    const struct keeper_conf conf = {.dir = root,
                                     .shards = 1,
                                     .segment_bytes = SEGMENT,
                                     .segments_max = SEGMENTS_MAX,
                                     .wake = wake};
    cr_assert_eq(keeper_create(&keeper, &conf), 0);
    cr_assert_eq(keeper_start(keeper), 0);
    cr_assert_eq(files_open(&files, root, 0, SEGMENT), 0);
    slot = keeper_slot_of(keeper, 0);
}

static void end(void)
{
    char command[64];
    keeper_stop(keeper);
    keeper_destroy(keeper);
    files_close(&files);
    snprintf(command, sizeof command, "rm -rf %s", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(keeper, .init = begin, .fini = end);

static void numbers(char text[128])
{
    struct recover_file *list = NULL;
    size_t count = 0, len = 0;
    int err;
    while ((err = files_list(&files, &list, &count)) == ENOENT) { /* one has just gone */
    }
    cr_assert_eq(err, 0);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        len += (size_t)snprintf(text + len, 128 - len, "%llu ", (unsigned long long)list[i].number);
    }
    free(list);
}

/* Waits until there are those segments. */
static void there_are(const char *want)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    char text[128];
    for (unsigned i = 0; i < 10000; i++) {
        numbers(text);
        if (strcmp(text, want) == 0) {
            return;
        }
        nanosleep(&pause, NULL);
    }
    cr_assert_str_eq(text, want);
}

static void want(uint64_t number, uint64_t needed)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    atomic_store(&slot->needed, needed);
    atomic_store(&slot->wanted, number);
    keeper_look(keeper);
    while (atomic_load(&slot->ready) != number) {
        nanosleep(&pause, NULL);
    }
}

Test(keeper, uses_old_ones_again_and_removes_others)
{
    want(1, 1);
    want(2, 1);
    want(3, 1);
    there_are("1 2 3 ");
    want(4, 3);
    there_are("3 4 ");
}

Test(keeper, what_is_held_stays)
{
    want(1, 1);
    want(2, 1);
    keeper_hold(keeper, on_lost, &given_up);
    want(3, 2);
    want(4, 3);
    there_are("1 2 3 4 ");
    cr_expect(keeper_release(keeper));
    there_are("3 4 ");
    cr_expect_eq(given_up, 0);
    keeper_hold(keeper, on_lost, &given_up);
    cr_expect(keeper_release(keeper));
}

Test(keeper, a_hold_is_given_up_where_there_are_too_many)
{
    want(1, 1);
    keeper_hold(keeper, on_lost, &given_up);
    for (uint64_t number = 2; number <= SEGMENTS_MAX; number++) {
        want(number, number - 1);
    }
    there_are("1 2 3 4 5 6 7 8 ");
    cr_expect_eq(given_up, 0);
    want(9, 8);
    there_are("8 9 ");
    cr_expect_eq(given_up, 1);
    cr_expect_not(keeper_release(keeper));
}
