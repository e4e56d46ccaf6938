/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "cluster/journal/journal.h"

#define SEGMENT 8192u

static char root[] = "/tmp/dunlin-journal-XXXXXX";
static struct files f;
static const struct journal_conf conf = {.owner = {.store_id = "files' own", .shard = 3},
                                         .segment_bytes = SEGMENT,
                                         .gathering_bytes_max = 4096,
                                         .body_bytes_max = 1024,
                                         .segments_ahead = 1};

static void begin(void)
{
    cr_assert_not_null(mkdtemp(root));
    cr_assert_eq(files_open(&f, root, 3, SEGMENT), 0);
}

static void end(void)
{
    files_close(&f);
    files_close(&f);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(files, .init = begin, .fini = end);

static void touch(const char *name)
{
    const int fd = openat(f.dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    close(fd);
}

/* The numbers that are there, as text: "1 2 ". */
static void numbers_are(const char *want)
{
    struct recover_file *list = NULL;
    size_t count = 0;
    cr_assert_eq(files_list(&f, &list, &count), 0);
    char text[128] = "";
    for (size_t i = 0; i < count; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%llu ",
                 (unsigned long long)list[i].number);
    }
    free(list);
    cr_expect_str_eq(text, want);
}

Test(files, lists_those_of_its_shard_in_order)
{
    numbers_are("");
    static const char *const names[] = {"journal-3-000000000010.seg",
                                        "journal-3-000000000009.seg",
                                        "journal-3-12345678901234.seg",
                                        "journal-4-000000000001.seg",
                                        "journal-3-11.seg",
                                        "journal-3-000000000012.seg.old",
                                        "journal-3-000000000000.seg",
                                        "journal-3.new",
                                        "journal-03-000000000013.seg",
                                        "journal-3--00000000014.seg",
                                        "journal-3-99999999999999999999.seg"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        touch(names[i]);
    }
    numbers_are("9 10 12345678901234 ");
}

Test(files, creates_zeros_of_the_right_size)
{
    cr_assert_eq(files_create(&f, 1), 0);
    numbers_are("1 ");
    cr_expect_eq(files_create(&f, 1), EEXIST);
    int fd = -1;
    cr_assert_eq(files_segment_open(&f, 1, &fd), 0);
    static uint8_t bytes[SEGMENT + 1], zeros[SEGMENT];
    memset(bytes, 1, sizeof bytes);
    cr_expect_eq(pread(fd, bytes, sizeof bytes, 0), SEGMENT);
    cr_expect_eq(memcmp(bytes, zeros, SEGMENT), 0);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_expect(st.st_blocks * 512 >= SEGMENT, "allocated");
    cr_expect_eq(st.st_mode & 07777, 0640);
    close(fd);
    cr_expect_neq(faccessat(f.dir, "journal-3.new", F_OK, 0), 0);
}

Test(files, recycles_what_has_the_right_size)
{
    cr_assert_eq(files_create(&f, 1), 0);
    cr_assert_eq(files_create(&f, 2), 0);
    int fd = -1;
    cr_assert_eq(files_segment_open(&f, 1, &fd), 0);
    cr_assert_eq(pwrite(fd, "old", 3, 100), 3);
    close(fd);
    cr_expect_eq(files_recycle(&f, 1, 2), EEXIST);
    cr_expect_eq(files_recycle(&f, 1, 3), 0);
    numbers_are("2 3 ");
    cr_assert_eq(files_segment_open(&f, 3, &fd), 0);
    char old[3];
    cr_expect_eq(pread(fd, old, 3, 100), 3);
    cr_expect_eq(memcmp(old, "old", 3), 0, "its blocks are kept");
    close(fd);
    cr_expect_eq(files_recycle(&f, 1, 4), ENOENT);
    f.segment_bytes++;
    cr_expect_eq(files_recycle(&f, 2, 4), EINVAL);
    numbers_are("2 3 ");
    cr_expect_eq(files_remove(&f, 2), 0);
    cr_expect_eq(files_remove(&f, 2), ENOENT);
    cr_expect_eq(files_segment_open(&f, 2, &fd), ENOENT);
    numbers_are("3 ");
}

Test(files, prepares_of_what_is_not_needed_or_anew)
{
    cr_assert_eq(files_prepare(&f, 1, 1), 0);
    cr_assert_eq(files_prepare(&f, 2, 1), 0);
    numbers_are("1 2 ");
    cr_assert_eq(files_prepare(&f, 3, 2), 0);
    numbers_are("2 3 ");
    cr_assert_eq(files_prepare(&f, 3, 3), 0, "there already");
    numbers_are("2 3 ");
    f.segment_bytes *= 2;
    cr_assert_eq(files_prepare(&f, 3, 3), 0, "of another size; and 2 is too small to become 3");
    numbers_are("3 ");
    struct recover_file *list;
    size_t count;
    cr_assert_eq(files_list(&f, &list, &count), 0);
    cr_expect_eq(list[0].bytes, f.segment_bytes);
    free(list);
    cr_assert_eq(files_prepare(&f, 4, 3), 0);
    numbers_are("3 4 ");
}

Test(files, says_why_it_cannot)
{
    struct files none;
    cr_expect_eq(files_open(&none, "/nowhere/at/all", 0, SEGMENT), ENOENT);
    files_close(&none);

    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit little = {.rlim_cur = SEGMENT / 2, .rlim_max = RLIM_INFINITY};
    const struct rlimit much = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    cr_expect_eq(files_create(&f, 1), EFBIG);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &much), 0);
    numbers_are("");
    cr_expect_neq(faccessat(f.dir, "journal-3.new", F_OK, 0), 0, "nothing of it stays");

    char name[64];
    snprintf(name, sizeof name, "%s/journal-3-000000000001.seg", root);
    cr_assert_eq(mkdir(name, 0700), 0);
    struct recovered r;
    const struct recover_visitor visitor = {0};
    cr_expect_eq(files_recover(&r, &f, &conf.owner, &visitor), RECOVER_IO);
    cr_expect_eq(r.sys_errno, EISDIR);
    cr_expect_eq(r.bad_segment, 1);
    recovered_fini(&r);
}

static bool on_entry(void *context, const struct record *r)
{
    char *const text = context;
    strncat(text, (const char *)r->body.at, r->body.len);
    return true;
}

static void append(struct journal *j, uint64_t index, const char *text)
{
    const struct bytes body = bytes_text(text);
    uint64_t lsn;
    cr_assert_eq(journal_append(j, 0, index, &body, 1, &lsn), JOURNAL_OK);
}

static void write_all(struct journal *j)
{
    struct journal_step step;
    while (journal_next(j, &step) == JOURNAL_WRITE) {
        int fd = -1;
        cr_assert_eq(files_segment_open(&f, step.number, &fd), 0);
        cr_assert_eq(pwrite(fd, step.bytes, step.len, (off_t)step.offset), (ssize_t)step.len);
        cr_assert_eq(fdatasync(fd), 0);
        close(fd);
        journal_done(j, 0);
    }
}

static void give(struct journal *j)
{
    const uint64_t wanted = journal_segment_wanted(j);
    cr_assert_eq(files_prepare(&f, wanted, journal_oldest_needed(j)), 0);
    cr_assert_eq(journal_give_segment(j, wanted), JOURNAL_OK);
}

/* From nothing, over a clean end and a torn one. */
Test(files, what_was_written_is_recovered)
{
    char text[64] = "";
    const struct recover_visitor visitor = {.entry = on_entry, .context = text};
    struct recovered r;
    cr_assert_eq(files_recover(&r, &f, &conf.owner, &visitor), RECOVER_OK);
    cr_expect_eq(r.next_lsn, 1);
    struct journal *j = journal_create(&conf, &r);
    recovered_fini(&r);
    give(j);
    append(j, 1, "one ");
    append(j, 2, "two ");
    write_all(j);
    journal_destroy(j);

    cr_assert_eq(files_recover(&r, &f, &conf.owner, &visitor), RECOVER_OK);
    cr_expect_str_eq(text, "one two ");
    cr_expect(!r.torn);
    cr_expect_eq(r.segment, 2);
    j = journal_create(&conf, &r);
    recovered_fini(&r);
    give(j);
    append(j, 3, "three ");
    write_all(j);
    give(j);
    append(j, 4, "four ");
    struct journal_step step;
    cr_assert_eq(journal_next(j, &step), JOURNAL_WRITE);
    int fd = -1;
    cr_assert_eq(files_segment_open(&f, step.number, &fd), 0);
    cr_assert_eq(pwrite(fd, step.bytes, step.len - 8, (off_t)step.offset), (ssize_t)step.len - 8);
    close(fd);
    journal_done(j, EIO);
    journal_destroy(j);

    text[0] = '\0';
    cr_assert_eq(files_recover(&r, &f, &conf.owner, &visitor), RECOVER_OK);
    cr_expect_str_eq(text, "one two three ");
    cr_expect(r.torn);
    cr_expect_eq(r.bad_segment, 2);
    cr_expect_eq(r.bad_offset, step.offset);
    cr_expect_eq(r.bad_bytes, step.len);
    cr_expect_eq(r.segment, 4, "3 was spare");
    numbers_are("1 2 4 ");
    j = journal_create(&conf, &r);
    recovered_fini(&r);
    give(j); /* which is there already */
    numbers_are("1 2 4 ");
    append(j, 4, "4 ");
    write_all(j);
    journal_destroy(j);

    text[0] = '\0';
    cr_assert_eq(files_recover(&r, &f, &conf.owner, &visitor), RECOVER_OK);
    cr_expect_str_eq(text, "one two three 4 ");
    cr_expect(!r.torn);
    recovered_fini(&r);
}

/* A segment whose first batch is torn has a new number, under which it counts for nothing. */
static bool on_formatted_entry(void *context, const struct record *r)
{
    char *const text = context;
    snprintf(text + strlen(text), 64 - strlen(text), "%u:%.*s", r->entries_format, (int)r->body.len,
             (const char *)r->body.at);
    return true;
}

/* A segment's entries have the format of whoever wrote it; a copy keeps it. */
Test(files, entries_say_their_format)
{
    char text[64] = "", copy[64];
    const struct recover_visitor visitor = {.entry = on_formatted_entry, .context = text};
    struct recovered r;
    struct copied copied;
    struct files there;
    struct journal_conf c = conf;
    for (uint32_t format = 0; format < 3; format++) {
        c.owner.entries_format = format;
        cr_assert_eq(files_recover(&r, &f, &c.owner, &visitor), RECOVER_OK);
        struct journal *const j = journal_create(&c, &r);
        recovered_fini(&r);
        give(j);
        append(j, format + 1, format == 0 ? "old " : "new ");
        write_all(j);
        journal_destroy(j);
    }
    text[0] = '\0';
    snprintf(copy, sizeof copy, "%s/copy", root);
    cr_assert_eq(mkdir(copy, 0700), 0);
    cr_assert_eq(files_open(&there, copy, 3, SEGMENT), 0);
    cr_assert_eq(files_copy(&copied, &f, &there, &c.owner), RECOVER_OK);
    cr_expect_eq(copied.segments, 3);
    cr_expect_eq(files_copy(&copied, &f, &there, &c.owner), RECOVER_IO, "they are there");
    cr_expect_eq(copied.sys_errno, EEXIST);
    cr_assert_eq(files_recover(&r, &there, &c.owner, &visitor), RECOVER_OK);
    cr_expect_str_eq(text, "1:old 1:new 2:new ");
    recovered_fini(&r);
    files_close(&there);
    c.owner.entries_format = 1;
    cr_expect_eq(files_recover(&r, &f, &c.owner, &visitor), RECOVER_WRONG_FORMAT);
    recovered_fini(&r);
}

Test(files, a_segment_that_never_began_is_spare)
{
    char text[64] = "";
    const struct recover_visitor visitor = {.entry = on_entry, .context = text};
    struct journal *j = journal_create(&conf, NULL);
    give(j);
    append(j, 1, "one ");
    struct journal_step step;
    cr_assert_eq(journal_next(j, &step), JOURNAL_WRITE);
    int fd = -1;
    cr_assert_eq(files_segment_open(&f, 1, &fd), 0);
    cr_assert_eq(pwrite(fd, step.bytes + 64, step.len - 64, 64), (ssize_t)step.len - 64);
    close(fd);
    journal_done(j, EIO);
    journal_destroy(j);
    struct recovered r;
    cr_assert_eq(files_recover(&r, &f, &conf.owner, &visitor), RECOVER_OK);
    cr_expect_str_eq(text, "");
    cr_expect(r.torn);
    cr_expect_eq(r.segment, 2);
    recovered_fini(&r);
    numbers_are("2 ");
    cr_assert_eq(files_recover(&r, &f, &conf.owner, &visitor), RECOVER_OK);
    cr_expect(!r.torn);
    recovered_fini(&r);
    numbers_are("3 ");
    f.segment_bytes++;
    cr_assert_eq(files_recover(&r, &f, &conf.owner, &visitor), RECOVER_OK);
    recovered_fini(&r);
    numbers_are("");
}
