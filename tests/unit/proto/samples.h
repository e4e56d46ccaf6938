/* SPDX-License-Identifier: Apache-2.0 */
/* samples: fair packets of each type, version and direction, for what must hold of all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/mqtt.h"

struct sample {
    const char *name;
    enum mqtt_version version;
    bool from_server;
    const char *wire;   /* of tests/unit/proto/wire.h */
    uint64_t fair_cuts; /* bit n: cut to n bytes of body, it is a fair packet still */
    bool rewritten;     /* the encoder has another form for it */
};

extern const struct sample samples[];
extern const size_t samples_count;
