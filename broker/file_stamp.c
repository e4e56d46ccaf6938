/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/file_stamp.h"

#include <sys/stat.h>
#include <xxhash.h>

struct stamp {
    uint64_t before; /* the hash of the stamps before */
    uint64_t device, inode, bytes;
    int64_t modified_s, modified_ns;
};

uint64_t file_stamp_add(uint64_t before, const char *path)
{
    struct stat s;
    struct stamp stamp = {.before = before};
    if (path[0] != '\0' && stat(path, &s) == 0) {
        stamp.device = s.st_dev;
        stamp.inode = s.st_ino;
        stamp.bytes = (uint64_t)s.st_size;
        stamp.modified_s = s.st_mtim.tv_sec;
        stamp.modified_ns = s.st_mtim.tv_nsec;
    }
    return XXH3_64bits(&stamp, sizeof stamp);
}

bool file_watch_has_changed(struct file_watch *w, uint64_t stamp)
{
    const bool settled = w->seen == stamp;
    w->seen = stamp;
    return settled && w->loaded != stamp;
}
