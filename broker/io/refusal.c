/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/refusal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>

#define SECCOMP_BY_FILTER 2 /* of prctl(PR_GET_SECCOMP) */

struct refusal_signs refusal_look(void)
{
    struct refusal_signs signs = {
        .disabled = -1,
        .filtered = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_BY_FILTER,
    };
    FILE *const f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    const int c = f == NULL ? EOF : getc(f);
    if (c >= '0' && c <= '2') {
        signs.disabled = c - '0';
    }
    if (f != NULL) {
        fclose(f);
    }
    return signs;
}

#define ALLOW_IN_PROFILE                                                                           \
    "let the seccomp profile (of the container, or the service) allow io_uring_setup, "            \
    "io_uring_enter and io_uring_register: docs/io.md"

const char *refusal_remedy(enum io_err err, int sys_errno, struct refusal_signs signs)
{
    if (err != IO_FORBIDDEN) {
        return io_err_text(err);
    }
    if (signs.disabled == 2) {
        return "set the sysctl kernel.io_uring_disabled to 0 on the host: it is 2, which refuses "
               "io_uring to everybody";
    }
    if (signs.disabled == 1 && signs.filtered) { /* with CAP_SYS_ADMIN it is the latter alone */
        return "set the sysctl kernel.io_uring_disabled to 0 on the host (it is 1), or its "
               "kernel.io_uring_group to a group of the process; and " ALLOW_IN_PROFILE;
    }
    if (signs.disabled == 1) {
        return "set the sysctl kernel.io_uring_disabled to 0 on the host (it is 1), or its "
               "kernel.io_uring_group to a group of the process";
    }
    if (signs.filtered) {
        return ALLOW_IN_PROFILE;
    }
    if (sys_errno == ENOSYS) {
        return "run it on a kernel that was built with io_uring (CONFIG_IO_URING)";
    }
    return "let the security module of the host (SELinux, AppArmor) allow io_uring to this program";
}
