/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/client_hello.h"

#include "proto/cursor.h"

#define RECORD_HEADER_BYTES 5u
#define RECORD_HANDSHAKE    22u
#define RECORD_BYTES_MAX    16384u
#define MESSAGE_HELLO       1u
#define RANDOM_BYTES        32u

#define EXTENSION_SERVER_NAME    0u
#define EXTENSION_SESSION_TICKET 35u
#define EXTENSION_PRE_SHARED_KEY 41u
#define NAME_IS_HOST             0u

/* A vector (RFC 8446, 3.4): its length in `length_bytes`, and as many bytes. */
static bool take_vector(struct cursor *in, unsigned length_bytes, struct cursor *vector)
{
    struct bytes length, body;
    if (!cursor_bytes(in, length_bytes, &length)) {
        return false;
    }
    size_t len = 0;
    for (unsigned i = 0; i < length_bytes; i++) {
        len = len << 8 | length.at[i];
    }
    if (!cursor_bytes(in, len, &body)) {
        return false;
    }
    *vector = (struct cursor){.at = body.at, .end = body.at + body.len};
    return true;
}

/* RFC 6066, 3: a list of names, of which one may be a host's. */
static void read_server_name(struct client_hello *hello, struct cursor in)
{
    struct cursor list;
    uint8_t type;
    if (take_vector(&in, 2, &list) && cursor_u8(&list, &type) && type == NAME_IS_HOST) {
        if (!cursor_binary(&list, &hello->server_name)) {
            hello->server_name = bytes_of(NULL, 0);
        }
    }
}

static void read_extensions(struct client_hello *hello, struct cursor in)
{
    uint16_t type;
    struct cursor body;
    while (cursor_u16(&in, &type) && take_vector(&in, 2, &body)) {
        switch (type) {
        case EXTENSION_SERVER_NAME:
            read_server_name(hello, body);
            break;
        case EXTENSION_SESSION_TICKET: /* an empty one only asks for a ticket */
            hello->resumes = hello->resumes || cursor_left(&body) > 0;
            break;
        case EXTENSION_PRE_SHARED_KEY:
            hello->resumes = true;
            break;
        default:
            break;
        }
    }
}

static void read_hello(struct client_hello *hello, struct cursor record)
{
    uint8_t type;
    struct bytes skipped;
    struct cursor message, list, extensions;
    if (cursor_u8(&record, &type) && type == MESSAGE_HELLO &&
        take_vector(&record, 3, &message) &&                  /* whole in this record */
        cursor_bytes(&message, 2 + RANDOM_BYTES, &skipped) && /* version, random */
        take_vector(&message, 1, &list) &&                    /* session id */
        take_vector(&message, 2, &list) &&                    /* cipher suites */
        take_vector(&message, 1, &list) &&                    /* compression methods */
        take_vector(&message, 2, &extensions)) {
        read_extensions(hello, extensions);
    }
}

enum client_hello_err client_hello_peek(struct client_hello *hello, const uint8_t *in, size_t len,
                                        size_t *wanted)
{
    if (len > 0 && in[0] != RECORD_HANDSHAKE) {
        return CLIENT_HELLO_NOT_TLS;
    }
    if (len < RECORD_HEADER_BYTES) {
        *wanted = RECORD_HEADER_BYTES;
        return CLIENT_HELLO_NEED_MORE;
    }
    const size_t record_len = (size_t)in[3] << 8 | in[4];
    if (in[1] != 3 || record_len == 0 || record_len > RECORD_BYTES_MAX) {
        return CLIENT_HELLO_NOT_TLS;
    }
    if (len < RECORD_HEADER_BYTES + record_len) {
        *wanted = RECORD_HEADER_BYTES + record_len;
        return CLIENT_HELLO_NEED_MORE;
    }
    *hello = (struct client_hello){.resumes = false};
    read_hello(hello, (struct cursor){.at = in + RECORD_HEADER_BYTES,
                                      .end = in + RECORD_HEADER_BYTES + record_len});
    return CLIENT_HELLO_OK;
}
