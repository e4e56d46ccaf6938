#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many subscriptions: what each costs in memory, and how fast they come and go.

    subscriptions.py --bin build/release/bin [--count 1000000] [--sessions 100]

Two brokers, one after the other, each with --count subscriptions spread over --sessions clients:

  distinct   each has a filter of its own, of 35 characters
  same       all sessions subscribe to the same filters

Before they are counted, one in a thousand is tried with a message. Then all clients leave, and the
memory is looked at again.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker  # noqa: E402
from raw import Client, SUBACK, V311, wire  # noqa: E402

PER_PACKET = 500
SETTLES_S = 20  # until the allocator has given back what it does not need
FILTER_BYTES = 35


def filter_of(number):
    text = f'site/{number // 10000:04}/line/{number // 100 % 100:02}/sensor/{number % 100:02}/state'
    return text + 'x' * (FILTER_BYTES - len(text))


def settled(measure):
    """Once it has not fallen for two seconds, or after 20."""
    last, since, end = measure(), time.monotonic(), time.monotonic() + 20
    while time.monotonic() < min(since + 2, end):
        time.sleep(0.2)
        now = measure()
        if now < last - 64:
            last, since = now, time.monotonic()
    return last


def subscribe_all(client, numbers):
    """One packet is under way at a time."""
    for at in range(0, len(numbers), PER_PACKET):
        client.send(wire.subscribe(V311, at // PER_PACKET + 1,
                                   [(filter_of(n), 0) for n in numbers[at:at + PER_PACKET]]))
        granted = client.expect(SUBACK).reasons
        if set(granted) != {0}:
            sys.exit(f'not granted: {set(granted)}')


def try_some(address, clients, numbers_of, takers):
    """Messages to some of the filters: each of its subscribers gets it, and nobody else does."""
    publisher = Client(address, V311)
    publisher.connect('publisher')
    for number in numbers_of[0][::1000]:
        publisher.publish(filter_of(number), b'x', qos=1)
        for client in clients[:takers]:
            client.expect_message(filter_of(number), b'x')
    publisher.disconnect()
    publisher.close()


def measure(name, args, distinct):
    each = args.count // args.sessions
    settings = {'limits.subscriptions_per_session_max': each, 'limits.packet_bytes_max': 1 << 20}
    with Broker(args.bin, settings) as broker:
        clients = []
        for i in range(args.sessions):
            client = Client(broker.address, V311)
            client.connect(f'subscriber-{i}')
            clients.append(client)
        numbers_of = [range(i * each, (i + 1) * each) if distinct else range(each)
                      for i in range(args.sessions)]
        before, begin = broker.memory(), time.monotonic()
        for client, numbers in zip(clients, numbers_of):
            subscribe_all(client, numbers)
        took = time.monotonic() - begin
        try_some(broker.address, clients, numbers_of, 1 if distinct else args.sessions)
        at_once, count = broker.memory(), each * args.sessions
        time.sleep(SETTLES_S)
        after = broker.memory()
        print(f'== {name}: {count} subscriptions to {count if distinct else each} filters of '
              f'{FILTER_BYTES} characters, {args.sessions} sessions')
        print(f'  memory            {before} -> {after} KiB: {(after - before) * 1024 / count:.0f} '
              f'bytes a subscription, its filter included; {(at_once - before) * 1024 / count:.0f} '
              'at once')
        print(f'  subscribed        in {took:.1f} s, {count / took:.0f} a second')
        begin = time.monotonic()
        for client in clients:
            client.disconnect()
            client.close()
        print(f'  all gone          {settled(broker.memory)} KiB, after '
              f'{time.monotonic() - begin:.1f} s')


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--count', type=int, default=1000000)
    parser.add_argument('--sessions', type=int, default=100)
    args = parser.parse_args()
    measure('distinct', args, True)
    measure('same', args, False)


if __name__ == '__main__':
    main()
