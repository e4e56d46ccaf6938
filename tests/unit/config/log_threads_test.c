/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads log at once, the ring overflows and the thread sleeps now and then: each line is
 * whole, each thread's lines are in order, and written and dropped make what was logged. For TSan.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/log/log.h"

#define THREADS 4
#define LINES   20000u

static _Atomic uint64_t clock_ns = 1000000000u;

/* Each look is a second later, so that nothing is suppressed. */
static uint64_t next_second_ns(void)
{
    return atomic_fetch_add(&clock_ns, 1000000000u);
}

static void *producer(void *argument)
{
    const unsigned thread = *(const unsigned *)argument;
    for (unsigned i = 0; i < LINES; i++) {
        log_event(LOG_INFO, "line", LOG_NUMBER("thread", thread), LOG_NUMBER("i", i),
                  LOG_TEXT("end", "x"));
        if (i % 64 == 0) {
            log_set_level(i % 128 == 0 ? LOG_INFO : LOG_DEBUG);
            usleep(100); /* lets the ring run empty, too */
        }
    }
    return NULL;
}

static unsigned failures;

static void expect(int truth, const char *what)
{
    if (!truth) {
        fprintf(stderr, "not so: %s\n", what);
        failures++;
    }
}

static unsigned check_lines(char *text)
{
    unsigned lines = 0;
    long last[THREADS];
    memset(last, -1, sizeof last);
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
        unsigned thread, i, at = 0;
        const char *const message = strstr(line, " msg=line ");
        if (message == NULL) {
            expect(strstr(line, " msg=log_dropped n=") != NULL, line);
            continue;
        }
        expect(sscanf(message, " msg=line thread=%u i=%u end=x%n", &thread, &i, &at) == 2, line);
        expect(message[at] == '\0' && thread < THREADS, line);
        expect((long)i > last[thread], "a thread's lines are in order");
        last[thread] = i;
        lines++;
    }
    return lines;
}

int main(void)
{
    const int fd = memfd_create("log", MFD_CLOEXEC);
    const struct log_conf conf = {
        .fd = fd, .level = LOG_INFO, .ring_records = 128, .now_ns = next_second_ns};
    if (!log_start(&conf)) {
        return 1;
    }
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, producer, &numbers[i]) != 0) {
            return 1;
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct log_counts counts;
    log_counts(&counts);
    log_stop();

    const off_t len = lseek(fd, 0, SEEK_END);
    char *const text = calloc(1, (size_t)len + 1);
    expect(text != NULL && pread(fd, text, (size_t)len, 0) == len, "the log can be read");
    const unsigned lines = check_lines(text);
    expect(lines + counts.dropped == THREADS * LINES, "written and dropped are all");
    expect(counts.suppressed == 0, "nothing was suppressed");
    free(text);
    close(fd);
    printf("%u lines, %lu dropped\n", lines, (unsigned long)counts.dropped);
    return failures == 0 ? 0 : 1;
}
