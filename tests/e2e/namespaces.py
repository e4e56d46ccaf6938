# SPDX-License-Identifier: Apache-2.0
"""Hosts of a test's own: network namespaces with addresses, joined by pairs of interfaces. Needs root.

    hosts = Hosts(b, {'pod': ['10.77.0.2'], 'balancer': ['10.77.0.1', '10.78.0.1'], …},
                  [('pod', 'balancer'), …])     # the n-th cable takes each one's next address
    hosts.command('pod', 'ip', 'address')       # what runs a program there
    with hosts.inside('pod'): …                 # sockets that are made here are that host's
"""
import contextlib
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def setns(fd):
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), 'setns')


def ip(*arguments):
    subprocess.run(['ip', *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True)


@contextlib.contextmanager
def inside(namespace):
    """This thread alone is there meanwhile: sockets that are made here are of there."""
    with open('/proc/thread-self/ns/net', 'rb') as here, open(f'/run/netns/{namespace}', 'rb') as there:
        setns(there.fileno())
        try:
            yield
        finally:
            setns(here.fileno())


def make(namespaces):
    for name in namespaces:
        ip('netns', 'add', name)
        ip('-n', name, 'link', 'set', 'lo', 'up')


def remove(namespaces):
    for name in namespaces:
        subprocess.run(['ip', 'netns', 'delete', name], check=False, stdin=subprocess.DEVNULL, capture_output=True)


def command(namespace, *arguments):
    return ['ip', 'netns', 'exec', namespace, *arguments]


class Hosts:
    def __init__(self, b, hosts, cables):
        self.names = {name: f'dunlin-{os.getpid()}-{name}' for name in hosts}
        left = {name: list(addresses) for name, addresses in hosts.items()}
        b.open.append(self)
        make(self.names.values())
        for number, ends in enumerate(cables):
            interfaces = [f'd{os.getpid() % 100000}-{number}{side}' for side in 'ab']
            ip('link', 'add', interfaces[0], 'type', 'veth', 'peer', 'name', interfaces[1])
            for host, interface in zip(ends, interfaces):
                ip('link', 'set', interface, 'netns', self.names[host])
                ip('-n', self.names[host], 'address', 'add', f'{left[host].pop(0)}/24', 'dev', interface)
                ip('-n', self.names[host], 'link', 'set', interface, 'up')

    def command(self, host, *arguments):
        return command(self.names[host], *arguments)

    def inside(self, host):
        return inside(self.names[host])

    def close(self):
        remove(self.names.values())
