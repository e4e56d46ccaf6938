/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/crash.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/node.h"
#include "broker/recorder/story.h"
#include "broker/shard/shard.h"

#define PATH_BYTES 4352u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SIGNALS_ARE_TAKEN true
#else
#define SIGNALS_ARE_TAKEN false
#endif

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

/* Set before the handler is; read by it. */
static struct {
    _Atomic(struct node *) node; /* NULL: nothing is to be told */
    char path[PATH_BYTES];
    struct story story; /* all but the rings */
} prepared;

static bool to_descriptor(void *context, const void *bytes, size_t len)
{
    return write(*(const int *)context, bytes, len) == (ssize_t)len;
}

static void say(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

/* SA_RESETHAND: when the signal comes again, as soon as this returns, it ends the process. */
static void on_crash(int signal_number)
{
    (void)raise(signal_number);
    struct node *const node = atomic_exchange(&prepared.node, NULL);
    if (node == NULL) {
        return;
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        prepared.story.rings[i] = node->shards[i]->recorder.ring;
    }
    int fd = open(prepared.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const bool written = fd >= 0 && story_tell(&prepared.story, to_descriptor, &fd);
    say(written ? "dunlin: crashed; what it did last is in " : "dunlin: crashed; cannot write ");
    say(prepared.path);
    say("\n");
}

void crash_prepare(struct node *node, const char *dir)
{
    if (SIGNALS_ARE_TAKEN) {
        return;
    }
    snprintf(prepared.path, sizeof prepared.path, "%s/recorder-crash-%d.pcapng", dir,
             (int)getpid());
    story_of(&prepared.story, node);
    atomic_store(&prepared.node, node);
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
}

void crash_forget(void)
{
    atomic_store(&prepared.node, NULL);
}
