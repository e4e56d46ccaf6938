/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive_buffer: what is not to be read is hidden from everybody, so that a handler that keeps a
 * pointer into a receive buffer, or reads beyond what came, is caught by AddressSanitizer. Without
 * it nothing is done. Internal to broker/io.
 */
#pragma once

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define RECEIVE_BUFFER_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RECEIVE_BUFFER_HAS_ASAN 1
#endif
#endif

#ifdef RECEIVE_BUFFER_HAS_ASAN
#include <sanitizer/asan_interface.h>
#endif

static inline void receive_buffer_hide(const void *bytes, size_t len)
{
#ifdef RECEIVE_BUFFER_HAS_ASAN
    ASAN_POISON_MEMORY_REGION(bytes, len);
#else
    (void)bytes;
    (void)len;
#endif
}

static inline void receive_buffer_show(const void *bytes, size_t len)
{
#ifdef RECEIVE_BUFFER_HAS_ASAN
    ASAN_UNPOISON_MEMORY_REGION(bytes, len);
#else
    (void)bytes;
    (void)len;
#endif
}
