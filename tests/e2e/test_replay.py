# SPDX-License-Identifier: Apache-2.0
"""A small day of sensor traffic; tests/load/sensor_replay.py says what it checks."""
import os
import sys

from harness import Client, Launch, equal, finish, test

REPLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'load', 'sensor_replay.py')
SECONDS = 6


def replay(b, *arguments):
    all_stay = ['--all-stay'] if Launch.kind == 'mosquitto' else []
    return finish(b.run(sys.executable, REPLAY, '--port', str(b.port), *arguments, *all_stay),
                  8 * Client.timeout)


@test(timeout=90)
def sensor_day(b):
    out = replay(b, '--devices', '200', '--seed', '1')
    equal('broken promises     0' in out, True, out)


@test(full=True, timeout=90)
def sensor_day_of_few_busy_devices(b):
    out = replay(b, '--devices', '20', '--messages', '600', '--seed', '2')
    equal('broken promises     0' in out, True, out)
