/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backup/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "broker/config/config_error.h"
#include "broker/config/file_text.h"
#include "broker/version.h"

#define BUFFER_BYTES   65536u
#define TEXT_BYTES_MAX (4u << 20) /* some ten thousand files */
#define JOURNAL        "journal/"
#define END_BYTES      32u

/* ---- files */

int manifest_sum(int fd, struct manifest_file *file)
{
    static uint8_t buffer[BUFFER_BYTES];
    XXH3_state_t *const state = XXH3_createState();
    int err = state == NULL ? ENOMEM : 0;
    file->bytes = 0;
    if (err == 0) {
        (void)XXH3_64bits_reset(state);
    }
    while (err == 0) {
        const ssize_t n = read(fd, buffer, sizeof buffer);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            (void)XXH3_64bits_update(state, buffer, (size_t)n);
            file->bytes += (uint64_t)n;
        } else if (errno != EINTR) {
            err = errno;
        }
    }
    if (err == 0) {
        file->sum = XXH3_64bits_digest(state);
    }
    (void)XXH3_freeState(state);
    return err;
}

static bool out_of_memory(struct config_error *error)
{
    config_error_add(error, "out of memory");
    return false;
}

static bool add(struct manifest *m, const struct manifest_file *file, struct config_error *error)
{
    struct manifest_file *const longer = reallocarray(m->files, m->count + 1, sizeof *longer);
    if (longer == NULL) {
        return out_of_memory(error);
    }
    m->files = longer;
    m->files[m->count++] = *file;
    return true;
}

static bool take_file(struct manifest *m, int dir_fd, const char *path, struct config_error *error)
{
    struct manifest_file file = {0};
    if (snprintf(file.path, sizeof file.path, "%s", path) >= (int)sizeof file.path) {
        return true; /* none of ours has such a name */
    }
    const int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    const int err = fd < 0 ? errno : manifest_sum(fd, &file);
    if (fd >= 0) {
        close(fd);
    }
    if (err != 0) {
        config_error_add(error, "%s: it cannot be read: %s", path, strerror(err));
        return false;
    }
    return add(m, &file, error);
}

static int is_segment(const struct dirent *entry)
{
    return strncmp(entry->d_name, "journal-", 8) == 0 &&
           strcmp(entry->d_name + strlen(entry->d_name) - 4, ".seg") == 0;
}

static bool take_segments(struct manifest *m, int dir_fd, struct config_error *error)
{
    struct dirent **names = NULL;
    bool done = true;
    const int count = scandirat(dir_fd, "journal", &names, is_segment, alphasort);
    if (count < 0) {
        config_error_add(error, "journal: it cannot be read: %s", strerror(errno));
        return false;
    }
    for (int i = 0; i < count; i++) {
        char path[sizeof JOURNAL + NAME_MAX];
        snprintf(path, sizeof path, JOURNAL "%s", names[i]->d_name);
        done = done && take_file(m, dir_fd, path, error);
        free(names[i]);
    }
    free(names);
    return done;
}

static int open_dir(const char *dir, struct config_error *error)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        config_error_add(error, "%s: it cannot be opened: %s", dir, strerror(errno));
    }
    return fd;
}

bool manifest_take(struct manifest *m, const char *dir, struct config_error *error)
{
    *m = (struct manifest){.version = DUNLIN_VERSION};
    const int fd = open_dir(dir, error);
    if (fd < 0) {
        return false;
    }
    const enum data_dir_err err = data_dir_identify(fd, m->node_id);
    if (err != DATA_DIR_OK) {
        config_error_add(error, "%s: %s", dir, data_dir_err_text(err));
    }
    const bool done = err == DATA_DIR_OK && take_file(m, fd, "node.id", error) &&
                      take_file(m, fd, "checkpoint/data.mdb", error) && take_segments(m, fd, error);
    close(fd);
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts) != NULL) {
        strftime(m->taken, sizeof m->taken, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    return done;
}

/* ---- writing */

/* Of the lines before it. */
static void print_end(char out[END_BYTES], const char *text, size_t len)
{
    snprintf(out, END_BYTES, "end %016" PRIx64 "\n", (uint64_t)XXH3_64bits(text, len));
}

static bool print(const struct manifest *m, char **text, size_t *len)
{
    FILE *const f = open_memstream(text, len);
    if (f == NULL) {
        return false;
    }
    fprintf(f, "dunlin backup %u\nversion %s\nnode %s\ntaken %s\n", MANIFEST_FORMAT, m->version,
            m->node_id, m->taken);
    for (size_t i = 0; i < m->count; i++) {
        fprintf(f, "file %" PRIu64 " %016" PRIx64 " %s\n", m->files[i].bytes, m->files[i].sum,
                m->files[i].path);
    }
    if (fflush(f) != 0) {
        (void)fclose(f);
        free(*text);
        return false;
    }
    char last_line[END_BYTES];
    print_end(last_line, *text, *len);
    fputs(last_line, f);
    if (fclose(f) != 0) {
        free(*text);
        return false;
    }
    return true;
}

static int write_text(int dir_fd, const char *text, size_t len)
{
    const int fd = openat(dir_fd, MANIFEST_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    const ssize_t n = write(fd, text, len);
    int err = n < 0 ? errno : (size_t)n < len ? ENOSPC : 0;
    if (err == 0 && fsync(fd) != 0) {
        err = errno;
    }
    if (close(fd) != 0 && err == 0) {
        err = errno;
    }
    if (err == 0 && fsync(dir_fd) != 0) {
        err = errno;
    }
    return err;
}

bool manifest_write(const struct manifest *m, const char *dir, struct config_error *error)
{
    char *text;
    size_t len;
    if (!print(m, &text, &len)) {
        return out_of_memory(error);
    }
    const int fd = open_dir(dir, error);
    const int err = fd < 0 ? 0 : write_text(fd, text, len);
    if (fd >= 0) {
        close(fd);
    }
    free(text);
    if (err != 0) {
        config_error_add(error, "the backup cannot be written: %s", strerror(err));
    }
    return fd >= 0 && err == 0;
}

/* ---- reading */

static bool may_be(const char *path)
{
    if (strcmp(path, "node.id") == 0 || strcmp(path, "checkpoint/data.mdb") == 0) {
        return true;
    }
    return strncmp(path, JOURNAL "journal-", sizeof JOURNAL + 7) == 0 &&
           strchr(path + sizeof JOURNAL - 1, '/') == NULL;
}

/* One line, without its end. false: it is none of a manifest's. */
static bool read_line(struct manifest *m, const char *line, struct config_error *error)
{
    struct manifest_file file;
    int used = 0;
    if (sscanf(line, "version %31s%n", m->version, &used) == 1 ||
        sscanf(line, "node %36s%n", m->node_id, &used) == 1 ||
        sscanf(line, "taken %31s%n", m->taken, &used) == 1) {
        return line[used] == '\0';
    }
    _Static_assert(MANIFEST_PATH_BYTES == 64, "as it stands in the format");
    if (sscanf(line, "file %" SCNu64 " %" SCNx64 " %63s%n", &file.bytes, &file.sum, file.path,
               &used) == 3) {
        return line[used] == '\0' && may_be(file.path) && add(m, &file, error);
    }
    return false;
}

/* NULL: it is well. */
static const char *read_text(struct manifest *m, char *text, size_t len, struct config_error *error)
{
    static const char damaged[] = "its " MANIFEST_NAME " is damaged: take another backup";
    unsigned format;
    char last_line[END_BYTES];
    int used = 0;
    char *const end = memmem(text, len, "\nend ", 5);
    if (sscanf(text, "dunlin backup %u\n%n", &format, &used) != 1 || used == 0) {
        return damaged;
    }
    if (format != MANIFEST_FORMAT) {
        return "it is a backup of a later version: take that one";
    }
    if (end == NULL) {
        return damaged;
    }
    print_end(last_line, text, (size_t)(end + 1 - text));
    if (strcmp(end + 1, last_line) != 0) {
        return damaged;
    }
    *end = '\0';
    char *rest = text + used;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (!read_line(m, line, error)) {
            return damaged;
        }
    }
    return NULL;
}

bool manifest_read(struct manifest *m, const char *dir, struct config_error *error)
{
    char path[PATH_MAX];
    char *text;
    size_t len;
    *m = (struct manifest){.count = 0};
    snprintf(path, sizeof path, "%s/" MANIFEST_NAME, dir);
    const int err = file_text_read(path, TEXT_BYTES_MAX, &text, &len);
    if (err != 0) {
        config_error_add(error, "%s: it is no backup, or an unfinished one: %s: %s", dir,
                         MANIFEST_NAME, strerror(err));
        return false;
    }
    const char *const problem = read_text(m, text, len, error);
    free(text);
    if (problem != NULL) {
        config_error_add(error, "%s: %s", dir, problem);
    }
    return problem == NULL;
}

void manifest_fini(struct manifest *m)
{
    free(m->files);
    *m = (struct manifest){.count = 0};
}

uint64_t manifest_bytes(const struct manifest *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        bytes += m->files[i].bytes;
    }
    return bytes;
}
