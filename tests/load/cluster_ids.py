# SPDX-License-Identifier: Apache-2.0
"""Client identifiers and wills over the nodes of a cluster (cluster.py, `ids` and `wills`)."""
import queue
import random
import select
import threading
import time

from common import percentile
import raw
import wire


# ---- ids

RESOLVED_S = 10


def packets_of(client):
    """Those that have come, as types and reasons; the end is None."""
    found = []
    while not found or wire.split(client.buffer) is not None:
        p = client.recv(RESOLVED_S)
        found.append(p and (p.type, p.reason))
        if p is None:
            break
    return found


def fight(nodes, client_id, at):
    """How long it takes until one of two is told to go."""
    clients = [raw.Client(nodes.address(name)) for name in at]
    hello = wire.connect(raw.V5, client_id, keep_alive=0)
    got = [[], []]
    begun = time.monotonic()
    for client in clients:
        client.send(hello)

    def listen(until, what):
        while not until():
            waiting = [c.sock for c, g in zip(clients, got) if None not in g]
            ready = select.select(waiting, [], [], max(0, begun + RESOLVED_S - time.monotonic()))[0]
            if not ready:
                raise AssertionError(f'{what}: {got}')
            for i, client in enumerate(clients):
                if client.sock in ready:
                    got[i] += packets_of(client)

    def told():
        return [i for i in (0, 1) if any(p is None or p[0] == raw.DISCONNECT for p in got[i])]

    try:
        listen(told, 'neither is told to go')
        took = time.monotonic() - begun
        gone = told()[0]
        listen(lambda: None in got[gone] and (raw.CONNACK, 0) in got[1 - gone], 'one goes, one stays')
        if got[gone] != [(raw.CONNACK, 0), (raw.DISCONNECT, 0x8e), None]:
            raise AssertionError(f'who goes is told {got[gone]}')
        clients[1 - gone].ping()
        return took
    finally:
        for client in clients:
            client.close()


def ids(nodes, count, faults):
    """Eight at a time."""
    numbers, times, lock = queue.SimpleQueue(), [], threading.Lock()
    for number in range(count):
        numbers.put(number)

    def work(seed):
        chance = random.Random(seed)
        while True:
            try:
                number = numbers.get_nowait()
            except queue.Empty:
                return
            try:
                took = fight(nodes, f'id-{number}', chance.sample(nodes.names, 2))
                with lock:
                    times.append(took)
            except (OSError, AssertionError) as e:
                faults.add(f'round {number}: {str(e).splitlines()[0]}')

    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    unanswered = sum(nodes.figure(name, 'dunlin_claims_unanswered_total') or 0 for name in nodes.names)
    times = times or [0.0]
    print(f'ids       {len(times)} of {count}: one stayed, {time.monotonic() - begun:.0f} s; from CONNECT until the '
          f'other was told p50 {percentile(times, 50) * 1000:.1f} ms, p99 {percentile(times, 99) * 1000:.1f} ms, '
          f'most {max(times) * 1000:.0f} ms; {unanswered:.0f} without an answer')


# ---- wills

LOST_S = 60  # until all are there
MORE_S = 20  # and it is listened for more


class WillReader(threading.Thread):
    def __init__(self, address, name):
        super().__init__(daemon=True)
        self.client = raw.Client(address)
        self.client.connect(f'reader-{name}', keep_alive=0)
        self.client.subscribe('will/#', qos=1)
        self.came = []  # (topic, when)
        self.over = False

    def run(self):
        while not self.over:
            try:
                p = self.client.recv(0.5)
            except raw.Unexpected:
                continue
            if p is None:
                return
            self.came.append((p.topic, time.monotonic()))
            self.client.acknowledge(p)


def wills(nodes, count, victim, faults):
    living = [name for name in nodes.names if name != victim]
    readers = [WillReader(nodes.address(name), name) for name in living]
    clients = []
    for i in range(count + 200):
        kind = 'due' if i < count else 'back' if i < count + 100 else 'bye'
        delay_s = 90 if kind == 'back' else i % 2 * 3
        client = raw.Client(nodes.address(victim))
        client.connect(f'{kind}-{i}', keep_alive=0, props={'session_expiry_interval': 600},
                       will=wire.Will(f'will/{kind}/{i}', b'gone', qos=1,
                                      props={'will_delay_interval': delay_s}))
        if kind == 'bye':
            client.disconnect()
        clients.append(client)
    time.sleep(2)
    for reader in readers:
        reader.start()
    killed = time.monotonic()
    nodes.kill(victim)
    for i in range(count, count + 100):
        back = raw.Client(nodes.address(living[i % len(living)]))
        back.connect(f'back-{i}', keep_alive=0, clean_start=False)
        clients.append(back)
    while time.monotonic() < killed + LOST_S and any(len(r.came) < count for r in readers):
        time.sleep(0.2)
    time.sleep(MORE_S)
    nodes.start(victim)
    nodes.wait_joined(nodes.names)
    time.sleep(MORE_S)
    want = {f'will/due/{i}': i % 2 * 3 for i in range(count)}
    for reader in readers:
        reader.over = True
        reader.join()
        topics = [topic for topic, _ in reader.came]
        missing, others = set(want) - set(topics), [t for t in topics if t not in want]
        repeated = len(topics) - len(set(topics))
        times = [[when - killed for topic, when in reader.came if want.get(topic) == delay_s] or [0.0]
                 for delay_s in (0, 3)]
        print(f'wills     {len(set(topics) & set(want))} of {count}, {repeated} repeated, {len(others)} that were '
              f'not due; after the death without a delay p50 {percentile(times[0], 50):.1f} s, most '
              f'{max(times[0]):.1f}; with one of 3 s p50 {percentile(times[1], 50):.1f}, most {max(times[1]):.1f}')
        if missing or repeated or others:
            faults.add(f'{len(missing)} wills missing ({sorted(missing)[:3]}), {repeated} repeated, {others[:3]} '
                       'not due')
    for client in clients:
        client.close()
