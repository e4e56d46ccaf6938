/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/refusal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define NO_SYSCTL (-1)

/* Each cause has the words that an operator needs, and no other cause's. */
Test(refusal, the_remedy_is_for_the_cause)
{
    static const struct {
        const char *name;
        enum io_err err;
        int error;
        struct refusal_signs signs;
        const char *has, *has_not;
    } rows[] = {
        {"off for all", IO_FORBIDDEN, EPERM, {2, false}, "it is 2", "seccomp"},
        {"off for all, filtered", IO_FORBIDDEN, EPERM, {2, true}, "it is 2", "seccomp"},
        {"off for most", IO_FORBIDDEN, EPERM, {1, false}, "kernel.io_uring_group", "seccomp"},
        {"off for most, filtered", IO_FORBIDDEN, EPERM, {1, true}, "kernel.io_uring_group", "2"},
        {"off for most, filtered, too", IO_FORBIDDEN, EPERM, {1, true}, "seccomp", "2"},
        {"a container", IO_FORBIDDEN, EPERM, {0, true}, "io_uring_setup", "sysctl"},
        {"a container, ENOSYS", IO_FORBIDDEN, ENOSYS, {0, true}, "io_uring_setup", "sysctl"},
        {"an old container", IO_FORBIDDEN, EPERM, {NO_SYSCTL, true}, "seccomp", "sysctl"},
        {"built without", IO_FORBIDDEN, ENOSYS, {NO_SYSCTL, false}, "CONFIG_IO_URING", "sysctl"},
        {"SELinux", IO_FORBIDDEN, EACCES, {0, false}, "SELinux", "seccomp"},
        {"too old", IO_TOO_OLD, EINVAL, {NO_SYSCTL, true}, "6.1", "seccomp"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const said = refusal_remedy(rows[i].err, rows[i].error, rows[i].signs);
        cr_expect_not_null(strstr(said, rows[i].has), "%s: %s", rows[i].name, said);
        cr_expect_null(strstr(said, rows[i].has_not), "%s: %s", rows[i].name, said);
    }
}

Test(refusal, looks_at_this_system)
{
    const struct refusal_signs signs = refusal_look();
    cr_expect(signs.disabled >= -1);
    cr_expect(signs.disabled <= 2);
}
