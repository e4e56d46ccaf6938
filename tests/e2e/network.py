# SPDX-License-Identifier: Apache-2.0
"""A network of a test's own, with delay, loss and cuts: hosts are network namespaces, each with one
interface, and what goes from one to another goes through a process, which decides. Needs root, and
nothing of the kernel but TUN.

    with Network(['a', 'b', 'c']) as net:         # and `net.here`, this process' own host
        net.address('a')                          # 10.x.y.1
        net.command('a', 'dunlin', …)             # what runs a program there
        net.shape(delay_ms=5, loss=0.01)          # of all packets between the hosts, but to and from here
        net.cut([('a', 'b'), ('b', 'a')])         # these ways let nothing through; [] heals

Owner: one thread. The process behind it reads packets, and writes them when their time has come.
"""
import contextlib
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time

from namespaces import command, inside, ip, make, remove

TUNSETIFF = 0x400454ca
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_MAX = 65536
MTU = 9000
HERE = 'here'


# ---- The process in the middle. Its standard input has a line of JSON for each change of the rules.

def open_interface(name, namespace):
    """The descriptor of a new interface; namespace: None for our own."""
    with inside(namespace) if namespace is not None else contextlib.nullcontext():
        fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


class Switch:
    def __init__(self, interfaces):
        """interfaces: of each host, its address, the interface's name, and the namespace."""
        self.fds = {address: open_interface(name, namespace)
                    for address, name, namespace in interfaces}
        self.address_of = {fd: address for address, fd in self.fds.items()}
        self.apart = {interfaces[-1][0]}  # here: not shaped
        self.delay_s, self.loss, self.cuts = 0.0, 0.0, set()
        self.later, self.serial = [], 0
        self.random = random.Random(1)

    def obey(self, line):
        rules = json.loads(line)
        self.delay_s = rules.get('delay_ms', self.delay_s * 1000) / 1000
        self.loss = rules.get('loss', self.loss)
        if 'cuts' in rules:
            self.cuts = {tuple(way) for way in rules['cuts']}

    def pass_on(self, source, packet):
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        target = '.'.join(str(byte) for byte in packet[16:20])
        fd = self.fds.get(target)
        if fd is None or (source, target) in self.cuts:
            return
        if source in self.apart or target in self.apart:
            write(fd, packet)
        elif self.loss == 0 or self.random.random() >= self.loss:
            if self.delay_s == 0:
                write(fd, packet)
            else:
                self.serial += 1
                heapq.heappush(self.later, (time.monotonic() + self.delay_s, self.serial, target, fd,
                                            source, packet))

    def deliver_due(self):
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            _, _, target, fd, source, packet = heapq.heappop(self.later)
            if (source, target) not in self.cuts:
                write(fd, packet)

    def run(self):
        poll = select.epoll()
        for fd in self.address_of:
            poll.register(fd, select.EPOLLIN)
        poll.register(0, select.EPOLLIN)
        while True:
            wait = max(0.0, self.later[0][0] - time.monotonic()) if self.later else -1
            for fd, _ in poll.poll(wait):
                if fd == 0:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self.obey(line)
                    print('done', flush=True)
                    continue
                for _ in range(64):
                    try:
                        packet = os.read(fd, PACKET_MAX)
                    except BlockingIOError:
                        break
                    self.pass_on(self.address_of[fd], packet)
            self.deliver_due()


def write(fd, packet):
    try:
        os.write(fd, packet)
    except OSError:
        pass  # the interface is down, or its queue is full: lost, as packets are


# ---- The test's side

class Network:
    def __init__(self, hosts):
        pid = os.getpid()
        self.net = f'10.{64 + pid % 128}.{pid // 128 % 256}'
        self.hosts = [*hosts, HERE]
        self.namespaces = {host: f'dunlin-{pid}-{host}' for host in hosts}
        self.here = self.address(HERE)
        interfaces = []
        try:
            make(self.namespaces.values())
            for number, host in enumerate(self.hosts):
                interfaces.append((self.address(host), f'dt{pid % 100000}-{number}',
                                   self.namespaces.get(host)))
            self.process = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), json.dumps(interfaces)], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.rule({})  # the interfaces are there
            for host, (address, name, _) in zip(self.hosts, interfaces):
                where = ['-n', self.namespaces[host]] if host != HERE else []
                ip(*where, 'address', 'add', f'{address}/24', 'dev', name)
                ip(*where, 'link', 'set', name, 'mtu', str(MTU), 'up')
        except BaseException:
            self.close()
            raise

    def address(self, host):
        return f'{self.net}.{1 + self.hosts.index(host)}'

    def command(self, host, *arguments):
        return command(self.namespaces[host], *arguments)

    def inside(self, host):
        return inside(self.namespaces[host])

    def rule(self, rules):
        self.process.stdin.write(json.dumps(rules) + '\n')
        self.process.stdin.flush()
        if self.process.stdout.readline() != 'done\n':
            raise RuntimeError('the network has ended')

    def shape(self, delay_ms=0, loss=0.0):
        self.rule({'delay_ms': delay_ms, 'loss': loss})

    def cut(self, ways):
        self.rule({'cuts': [[self.address(a), self.address(b)] for a, b in ways]})

    def partition(self, *groups):
        """No packet goes from one of the groups to another; who is in none is in a group with here."""
        group = {host: number for number, hosts in enumerate(groups, 1) for host in hosts}
        hosts = [host for host in self.hosts if host != HERE]
        self.cut([(a, b) for a in hosts for b in hosts if group.get(a, 0) != group.get(b, 0)])

    def close(self):
        process = getattr(self, 'process', None)
        if process is not None:
            process.stdin.close()
            process.wait()
            process.stdout.close()
        remove(self.namespaces.values())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


if __name__ == '__main__':
    Switch(json.loads(sys.argv[1])).run()
