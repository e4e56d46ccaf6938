/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/privileges.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/config/config.h"

static void *touch(void *done)
{
    *(bool *)done = true;
    return NULL;
}

/* Criterion gives each test a process of its own. A build with a sanitizer does without. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static bool is_refused(long call)
{
    return syscall(call, -1, -1, NULL, 0, NULL, 0) == -1 && errno == EPERM;
}

/* With io_uring in use its rings can still be asked; otherwise none of its calls is left. */
static void confine_and_expect(bool uses_io_uring)
{
    const struct config_process config = {.user = "", .seccomp = true};
    privileges_begin(&config);
    cr_assert(privileges_confine(&config, uses_io_uring));
    cr_expect(is_refused(SYS_io_uring_setup));
    cr_expect_eq(is_refused(SYS_io_uring_enter), !uses_io_uring);
    cr_expect_eq(is_refused(SYS_io_uring_register), !uses_io_uring);
}

Test(privileges, rings_that_are_in_use_can_be_asked)
{
    confine_and_expect(true);
}

Test(privileges, without_rings_nothing_of_them_is_left)
{
    confine_and_expect(false);
}
#endif

Test(privileges, calls_that_no_broker_makes_are_refused)
{
    static char *const nothing[] = {NULL};
    const struct config_process config = {.user = "", .seccomp = true};
    privileges_begin(&config);
    cr_assert(privileges_confine(&config, true));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    cr_expect(execve("/bin/true", nothing, nothing) == -1 && errno == EPERM);
    cr_expect(unshare(CLONE_NEWUSER) == -1 && errno == EPERM);
    cr_expect(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1 && errno == EPERM);
    cr_expect(setuid(getuid()) == -1 && errno == EPERM);
#else
    (void)nothing;
#endif
    pthread_t thread;
    bool done = false;
    cr_assert_eq(pthread_create(&thread, NULL, touch, &done), 0);
    pthread_join(thread, NULL);
    cr_expect(done);
}

Test(privileges, a_user_that_is_not_there_is_told)
{
    const struct config_process config = {.user = "n0b0dy-here"};
    cr_expect_not(privileges_drop(&config));
}

Test(privileges, who_is_that_user_already_stays_so)
{
    char self[32];
    if (geteuid() == 0) {
        cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    }
    snprintf(self, sizeof self, "%u", geteuid());
    const struct config_process config = {.user = self};
    cr_expect(privileges_drop(&config));
    const struct config_process root = {.user = "0"};
    cr_expect_not(privileges_drop(&root));
}
