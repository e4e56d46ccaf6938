#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A subscriber that stops reading while it is flooded: the broker's memory stays within its bounds,
others do not notice, and the counters say what was dropped.

    slow_subscriber.py --bin build/release/bin [--rate 100000] [--seconds 15] [--qos 0]

Three phases, each with the same flood of 1 KiB messages and the same probe, which publishes 200
messages a second to a subscriber of its own and measures how long they take:

  reading    the flood's one subscriber reads all of it
  stopped    besides, one more has subscribed to the flood and does not read
  again      without that one, to see how much the figures vary by themselves

The broker is limited to 8 MiB of unsent bytes and to a queue of 16 MiB and 10,000 messages.
"""
import argparse
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import Broker, percentile  # noqa: E402
from raw import Client, V311  # noqa: E402

BYTES = 1024
SETTINGS = {'limits.output_bytes_max': 8 << 20, 'limits.session_queue_bytes_max': 16 << 20,
            'limits.session_queue_messages_max': 10000, 'limits.message_memory_max': 256 << 20}


class Probe:
    """Messages that are of no interest but for the time that they take."""

    def __init__(self, address):
        self.publisher, self.subscriber = Client(address, V311), Client(address, V311)
        self.publisher.connect('probe-publisher')
        self.subscriber.connect('probe-subscriber')
        self.subscriber.subscribe('probe', qos=0)
        self.latencies, self.running = [], True
        self.threads = [threading.Thread(target=f) for f in (self.send, self.receive)]
        for t in self.threads:
            t.start()

    def send(self):
        due = time.monotonic()
        while self.running:
            due += 0.005
            time.sleep(max(0.0, due - time.monotonic()))
            self.publisher.publish('probe', str(time.monotonic_ns()).encode())
        self.publisher.publish('probe', b'end')

    def receive(self):
        while True:
            payload = self.subscriber.recv().payload
            if payload == b'end':
                return
            self.latencies.append((time.monotonic_ns() - int(payload)) / 1e6)

    def stop(self):
        self.running = False
        for t in self.threads:
            t.join()
        self.publisher.close()
        self.subscriber.close()
        return self.latencies


def phase(name, broker, args, stopped):
    slow = None
    if stopped:
        slow = Client(broker.address, V311, receive_buffer=4096)
        slow.connect('slow')
        slow.subscribe('flood', qos=args.qos)
    before, counted, busy = broker.memory(), broker.counters(), broker.processor_s()
    flood = [os.path.join(args.bin, 'flood'), str(broker.port)]
    taker = subprocess.Popen([*flood, 'take', 'flood', '0', str(args.seconds + 2)],
                             stdout=subprocess.PIPE, text=True)
    probe = Probe(broker.address)
    time.sleep(0.5)
    publisher = subprocess.Popen([*flood, 'publish', 'flood', str(args.qos), str(BYTES),
                                  str(args.rate), str(args.seconds)],
                                 stdout=subprocess.PIPE, text=True)
    most = before
    while publisher.poll() is None:
        most = max(most, broker.memory())
        time.sleep(0.1)
    latencies = probe.stop()
    used = [now - then for now, then in zip(broker.processor_s(), busy)]
    print(f'== {name}')
    print(f'  flood             {publisher.stdout.read().strip()}')
    print(f'  its subscriber    {taker.communicate()[0].strip()}')
    print(f'  probe             p50 {percentile(latencies, 50):.2f} ms, '
          f'p99 {percentile(latencies, 99):.2f} ms, longest {max(latencies):.1f} ms, '
          f'{len(latencies)} messages')
    print(f'  broker            {before} KiB before, {most} KiB at most: '
          f'{(most - before) / 1024:.1f} MiB more; {used[0]:.1f} s user, {used[1]:.1f} s system')
    for counter, value in sorted(broker.counters().items()):
        grown = value - counted.get(counter, 0)
        if grown and (counter.startswith('drop_') or counter in ('publish_received', 'publish_sent',
                                                                 'publish_stalled')):
            print(f'  {counter:32} {grown}')
    if slow is not None:
        slow.close()
    return percentile(latencies, 50), percentile(latencies, 99)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--rate', type=int, default=100000)
    parser.add_argument('--seconds', type=int, default=15)
    parser.add_argument('--qos', type=int, choices=(0, 1), default=0)
    args = parser.parse_args()
    with Broker(args.bin, SETTINGS) as broker:
        for name, stopped in (('reading', False), ('stopped', True), ('again', False)):
            phase(name, broker, args, stopped)


if __name__ == '__main__':
    main()


