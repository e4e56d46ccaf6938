/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/io/accept_error.h"

#include <errno.h>

bool accept_error_is_of_the_connection(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECANCELED:
    case ECONNABORTED:
    case EPERM: /* a packet filter's */
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
        return true;
    default:
        return false;
    }
}
