/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <seccomp.h>

#include "broker/auth/accounts.h"
#include "broker/config/config.h"
#include "broker/log/log.h"

/* A sanitizer looks for leaks by ptrace(), and starts a program that names functions for it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* ---- from the start on */

void privileges_begin(const struct config_process *config)
{
    static const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) { /* cannot fail since Linux 3.5 */
        log_event(LOG_WARNING, "no_new_privs_failed", LOG_ERRNO("error", errno));
    }
    if (config->core_dumps || SANITIZED) {
        return;
    }
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0) {
        log_event(LOG_WARNING, "core_dumps_not_prevented", LOG_ERRNO("error", errno));
    }
}

/* ---- another user */

struct identity {
    uid_t uid;
    gid_t gid;
    char *name; /* NULL: it has no entry, and no further groups */
};

static bool find_user(const char *text, struct identity *out)
{
    uint32_t number = 0;
    const bool numeric = account_number(text, &number);
    const struct passwd *const p = numeric ? getpwuid(number) : getpwnam(text);
    if (p != NULL) {
        *out = (struct identity){.uid = p->pw_uid, .gid = p->pw_gid, .name = strdup(p->pw_name)};
        return out->name != NULL;
    }
    *out = (struct identity){.uid = number, .gid = number};
    return numeric;
}

static bool find_group(const char *text, gid_t *gid)
{
    return account_number(text, gid) || accounts_of_this_machine.gid(text, gid);
}

/* USER or USER:GROUP, each a name or a number. */
static bool find(const char *text, struct identity *out)
{
    char *const user = strdup(text);
    if (user == NULL) {
        return false;
    }
    char *const colon = strchr(user, ':');
    if (colon != NULL) {
        *colon = '\0';
    }
    bool found = find_user(user, out);
    if (found && colon != NULL) {
        found = find_group(colon + 1, &out->gid);
    }
    free(user);
    return found;
}

/* All threads: glibc has each of them do it. */
static bool become(const struct identity *who)
{
    const bool groups =
        who->name != NULL ? initgroups(who->name, who->gid) == 0 : setgroups(1, &who->gid) == 0;
    return groups && setresgid(who->gid, who->gid, who->gid) == 0 &&
           setresuid(who->uid, who->uid, who->uid) == 0;
}

/* errno says why not. */
static bool become_for_good(const struct identity *who)
{
    if (!become(who)) {
        return false;
    }
    if (who->uid != 0 && setuid(0) == 0) { /* it could come back */
        errno = EPERM;
        return false;
    }
    return true;
}

bool privileges_drop(const struct config_process *config)
{
    struct identity who = {.name = NULL};
    if (config->user[0] == '\0') {
        if (geteuid() == 0) {
            log_event(LOG_WARNING, "runs_as_root",
                      LOG_TEXT("remedy", "name a user in process.user, or start it as one"));
        }
        return true;
    }
    if (!find(config->user, &who)) {
        log_event(LOG_ERROR, "user_unknown", LOG_TEXT("user", config->user));
        free(who.name);
        return false;
    }
    const bool is_already = geteuid() == who.uid && getuid() == who.uid && geteuid() != 0;
    const bool done = is_already || become_for_good(&who);
    if (!done) {
        log_event(LOG_ERROR, "user_refused", LOG_TEXT("user", config->user),
                  LOG_ERRNO("error", errno),
                  LOG_TEXT("remedy", "start it as root, or as that user"));
    }
    free(who.name);
    if (done && !config->core_dumps && !SANITIZED) {
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a change of user may have set it anew */
    }
    return done;
}

/* ---- calls that no broker makes */

/* Each gives whoever has taken the process over a way out of it, or into the kernel. What is left
 * is what any program with files, sockets and threads needs: which of that, differs from one
 * version of a library to the next, and a call that is missing ends a broker at night. */
static const int refused[] = {
    /* other programs, and other processes' memory */
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kcmp),
    /* other users, other roots, other namespaces */
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setfsuid),
    SCMP_SYS(setfsgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(capset),
    SCMP_SYS(chroot),
    SCMP_SYS(pivot_root),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fspick),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    /* the kernel itself */
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(personality),
    SCMP_SYS(syslog),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    /* more rings: those of the shards are there */
    SCMP_SYS(io_uring_setup),
};

/* Also, where no shard has a ring. */
static const int of_rings[] = {SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register)};

/* Threads are made by clone(), and so are these. */
static const uint64_t namespaces[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,   CLONE_NEWNET,
                                      CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP};

/* 0, or an errno below 0. */
static int load_filter(bool uses_io_uring)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL) {
        return -ENOMEM;
    }
    int err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    for (size_t i = 0; err == 0 && i < sizeof refused / sizeof refused[0]; i++) {
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    }
    for (size_t i = 0; err == 0 && !uses_io_uring && i < sizeof of_rings / sizeof of_rings[0];
         i++) {
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), of_rings[i], 0);
    }
    for (size_t i = 0; err == 0 && i < sizeof namespaces / sizeof namespaces[0]; i++) {
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]));
    }
    if (err == 0) { /* its flags are in memory, where no filter looks; glibc takes clone() then */
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    }
    if (err == 0) {
        err = seccomp_load(filter);
    }
    seccomp_release(filter);
    return err;
}

bool privileges_confine(const struct config_process *config, bool uses_io_uring)
{
    if (!config->seccomp || SANITIZED) {
        return true;
    }
    const int err = load_filter(uses_io_uring);
    if (err != 0) {
        log_event(LOG_ERROR, "seccomp_failed", LOG_ERRNO("error", -err),
                  LOG_TEXT("remedy", "process.seccomp: false does without"));
    }
    return err == 0;
}
