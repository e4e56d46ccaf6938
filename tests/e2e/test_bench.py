# SPDX-License-Identifier: Apache-2.0
"""The load generator: it loses nothing of its own, and it sees what the broker loses."""
import json
import os

from harness import Client, Launch, equal, test

SHORT = ('--duration', '0.5', '--warmup', '0.1', '--quiet', '--json', '-')
SECONDS = 11


def bench(b, *arguments):
    """(exit status, its JSON)."""
    program = os.path.join(os.path.dirname(os.path.abspath(Launch.program)), 'dunlin-bench')
    process = b.run(program, *arguments, '--url', f'tcp://127.0.0.1:{b.port}', *SHORT)
    out, _ = process.communicate(timeout=8 * Client.timeout)
    equal(process.returncode in (0, 1), True, out)
    return process.returncode, json.loads(out)


@test(only='dunlin', timeout=90, each=[
    ('pair', '--qos', '0', '--version', '4'), ('pair', '--qos', '2', '--version', '5'),
    ('pair', '--rate', '2000', '--qos', '1', '--pid', 'PID'),
    ('fan-in', '--qos', '1', '--publishers', '20', '--window', '20'),
    ('fan-out', '--payload', '40000', '--subscribers', '5', '--window', '4', '--qos', '1'),
    ('shared', '--qos', '1', '--publishers', '10', '--subscribers', '10', '--window', '20'),
    ('wildcard', '--foreign', '2000', '--foreign-churn', '2000', '--rate', '1000', '--qos', '1'),
    ('retained', '--topics', '200', '--version', '5'), ('offline', '--version', '5')])
def nothing_is_lost(b, *arguments):
    pid = str(b.process.pid)
    status, run = bench(b, *(pid if a == 'PID' else a for a in arguments))
    faults = {key: run[key] for key in ('lost', 'duplicates', 'disordered', 'broken_connections')}
    equal(faults, {key: 0 for key in faults})
    equal(status, 0)
    equal(run['expected'] == run['received'] > 0, True, run)


@test(only='dunlin', timeout=90)
def loss_is_seen(b):
    """200 messages of 1 KiB at a time, for a client that may have 1 KiB unsent."""
    other = b.another({'limits.output_bytes_max': 1024})
    load = ('pair', '--publishers', '1', '--rate', '4000', '--burst', '200', '--payload', '1024',
            '--drain', '0.5')
    status, run = bench(other, *load)
    equal(status, 0, 'QoS 0 promises nothing')
    equal(run['lost'] > 0, True, run)
    equal(run['expected'], run['received'] + run['lost'])
    equal(bench(other, *load, '--strict')[0], 1)


@test(only='dunlin', timeout=90)
def connections_come_and_go(b):
    status, run = bench(b, 'churn', '--idle', '5')
    equal((status, run['broken_connections'], run['refused']), (0, 0, 0))
    equal(run['stages']['churn']['operations'] > 0, True, run)
