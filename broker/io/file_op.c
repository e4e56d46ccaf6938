/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/file_op.h"

#include <assert.h>
#include <errno.h>

void file_op_advance(struct io_file_op *op, size_t bytes)
{
    op->offset += bytes;
    while (op->n > 0 && bytes >= op->iov->iov_len) {
        bytes -= op->iov->iov_len;
        op->iov++;
        op->n--;
    }
    if (bytes > 0) {
        assert(op->n > 0);
        op->iov->iov_base = (char *)op->iov->iov_base + bytes;
        op->iov->iov_len -= bytes;
    }
}

bool file_op_goes_on(struct io_file_op *op, ssize_t res, int *error)
{
    if (res == -EINTR || res == -EAGAIN) {
        return true;
    }
    if (res < 0 || op->n == 0) {
        *error = (int)-res;
        return false;
    }
    if (res == 0) { /* and there is something left: it would go on for ever */
        *error = EIO;
        return false;
    }
    file_op_advance(op, (size_t)res);
    *error = 0;
    return op->n > 0;
}
