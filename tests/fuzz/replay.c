/* SPDX-License-Identifier: Apache-2.0 */
/* replay: runs a fuzzer over each file that is named, or in a folder that is named. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_BYTES_MAX (1u << 20)
#define PATH_BYTES_MAX  4096u

/* In a block of just its size, so that ASan sees the byte after the last. */
static void file_run(const char *path, FILE *file)
{
    static uint8_t input[INPUT_BYTES_MAX];
    const size_t size = fread(input, 1, sizeof input, file);
    uint8_t *exact = malloc(size > 0 ? size : 1);
    FUZZ_EXPECT(exact != NULL);
    memcpy(exact, input, size);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

/* Returns how many files were run. */
static size_t path_run(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        FILE *file = fopen(path, "rb");
        if (file == NULL) {
            fprintf(stderr, "%s: %s\n", path, strerror(errno));
            exit(1);
        }
        file_run(path, file);
        fclose(file);
        return 1;
    }
    size_t count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            char below[PATH_BYTES_MAX];
            FUZZ_EXPECT((size_t)snprintf(below, sizeof below, "%s/%s", path, entry->d_name) <
                        sizeof below);
            count += path_run(below);
        }
    }
    closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        count += path_run(argv[i]);
    }
    fprintf(stderr, "%zu inputs\n", count);
    return count > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
