# SPDX-License-Identifier: Apache-2.0
"""The broker is killed while it is busy; tests/load/crash.py says what it checks."""
import os
import sys

from harness import Client, Launch, equal, finish, test

CRASH = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'load', 'crash.py')
SECONDS = 7


@test(only='dunlin', timeout=90)
def killed_under_load_it_keeps_its_word(b):
    out = finish(b.run(sys.executable, CRASH, '--bin', os.path.dirname(Launch.program), '--rounds',
                       '4', '--seconds-per-round', '1', '--silence', str(Client.timeout),
                       '--publishers', '2', '--folder', os.path.abspath(Launch.folder)),
                 8 * Client.timeout)
    equal('\nviolations 0' in out, True, out)
