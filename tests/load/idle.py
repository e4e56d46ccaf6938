#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Idle connections: what each costs, in the broker's memory and in the kernel's.

    idle.py --bin build/release/bin [--count 15000] [--rounds 3] [--version 4] [--session]

Connects --count clients from several addresses of 127.0.0.0/8, lets each ping --rounds times, and
compares the broker's memory with that of the same broker at rest. Anonymous memory is what it has
allocated; the resident size counts its program's pages too. The kernel's is the growth of the slab
caches of the whole machine, which hold both ends of each connection: ours, and the clients'.
"""
import argparse
import os
import select
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker, raise_descriptor_limit, slab_kib  # noqa: E402
import wire  # noqa: E402

PER_ADDRESS = 5000


class Clients:
    """Many of them, each with at most one request that is unanswered."""

    def __init__(self, address, count, version, session):
        self.address, self.count, self.version, self.session = address, count, version, session
        self.epoll, self.socks = select.epoll(), {}

    def connect(self):
        while len(self.socks) < self.count:
            batch = min(200, self.count - len(self.socks))
            for _ in range(batch):
                n = len(self.socks)
                s = socket.socket()
                s.bind((f'127.0.0.{2 + n // PER_ADDRESS}', 0))
                s.connect(self.address)
                s.setblocking(False)
                self.socks[s.fileno()] = s
                self.epoll.register(s.fileno(), select.EPOLLIN)
                props = {'session_expiry_interval': 3600} if self.session and \
                    self.version == wire.V5 else None
                s.send(wire.connect(self.version, f'idle-{n:06}', not self.session, 300,
                                    props=props))
            self.answers(batch, wire.CONNACK)

    def answers(self, count, kind):
        end = time.monotonic() + 30
        while count > 0:
            if time.monotonic() > end:
                sys.exit(f'{count} answers did not come')
            for fd, _ in self.epoll.poll(1, 1000):
                data = self.socks[fd].recv(4096)
                if not data or data[0] >> 4 != kind or (kind == wire.CONNACK and data[3] != 0):
                    sys.exit(f'{data!r} instead of {wire.NAMES[kind]}')
                count -= 1

    def ping(self):
        """The longest that 500 at a time had to wait, in seconds."""
        longest, socks = 0.0, list(self.socks.values())
        for at in range(0, len(socks), 500):
            begin = time.monotonic()
            for s in socks[at:at + 500]:
                s.send(b'\xc0\x00')
            self.answers(len(socks[at:at + 500]), wire.PINGRESP)
            longest = max(longest, time.monotonic() - begin)
        return longest

    def close(self):
        for s in self.socks.values():
            s.close()


def settled(measure):
    """Once it no longer changes, or after ten seconds."""
    last = measure()
    for _ in range(20):
        time.sleep(0.5)
        now = measure()
        if abs(now - last) <= 16:
            return now
        last = now
    return last


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--count', type=int, default=15000)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--version', type=int, choices=(3, 4, 5), default=4)
    parser.add_argument('--session', action='store_true', help='sessions that outlive connections')
    args = parser.parse_args()
    if raise_descriptor_limit() < args.count + 100:
        sys.exit('the limit of open files is too low (ulimit -n)')

    with Broker(args.bin) as broker:
        warm = Clients(broker.address, 100, args.version, False)  # whatever is made once
        warm.connect()
        warm.ping()
        warm.close()
        before = {f: settled(lambda f=f: broker.memory(f)) for f in ('VmRSS', 'RssAnon')}
        slab = settled(slab_kib)

        clients = Clients(broker.address, args.count, args.version, args.session)
        begin = time.monotonic()
        clients.connect()
        print(f'connected           {args.count} in {time.monotonic() - begin:.1f} s, version '
              f'{args.version}')
        for round_ in range(args.rounds):
            begin = time.monotonic()
            longest = clients.ping()
            print(f'pinged, round {round_ + 1}     {time.monotonic() - begin:.2f} s, at most '
                  f'{longest * 1000:.0f} ms for 500')
        for field, name in (('VmRSS', 'resident'), ('RssAnon', 'anonymous')):
            after = settled(lambda f=field: broker.memory(f))
            print(f'{name:19} {before[field]} -> {after} KiB: '
                  f'{(after - before[field]) * 1024 / args.count:.0f} bytes per connection')
        grown = settled(slab_kib) - slab
        print(f'slab, both ends     {grown} KiB: {grown * 1024 / args.count:.0f} bytes per '
              'connection')
        # Nothing is going on: what does it cost?
        busy = broker.processor_s()
        time.sleep(5)
        idle = broker.processor_s()
        print(f'processor at rest   {(sum(idle) - sum(busy)) / 5 * 100:.2f} %')
        clients.close()


if __name__ == '__main__':
    main()
