/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_prompt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* These end the process, but not before the echo is on again. They are blocked, and let through
 * only while we wait, so that none comes between a look and the wait. */
static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

#define ENDS (sizeof ends / sizeof ends[0])

static volatile sig_atomic_t ended_by; /* 0: by none */

struct silence {
    struct termios loud;
    sigset_t mask; /* as it was: for the wait, and for afterwards */
    struct sigaction actions[ENDS];
};

const char *password_input_err_text(enum password_input_err err)
{
    switch (err) {
    case PASSWORD_INPUT_OK:
        return "ok";
    case PASSWORD_INPUT_NONE:
        return "no password was given: type it at a terminal, or give it as a line on stdin";
    case PASSWORD_INPUT_EMPTY:
        return "the password is empty: give one";
    case PASSWORD_INPUT_TOO_LONG:
        return "the password is longer than 1024 bytes: give a shorter one";
    case PASSWORD_INPUT_DIFFERS:
        return "the two passwords are not the same: try again";
    case PASSWORD_INPUT_FAILED:
        return "the password cannot be read";
    }
    return "?";
}

void password_input_wipe(struct password_input *p)
{
    explicit_bzero(p, sizeof *p);
}

/* ---- a line; byte by byte, so that no buffer keeps what is read too far */

/* wait: the signals' mask for the wait; NULL: no signal is waited for. */
static ssize_t read_byte(int fd, uint8_t *byte, const sigset_t *wait)
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    for (;;) {
        if (wait != NULL && ppoll(&input, 1, NULL, wait) < 0) {
            if (errno == EINTR && ended_by == 0) {
                continue;
            }
            return -1;
        }
        const ssize_t n = read(fd, byte, 1);
        if (n >= 0 || errno != EINTR) {
            return n;
        }
    }
}

static enum password_input_err read_line(struct password_input *p, int fd, const sigset_t *wait)
{
    uint8_t byte = 0;
    p->len = 0;
    for (;;) {
        const ssize_t n = read_byte(fd, &byte, wait);
        if (n < 0) {
            return PASSWORD_INPUT_FAILED;
        }
        if (n == 0 && p->len == 0) {
            return PASSWORD_INPUT_NONE;
        }
        if (n == 0 || byte == '\n') {
            break;
        }
        if (p->len == PASSWORD_INPUT_BYTES_MAX) {
            return PASSWORD_INPUT_TOO_LONG;
        }
        p->bytes[p->len++] = byte;
    }
    return p->len > 0 ? PASSWORD_INPUT_OK : PASSWORD_INPUT_EMPTY;
}

/* ---- the terminal */

static void on_end(int signal_number)
{
    ended_by = signal_number;
}

static bool silence_begin(struct silence *s, int fd)
{
    if (tcgetattr(fd, &s->loud) != 0) {
        return false;
    }
    const struct sigaction action = {.sa_handler = on_end};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTSTP); /* nobody could tell in which state the terminal comes back */
    for (size_t i = 0; i < ENDS; i++) {
        sigaddset(&blocked, ends[i]);
    }
    ended_by = 0;
    sigprocmask(SIG_BLOCK, &blocked, &s->mask);
    for (size_t i = 0; i < ENDS; i++) {
        sigaction(ends[i], NULL, &s->actions[i]);
        if (s->actions[i].sa_handler != SIG_IGN) {
            sigaction(ends[i], &action, NULL);
        }
    }
    struct termios silent = s->loud;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    silent.c_lflag |= ECHONL | ICANON;
    tcsetattr(fd, TCSAFLUSH, &silent);
    return true;
}

static void silence_end(struct silence *s, int fd)
{
    tcsetattr(fd, TCSAFLUSH, &s->loud); /* drops what was typed too much */
    for (size_t i = 0; i < ENDS; i++) {
        sigaction(ends[i], &s->actions[i], NULL);
    }
    if (ended_by != 0) {
        raise(ended_by); /* it is blocked until the next line */
    }
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

static enum password_input_err ask_twice(struct password_input *p, struct password_input *again,
                                         int fd, FILE *out, const char *user, const sigset_t *mask)
{
    fprintf(out, "Password for %s: ", user);
    fflush(out);
    enum password_input_err err = read_line(p, fd, mask);
    if (err != PASSWORD_INPUT_OK) {
        return err;
    }
    fputs("The same again: ", out);
    fflush(out);
    err = read_line(again, fd, mask);
    if (err == PASSWORD_INPUT_FAILED) {
        return err;
    }
    return p->len == again->len && memcmp(p->bytes, again->bytes, p->len) == 0
               ? PASSWORD_INPUT_OK
               : PASSWORD_INPUT_DIFFERS;
}

static enum password_input_err ask(struct password_input *p, int fd, FILE *out, const char *user)
{
    struct silence silence;
    struct password_input again = {0};
    if (!silence_begin(&silence, fd)) {
        return PASSWORD_INPUT_FAILED;
    }
    sigset_t wait = silence.mask;
    sigaddset(&wait, SIGTSTP);
    const enum password_input_err err = ask_twice(p, &again, fd, out, user, &wait);
    password_input_wipe(&again);
    if (err != PASSWORD_INPUT_OK) { /* it may be that the process ends in silence_end() */
        password_input_wipe(p);
    }
    const int sys_errno = errno;
    silence_end(&silence, fd);
    errno = sys_errno;
    return err;
}

enum password_input_err password_prompt(struct password_input *p, int fd, FILE *out,
                                        const char *user)
{
    const enum password_input_err err = isatty(fd) ? ask(p, fd, out, user) : read_line(p, fd, NULL);
    if (err != PASSWORD_INPUT_OK) {
        password_input_wipe(p);
    }
    return err;
}
