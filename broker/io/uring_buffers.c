/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/uring_buffers.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/io/receive_buffer.h"

#define COUNT_MAX 32768u /* the kernel's */

static size_t whole_pages(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

static void hand_over(struct uring_buffers *b, unsigned id)
{
    uint8_t *const buffer = b->first + (size_t)id * b->bytes;
    receive_buffer_hide(buffer, b->bytes);
    io_uring_buf_ring_add(b->ring, buffer, b->bytes, (unsigned short)id,
                          io_uring_buf_ring_mask(b->count), 0);
    io_uring_buf_ring_advance(b->ring, 1);
}

int uring_buffers_init(struct uring_buffers *b, struct io_uring *uring, unsigned count,
                       unsigned bytes)
{
    assert(count >= 1);
    assert(count <= COUNT_MAX && (count & (count - 1)) == 0);
    assert(bytes >= 1);

    const size_t ring_bytes = whole_pages(count * sizeof(struct io_uring_buf));
    const size_t mapped = ring_bytes + whole_pages((size_t)count * bytes);
    void *const memory =
        mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return errno;
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)memory,
        .ring_entries = count,
        .bgid = URING_BUFFER_GROUP,
    };
    const int err = -io_uring_register_buf_ring(uring, &registration, 0);
    if (err != 0) {
        munmap(memory, mapped);
        return err;
    }
    *b = (struct uring_buffers){
        .ring = memory,
        .first = (uint8_t *)memory + ring_bytes,
        .count = count,
        .bytes = bytes,
        .mapped = mapped,
    };
    io_uring_buf_ring_init(b->ring);
    for (unsigned id = 0; id < count; id++) {
        hand_over(b, id);
    }
    return 0;
}

void uring_buffers_fini(struct uring_buffers *b)
{
    if (b->ring != NULL) {
        receive_buffer_show(b->first, (size_t)b->count * b->bytes);
        munmap(b->ring, b->mapped);
        b->ring = NULL;
    }
}

const uint8_t *uring_buffers_take(struct uring_buffers *b, unsigned id, size_t len)
{
    assert(id < b->count);
    assert(len <= b->bytes);

    const uint8_t *const buffer = b->first + (size_t)id * b->bytes;
    receive_buffer_show(buffer, len);
    return buffer;
}

void uring_buffers_put(struct uring_buffers *b, unsigned id)
{
    assert(id < b->count);

    hand_over(b, id);
}
