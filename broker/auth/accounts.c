/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>

bool account_number(const char *text, uint32_t *id)
{
    char *end;
    errno = 0;
    const unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != '\0' || number >= UINT32_MAX) {
        return false;
    }
    *id = (uint32_t)number;
    return true;
}

static bool uid_of(const char *name, uint32_t *uid)
{
    const struct passwd *const p = getpwnam(name);
    if (p != NULL) {
        *uid = p->pw_uid;
    }
    return p != NULL;
}

static bool gid_of(const char *name, uint32_t *gid)
{
    const struct group *const g = getgrnam(name);
    if (g != NULL) {
        *gid = g->gr_gid;
    }
    return g != NULL;
}

const struct accounts accounts_of_this_machine = {.uid = uid_of, .gid = gid_of};
