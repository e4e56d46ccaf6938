/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/file_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int file_text_read(const char *path, size_t bytes_max, char **text, size_t *len)
{
    int err = 0;
    char *buffer = NULL;
    FILE *const f = fopen(path, "re");
    if (f == NULL) {
        err = errno;
        goto out;
    }
    buffer = malloc(bytes_max + 1);
    if (buffer == NULL) {
        err = ENOMEM;
        goto out;
    }
    errno = 0;
    *len = fread(buffer, 1, bytes_max + 1, f);
    if (ferror(f)) {
        err = errno != 0 ? errno : EIO;
        goto out;
    }
    if (*len > bytes_max) {
        err = EFBIG;
        goto out;
    }
    buffer[*len] = '\0';
    *text = buffer;
    buffer = NULL;
out:
    free(buffer);
    if (f != NULL) {
        fclose(f);
    }
    return err;
}
