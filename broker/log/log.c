/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: the log thread, and what callers share with it.
 *
 * When the log thread finds the ring empty it looks again every LOG_POLL_MS, so that callers have
 * nobody to wake. After POLLS_BEFORE_SLEEP times in vain it sleeps until the next caller wakes it:
 * an idle broker has no timer running, a busy one pays one system call a second at most.
 *
 *   POLLING ── ring empty for a second ──▶ SLEEPING ── a caller has a record ──▶ POLLING
 *      └──────────────── log_stop() ──▶ STOPPING ◀── log_stop() ──┘
 */
#include "broker/log/log.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "broker/log/log_line.h"
#include "broker/log/log_record.h"
#include "broker/log/log_ring.h"

#define SECOND_NS          1000000000u
#define POLLS_BEFORE_SLEEP (1000 / LOG_POLL_MS)
#define OUTPUT_BYTES       (64u << 10) /* lines gathered for one turn of the log thread */
#define WRITE_BYTES_MAX    4096 /* what a pipe that poll() finds writable takes without blocking */
#define WRITE_POLL_MS      100
#define STOP_PATIENCE_MS   2000

enum thread_state {
    POLLING,
    SLEEPING,
    STOPPING,
};

_Atomic int log_level_on = LOG_INFO;

/* The process has one log. Written by log_start() and log_stop() while nobody else logs, but for
 * the atomics. */
static struct {
    int fd;
    uint64_t (*now_ns)(void);
    struct log_ring *ring; /* NULL: no log thread; callers write themselves */
    pthread_t thread;
    _Atomic int format;         /* enum log_format; relaxed */
    _Atomic unsigned state;     /* enum thread_state; the futex; sequentially consistent */
    _Atomic uint64_t written;   /* the counts are relaxed: no order promised */
    _Atomic uint64_t full;      /* dropped: no room in the ring */
    _Atomic uint64_t unwritten; /* dropped: the descriptor took nothing */
    _Atomic uint64_t suppressed;
} shared = {.fd = STDERR_FILENO};

static uint64_t system_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* ---- the descriptor */

static bool is_hopeless(unsigned waited_ms)
{
    return waited_ms >= STOP_PATIENCE_MS && atomic_load(&shared.state) == STOPPING;
}

/* How much of it to write at once: whole lines, as far as they fit. */
static size_t portion(const char *text, size_t len)
{
    if (len <= WRITE_BYTES_MAX) {
        return len;
    }
    const char *const newline = memrchr(text, '\n', WRITE_BYTES_MAX);
    return newline == NULL ? WRITE_BYTES_MAX : (size_t)(newline - text) + 1;
}

/* Only the log thread waits here. false: the descriptor is broken, or takes nothing at the end. */
static bool write_all(const char *text, size_t len)
{
    unsigned waited_ms = 0;
    while (len > 0) {
        struct pollfd pollfd = {.fd = shared.fd, .events = POLLOUT};
        const int ready = poll(&pollfd, 1, WRITE_POLL_MS);
        const ssize_t n = ready > 0 ? write(shared.fd, text, portion(text, len)) : 0;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
            waited_ms = 0;
            continue;
        }
        if ((ready < 0 || n < 0) && errno != EINTR && errno != EAGAIN) {
            return false;
        }
        waited_ms += WRITE_POLL_MS;
        if (is_hopeless(waited_ms)) {
            return false;
        }
    }
    return true;
}

/* A caller's own line, before the log thread is there: all at once, for good or ill. */
static void write_directly(const struct log_record *r)
{
    char line[LOG_LINE_BYTES_MAX];
    const enum log_format format =
        (enum log_format)atomic_load_explicit(&shared.format, memory_order_relaxed);
    const size_t len = log_line_write(line, r, format);
    const ssize_t n = write(shared.fd, line, len);
    atomic_fetch_add_explicit(n == (ssize_t)len ? &shared.written : &shared.unwritten, 1,
                              memory_order_relaxed);
}

/* ---- the log thread */

struct output {
    char text[OUTPUT_BYTES];
    size_t len;
    unsigned lines;
    uint64_t full_told; /* of shared.full */
};

static void output_flush(struct output *o)
{
    if (o->len > 0) {
        const bool good = write_all(o->text, o->len);
        atomic_fetch_add_explicit(good ? &shared.written : &shared.unwritten, o->lines,
                                  memory_order_relaxed);
    }
    o->len = 0;
    o->lines = 0;
}

static void output_add(struct output *o, const struct log_record *r)
{
    if (sizeof o->text - o->len < LOG_LINE_BYTES_MAX) {
        output_flush(o);
    }
    const enum log_format format =
        (enum log_format)atomic_load_explicit(&shared.format, memory_order_relaxed);
    o->len += log_line_write(o->text + o->len, r, format);
    o->lines++;
}

static void tell_dropped(struct output *o)
{
    const uint64_t full = atomic_load_explicit(&shared.full, memory_order_relaxed);
    if (full == o->full_told) {
        return;
    }
    const struct log_place place = {.now_ns = shared.now_ns()};
    const struct log_field fields[] = {{.name = NULL}, LOG_NUMBER("n", full - o->full_told)};
    struct log_record r;
    log_record_fill(&r, LOG_WARNING, "log_dropped", &place, fields, 2);
    output_add(o, &r);
    o->full_told = full;
}

/* Writes all that is there; false: there was nothing. */
static bool drain(struct output *o)
{
    bool any = false;
    for (const struct log_record *r; (r = log_ring_peek(shared.ring)) != NULL; any = true) {
        output_add(o, r);
        log_ring_release(shared.ring);
    }
    tell_dropped(o);
    output_flush(o);
    return any;
}

/* Sleeps while shared.state is `state`, at most timeout_ms; 0: for ever. */
static void wait_in_state(unsigned state, unsigned timeout_ms)
{
    const struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                                     .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    syscall(SYS_futex, &shared.state, FUTEX_WAIT_PRIVATE, state, timeout_ms > 0 ? &timeout : NULL,
            NULL, 0);
}

static void wake(void)
{
    syscall(SYS_futex, &shared.state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Between the announcement and the wait lies one more look at the ring: a caller either sees the
 * announcement, or its record is seen. */
static void fall_asleep(void)
{
    unsigned state = POLLING;
    if (!atomic_compare_exchange_strong(&shared.state, &state, SLEEPING)) {
        return; /* log_stop() was there first */
    }
    while (atomic_load(&shared.state) == SLEEPING && log_ring_peek(shared.ring) == NULL) {
        wait_in_state(SLEEPING, 0);
    }
    state = SLEEPING;
    atomic_compare_exchange_strong(&shared.state, &state, POLLING);
}

static void *log_thread(void *unused)
{
    static struct output output; /* too large for a stack; there is one log thread */
    (void)unused;
    output = (struct output){.len = 0};
    unsigned polls = 0;
    while (atomic_load(&shared.state) != STOPPING) {
        if (drain(&output)) {
            polls = 0;
        }
        if (polls++ < POLLS_BEFORE_SLEEP) {
            wait_in_state(POLLING, LOG_POLL_MS);
        } else {
            fall_asleep();
            polls = 0;
        }
    }
    drain(&output);
    return NULL;
}

/* Signals are for the other threads, and a broken pipe is an error like others. */
static int start_thread(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int err = pthread_create(&shared.thread, NULL, log_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

bool log_start(const struct log_conf *conf)
{
    assert(shared.ring == NULL);

    shared.fd = conf->fd;
    shared.now_ns = conf->now_ns != NULL ? conf->now_ns : system_now_ns;
    log_set_level(conf->level);
    log_set_format(conf->format);
    atomic_store(&shared.state, POLLING);
    shared.ring = log_ring_create(conf->ring_records > 0 ? conf->ring_records : LOG_RING_RECORDS);
    if (shared.ring == NULL) {
        errno = ENOMEM;
        return false;
    }
    const int err = start_thread();
    if (err != 0) {
        log_ring_destroy(shared.ring);
        shared.ring = NULL;
        errno = err;
        return false;
    }
    return true;
}

void log_stop(void)
{
    if (shared.ring != NULL) {
        atomic_store(&shared.state, STOPPING);
        wake();
        pthread_join(shared.thread, NULL);
        log_ring_destroy(shared.ring);
        shared.ring = NULL;
    }
    shared.fd = STDERR_FILENO;
    shared.now_ns = NULL;
    log_set_level(LOG_INFO);
    log_set_format(LOG_LOGFMT);
    atomic_store(&shared.written, 0);
    atomic_store(&shared.full, 0);
    atomic_store(&shared.unwritten, 0);
    atomic_store(&shared.suppressed, 0);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_on, (int)level, memory_order_relaxed);
}

void log_set_format(enum log_format format)
{
    atomic_store_explicit(&shared.format, (int)format, memory_order_relaxed);
}

void log_counts(struct log_counts *counts)
{
    counts->written = atomic_load_explicit(&shared.written, memory_order_relaxed);
    counts->dropped = atomic_load_explicit(&shared.full, memory_order_relaxed) +
                      atomic_load_explicit(&shared.unwritten, memory_order_relaxed);
    counts->suppressed = atomic_load_explicit(&shared.suppressed, memory_order_relaxed);
}

/* ---- callers */

bool log_permit(struct log_place *place)
{
    const uint64_t now_ns = shared.now_ns != NULL ? shared.now_ns() : system_now_ns();
    place->now_ns = now_ns;
    /* Also when the clock was set back. */
    if (now_ns - place->second_began_ns >= SECOND_NS) {
        place->second_began_ns = now_ns;
        place->passed = 0;
    }
    if (place->passed == LOG_BURST) {
        place->suppressed++;
        atomic_fetch_add_explicit(&shared.suppressed, 1, memory_order_relaxed);
        return false;
    }
    place->passed++;
    return true;
}

static void wake_if_asleep(void)
{
    unsigned state = SLEEPING;
    if (atomic_load(&shared.state) == SLEEPING &&
        atomic_compare_exchange_strong(&shared.state, &state, POLLING)) {
        wake();
    }
}

void log_submit(enum log_level level, const char *event, struct log_place *place,
                const struct log_field *fields, size_t count)
{
    if (shared.ring == NULL) {
        struct log_record r;
        log_record_fill(&r, level, event, place, fields, count);
        write_directly(&r);
        place->suppressed = 0;
        return;
    }
    uint64_t reservation;
    struct log_record *const r = log_ring_reserve(shared.ring, &reservation);
    if (r == NULL) {
        atomic_fetch_add_explicit(&shared.full, 1, memory_order_relaxed);
        return;
    }
    log_record_fill(r, level, event, place, fields, count);
    log_ring_commit(shared.ring, reservation);
    place->suppressed = 0;
    wake_if_asleep();
}

struct log_field log_field_errno(const char *name, int number)
{
    const char *const text = strerrordesc_np(number);
    return log_field_text(name, text != NULL ? text : "unknown error");
}
