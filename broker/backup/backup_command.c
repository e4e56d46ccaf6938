/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/backup_command.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/backup/backup.h"
#include "broker/backup/check.h"
#include "broker/backup/flags.h"
#include "broker/backup/manifest.h"
#include "broker/config/config_error.h"

#define USAGE_STATUS 2

static const char help[] =
    "dunlin backup: a copy of what a node keeps, also while it runs\n"
    "\n"
    "Usage: dunlin backup --data DIR --to DIR2\n"
    "       dunlin backup --check DIR2\n"
    "\n"
    "  --data DIR    The node's data directory (data.dir). Whether a broker runs on it is found "
    "out.\n"
    "  --to DIR2     Where to write the backup: a directory that is not there yet; its parent is.\n"
    "  --check DIR2  Read a backup as a whole, and say whether it is good. One is checked when it "
    "is\n"
    "                written, too.\n"
    "  --help        Print this.\n"
    "\n"
    "Whatever was acknowledged before it began is in the backup. DIR2 is there when all of it is "
    "on\n"
    "disk and has been checked; what breaks off leaves DIR2" BACKUP_PARTIAL " at most, which the\n"
    "next one to DIR2 removes. Run it as the broker's user, or as root. dunlin restore makes a "
    "data\n"
    "directory of it again.\n"
    "\n"
    "Examples:\n"
    "  dunlin backup --data /var/lib/dunlin --to /backup/dunlin-$(date +%F)\n"
    "  dunlin backup --check /backup/dunlin-2026-11-27\n";

static void say(const char *what, const char *dir, const struct manifest *m)
{
    printf("%s: %s: node %s as of %s, %zu files, %.1f MiB\n", dir, what, m->node_id, m->taken,
           m->count, (double)manifest_bytes(m) / (1 << 20));
}

static bool back_up(const char *data, const char *to, struct config_error *error)
{
    struct manifest m;
    const bool done = backup_take(data, to, &m, error);
    if (done) {
        say("backed up", to, &m);
        manifest_fini(&m);
    }
    return done;
}

/* ---- checking */

static bool check(const char *dir, struct config_error *error)
{
    struct manifest m;
    const bool done = manifest_read(&m, dir, error) && check_backup(&m, dir, error);
    if (done) {
        say("good", dir, &m);
    }
    manifest_fini(&m);
    return done;
}

int backup_command(int argc, char *const *argv)
{
    struct config_error error = {0};
    const char *data = NULL, *to = NULL, *checked = NULL;
    const struct flag flags[] = {{"--data", &data}, {"--to", &to}, {"--check", &checked}};
    const bool wants_help = flags_take(argc, argv, flags, sizeof flags / sizeof flags[0], &error);
    if (wants_help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    if (error.count == 0 &&
        (checked != NULL ? data != NULL || to != NULL : data == NULL || to == NULL)) {
        config_error_add(&error, "give --data and --to, or --check alone; dunlin backup --help "
                                 "tells more");
    }
    if (error.count > 0) {
        fputs(error.text, stderr);
        return USAGE_STATUS;
    }
    const bool done = checked != NULL ? check(checked, &error) : back_up(data, to, &error);
    fputs(error.text, stderr);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
