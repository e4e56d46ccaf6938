# SPDX-License-Identifier: Apache-2.0
"""Nodes of a cluster, for the tests."""
import base64
import os
import tempfile

from admin import Admin
from harness import PORTS, Launch, wait_until

SECONDS = 20
QUICK = {'drain.wait_s': 0, 'log.level': 'debug'}


def folder():
    return tempfile.mkdtemp(prefix='cluster-', dir=os.path.abspath(Launch.folder))


def key_file(*keys):
    path = os.path.join(folder(), 'key')
    write_keys(path, *keys)
    return path


def write_keys(path, *keys):
    with open(path + '.new', 'w', encoding='ascii') as f:
        f.writelines(base64.b64encode(bytes([key]) * 32).decode() + '\n' for key in keys)
    os.rename(path + '.new', path)


class Member:
    """One node; `of` makes its broker: Admin or Api."""

    def __init__(self, b, number, seeds, of=Admin, **settings):
        self.name, self.address = f'n{number}', f'127.0.0.{number}:{PORTS.take()}'
        self.asked = of(b, {**QUICK, 'cluster.listen': self.address, 'node.name': self.name,
                            'cluster.seeds': ','.join(s if isinstance(s, str) else s.address for s in seeds),
                            **{key.replace('__', '.'): value for key, value in settings.items()}})
        self.broker = self.asked.broker

    def events(self, event, name=None, since=0):
        return [e for e in self.broker.events(event, since) if name in (None, e.get('name'))]

    def waits(self, event, name=None, since=0, timeout=SECONDS):
        return wait_until(lambda: self.events(event, name, since), timeout * Launch.slow,
                          f'{event} of {name} at {self.name}')[-1]

    def figure(self, name, **labels):
        return self.asked.value(f'dunlin_cluster_{name}', **labels)

    def kill(self):
        self.broker.kill()


def know_each_other(*members):
    for m in members:
        for other in members:
            if other is not m:
                m.waits('node_joined', other.name)
