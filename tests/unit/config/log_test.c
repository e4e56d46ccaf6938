/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000u

static _Atomic uint64_t now_ns = 1795478399u * (uint64_t)SECOND_NS;

static uint64_t test_now_ns(void)
{
    return atomic_load(&now_ns);
}

static char *content(int fd)
{
    const off_t len = lseek(fd, 0, SEEK_END);
    char *const text = calloc(1, (size_t)len + 1);
    cr_assert_eq(pread(fd, text, (size_t)len, 0), len);
    return text;
}

static int start(enum log_level level)
{
    const int fd = memfd_create("log", MFD_CLOEXEC);
    const struct log_conf conf = {.fd = fd, .level = level, .now_ns = test_now_ns};
    cr_assert(log_start(&conf));
    return fd;
}

/* Waits for what the log thread does; the test's time limit ends it. */
static void wait_written(uint64_t lines)
{
    struct log_counts counts;
    do {
        poll(NULL, 0, 1);
        log_counts(&counts);
    } while (counts.written + counts.dropped < lines);
}

#define STAMP "ts=2026-11-23T23:59:59.000000Z "

Test(log, lines_through_the_thread)
{
    const int fd = start(LOG_DEBUG);
    const char *const nothing = NULL;
    const size_t size = 7;
    log_event(LOG_ERROR, "one", LOG_TEXT("a", "b"));
    log_event(LOG_DEBUG, "two");
    log_event(LOG_INFO, "three", LOG_NUMBER("n", size), LOG_NUMBER("m", -1), LOG_BOOL("t", true),
              LOG_TEXT("nil", nothing), LOG_BYTES("x", bytes_of("\0", 1)),
              LOG_ERRNO("error", ECONNREFUSED), LOG_ERRNO("odd", 99999));
    log_stop();
    char *const text = content(fd);
    cr_expect_str_eq(text, STAMP "level=error msg=one a=b\n" STAMP "level=debug msg=two\n" STAMP
                                 "level=info msg=three n=7 m=-1 t=true nil=\"\" x=\"\\u0000\" "
                                 "error=\"Connection refused\" odd=\"unknown error\"\n");
    free(text);
    close(fd);
}

static unsigned evaluated;

static int evaluate(void)
{
    evaluated++;
    return 1;
}

Test(log, what_is_off_is_not_evaluated)
{
    const int fd = start(LOG_WARNING);
    log_event(LOG_INFO, "off", LOG_NUMBER("n", evaluate()));
    cr_expect_eq(evaluated, 0);
    log_event(LOG_WARNING, "on", LOG_NUMBER("n", evaluate()));
    cr_expect_eq(evaluated, 1, "and once is once");
    log_set_level(LOG_INFO);
    log_event(LOG_INFO, "on", LOG_NUMBER("n", evaluate()));
    cr_expect_eq(evaluated, 2);
    log_set_level(LOG_ERROR);
    log_event(LOG_WARNING, "off", LOG_NUMBER("n", evaluate()));
    cr_expect_eq(evaluated, 2);
    log_stop();
    cr_expect(log_is_on(LOG_INFO));
    cr_expect_not(log_is_on(LOG_DEBUG));
    close(fd);
}

static void here(void)
{
    log_event(LOG_INFO, "here", LOG_NUMBER("n", evaluate()));
}

Test(log, burst_per_place_and_second)
{
    const int fd = start(LOG_INFO);
    for (unsigned i = 0; i < LOG_BURST + 5; i++) {
        here();
    }
    cr_expect_eq(evaluated, LOG_BURST);
    log_event(LOG_INFO, "elsewhere");
    now_ns += SECOND_NS - 1;
    here();
    now_ns += 1;
    here();
    here();
    now_ns -= 100ull * SECOND_NS; /* the clock is set back */
    here();

    struct log_counts counts;
    log_counts(&counts);
    cr_expect_eq(counts.suppressed, 6);
    log_stop();
    char *const text = content(fd);
    cr_expect_not_null(strstr(text, "msg=elsewhere\n"));
    cr_expect_not_null(strstr(text, "ts=2026-11-24T00:00:00.000000Z level=info msg=here n=1 "
                                    "suppressed=6\n"
                                    "ts=2026-11-24T00:00:00.000000Z level=info msg=here n=1\n"
                                    "ts=2026-11-23T23:58:20.000000Z level=info msg=here n=1\n"));
    free(text);
    log_counts(&counts);
    cr_expect_eq(counts.suppressed, 0, "log_stop() resets");
    close(fd);
}

Test(log, format_can_change)
{
    const int fd = start(LOG_INFO);
    log_event(LOG_INFO, "a");
    wait_written(1);
    log_set_format(LOG_JSON);
    log_event(LOG_INFO, "b");
    log_stop();
    char *const text = content(fd);
    cr_expect_str_eq(text, STAMP "level=info msg=a\n{\"ts\":\"2026-11-23T23:59:59.000000Z\","
                                 "\"level\":\"info\",\"msg\":\"b\"}\n");
    free(text);
    close(fd);
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) {
        count++;
    }
    return count;
}

static unsigned sum_of(const char *text, const char *before)
{
    unsigned sum = 0;
    for (const char *at = text; (at = strstr(at, before)) != NULL; at++) {
        sum += (unsigned)strtoul(at + strlen(before), NULL, 10);
    }
    return sum;
}

/* A pipe that nobody reads: the thread waits, callers do not, and what found no room is told. */
Test(log, descriptor_that_takes_nothing_for_a_while, .timeout = 20)
{
    int pipes[2];
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    cr_assert_geq(fcntl(pipes[1], F_SETPIPE_SZ, 4096), 4096);
    const struct log_conf conf = {
        .fd = pipes[1], .level = LOG_INFO, .ring_records = 16, .now_ns = test_now_ns};
    cr_assert(log_start(&conf));
    for (unsigned i = 0; i < 2000; i++) {
        now_ns += SECOND_NS;
        log_event(LOG_INFO, "fill", LOG_NUMBER("i", i));
    }
    struct log_counts counts;
    log_counts(&counts);
    cr_expect_gt(counts.dropped, 0);

    /* Once it is read again, everything that was taken comes, and how much was not; in one line or,
     * if it filled up again meanwhile, in several. */
    char *const text = calloc(1, 1 << 20);
    size_t len = 0;
    unsigned lines = 0, dropped = 0;
    while (lines + dropped < 2000) {
        const ssize_t n = read(pipes[0], text + len, (1 << 20) - 1 - len);
        cr_assert_gt(n, 0);
        len += (size_t)n;
        lines = count_of(text, "msg=fill");
        dropped = sum_of(text, "msg=log_dropped n=");
    }
    cr_expect_eq(lines + dropped, 2000, "%u + %u", lines, dropped);
    free(text);
    log_stop();
    close(pipes[0]);
    close(pipes[1]);
}

/* The end of the process does not hang on it. */
Test(log, descriptor_that_takes_nothing_at_the_end, .timeout = 20)
{
    int pipes[2];
    cr_assert_eq(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
    char fill[4096] = "";
    while (write(pipes[1], fill, sizeof fill) > 0) {
    }
    const struct log_conf conf = {.fd = pipes[1], .level = LOG_INFO};
    cr_assert(log_start(&conf));
    log_event(LOG_INFO, "never_seen");
    log_stop();
    close(pipes[0]);
    close(pipes[1]);
}

/* Nobody reads, and never will: no signal, and the lines are counted. */
Test(log, broken_descriptor)
{
    int pipes[2];
    struct log_counts counts;
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    close(pipes[0]);
    const struct log_conf conf = {.fd = pipes[1], .level = LOG_INFO};
    cr_assert(log_start(&conf));
    log_event(LOG_INFO, "lost");
    wait_written(1);
    log_counts(&counts);
    cr_expect_eq(counts.written, 0);
    cr_expect_eq(counts.dropped, 1);
    log_stop();
    close(pipes[1]);
}

/* Before the start and after the end, and under the level and format of then. */
Test(log, without_the_thread)
{
    const int fd = memfd_create("stderr", 0);
    const int saved = dup(STDERR_FILENO);
    cr_assert_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    log_event(LOG_INFO, "before");
    log_event(LOG_DEBUG, "off");
    const int other = start(LOG_DEBUG);
    log_set_format(LOG_JSON);
    log_stop();
    log_event(LOG_WARNING, "after", LOG_TEXT("a", "b c"));
    log_event(LOG_DEBUG, "off");
    cr_assert_eq(dup2(saved, STDERR_FILENO), STDERR_FILENO);

    char *const text = content(fd);
    cr_expect_not_null(strstr(text, " level=info msg=before\n"));
    cr_expect_not_null(strstr(text, " level=warning msg=after a=\"b c\"\n"));
    cr_expect_null(strstr(text, "off"));
    free(text);
    close(fd);
    close(other);
}

/* The thread falls asleep after a second without work, and the next line wakes it. */
Test(log, wakes_after_sleep, .timeout = 20)
{
    const int fd = start(LOG_INFO);
    for (uint64_t i = 1; i <= 2; i++) {
        log_event(LOG_INFO, "line");
        wait_written(i);
        poll(NULL, 0, 1300);
    }
    log_stop();
    close(fd);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The promise is a microsecond; sanitizers and a busy machine get leave. */
Test(log, cheap_when_off_or_suppressed)
{
    const int fd = memfd_create("log", MFD_CLOEXEC);
    const struct log_conf conf = {.fd = fd, .level = LOG_INFO};
    cr_assert(log_start(&conf));
    const double began = seconds();
    for (unsigned i = 0; i < 100000; i++) {
        log_event(LOG_DEBUG, "off", LOG_NUMBER("i", i));
    }
    const double off = seconds();
    for (unsigned i = 0; i < 100000; i++) {
        log_event(LOG_INFO, "suppressed", LOG_NUMBER("i", i));
    }
    const double suppressed = seconds();
    cr_expect_lt((off - began) / 100000, 5e-6);
    cr_expect_lt((suppressed - off) / 100000, 5e-6);
    log_stop();
    close(fd);
}
