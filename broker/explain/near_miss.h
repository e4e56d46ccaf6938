/* SPDX-License-Identifier: Apache-2.0 */
/*
 * near_miss: why a filter does not match a topic although somebody may have meant it to.
 *
 * Memory: none. All functions take any valid filter and topic name, and cost at most their lengths.
 */
#pragma once

#include "proto/bytes.h"

enum near_miss {
    NEAR_MISS_NONE,    /* it matches, or is about something else */
    NEAR_MISS_CASE,    /* it would, if letters were the same small and large */
    NEAR_MISS_DOLLAR,  /* it would, but no wildcard stands for a first level that begins with $ */
    NEAR_MISS_SLASH,   /* it would, but for a / at the beginning or the end */
    NEAR_MISS_BLANK,   /* it would, but for blanks around a level */
    NEAR_MISS_PLUS,    /* its last level is +, which stands for one level: the topic has more */
    NEAR_MISS_SHORTER, /* it ends where the topic goes on */
    NEAR_MISS_LONGER,  /* the topic ends where it goes on */
    NEAR_MISS_LEVEL,   /* one level of several is another */
};

/* `filter` is plain: without $share/NAME/. */
enum near_miss near_miss_of(struct bytes filter, struct bytes topic);
