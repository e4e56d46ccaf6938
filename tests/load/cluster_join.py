# SPDX-License-Identifier: Apache-2.0
"""A node comes to a cluster whose clients are subscribed to a great many filters: how long it takes until it
has all of them, what that costs in bytes and memory, and what the clients of the others notice.

Two nodes have the filters, half each, and pass messages to each other meanwhile at a steady rate. The third
one was there before they were subscribed to, so that what it takes without them is known.
"""
import json
import os
import re
import subprocess
import time

from raw import Client, SUBACK, V311, wire
from subscriptions import filter_of

SESSIONS = 100
PER_PACKET = 500
RATE = 1000
QUIET_S, LATE_MOST_S = 10, 120
MIB = 1 << 20


def settings(filters):
    """So that each session may have its share."""
    each = max(10000, -(-filters // SESSIONS))
    return {'limits.subscriptions_per_session_max': each,
            'limits.subscription_bytes_per_session_max': each * 1000,
            'limits.packet_bytes_max': MIB, 'limits.message_memory_max': 4 << 30}


def subscribed(nodes, filters, faults):
    """Clients, which are to be kept."""
    clients, each = [], filters // SESSIONS
    for number in range(SESSIONS):
        client = Client(nodes.address(nodes.names[number % 2]), V311)
        client.connect(f'subscriber-{number}', keep_alive=0)
        clients.append(client)
        mine = range(number * each, (number + 1) * each)
        for at in range(0, each, PER_PACKET):
            client.send(wire.subscribe(V311, at // PER_PACKET + 1,
                                       [(filter_of(n), 0) for n in mine[at:at + PER_PACKET]]))
            granted = set(client.expect(SUBACK, timeout=60).reasons)
            if granted != {0}:
                faults.add(f'not granted: {granted}')
    return clients


def noticed(folder, nodes, seconds):
    """A load from the first to the second, and back; what it measures is in the files."""
    running = []
    for number, (a, b) in enumerate(((0, 1), (1, 0))):
        out = os.path.join(nodes.folder.name, f'noticed-{number}.json')
        running.append((out, subprocess.Popen(
            [os.path.join(folder, 'dunlin-bench'), 'pair', '--publishers', '10', '--qos', '1',
             '--rate', str(RATE // 2), '--url', nodes.url(nodes.names[a]),
             '--subscribe-url', nodes.url(nodes.names[b]), '--warmup', '1', '--duration', str(seconds),
             '--drain', '10', '--quiet', '--json', out],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)))
    return running


def told(what, running, faults):
    for out, process in running:
        process.wait()
        with open(out, encoding='utf-8') as f:
            said = json.load(f)
        late = said['latency_ns']
        print(f'          {what}: p50 {late["p50"] / 1e6:.2f} ms, p99 {late["p99"] / 1e6:.2f} ms, '
              f'most {late["most"] / 1e6:.1f} ms', flush=True)
        if said['lost'] or said['duplicates'] or said['disordered']:
            faults.add(f'{what}: {said["lost"]} lost, {said["duplicates"]} repeated, '
                       f'{said["disordered"]} out of order')


def turns(nodes, name):
    """Of its shards' turns: how many were no longer than each of these times, in s."""
    counts = {}
    for line in (nodes.ask(name, '/metrics') or '').splitlines():
        found = re.match(r'dunlin_turn_seconds_bucket\{.*le="([^"]+)".*\} (\d+)$', line)
        if found:
            counts[float(found[1])] = counts.get(float(found[1]), 0) + int(found[2])
    return counts


def longest(now, before):
    """The time, in ms, that no turn since was longer than; and that of all but one in a thousand."""
    since = {le: count - before.get(le, 0) for le, count in sorted(now.items())}
    return [min((le for le, count in since.items() if count >= share * max(since.values())),
                default=0) * 1000 for share in (1, 0.999)]


def watched(nodes, name, filters, begun):
    """Seconds until it is ready, and until it has all the filters, None: not in time; and its turns until
    it first answered, as the first are about its disk."""
    ready = whole = None
    began = {}
    while (ready is None or whole is None) and time.monotonic() - begun < LATE_MOST_S:
        began = began or turns(nodes, name)
        if ready is None and nodes.ask(name, '/readyz') is not None:
            ready = time.monotonic() - begun
        if whole is None and (nodes.figure(name, 'dunlin_filters') or 0) >= filters:
            whole = time.monotonic() - begun
        time.sleep(0.02)
    return ready, whole, began


def arrives(nodes, name, number):
    """Does a message that is published there reach the one who is subscribed to that filter?"""
    with Client(nodes.address(name), V311) as publisher:
        publisher.connect('publisher')
        publisher.publish(filter_of(number), b'x', qos=1)
        publisher.disconnect()


def join(folder, nodes, filters, faults):
    first, second, new = nodes.names[0], nodes.names[1], nodes.names[-1]
    time.sleep(2)
    empty = {name: nodes.memory(name) for name in nodes.names}
    nodes.end(new)
    begun = time.monotonic()
    clients = subscribed(nodes, filters, faults)
    print(f'join      {filters} filters subscribed to at two nodes in {time.monotonic() - begun:.1f} s',
          flush=True)
    time.sleep(5)
    full = {name: nodes.memory(name) for name in (first, second)}
    told('before', noticed(folder, nodes, QUIET_S), faults)

    running = noticed(folder, nodes, QUIET_S)
    time.sleep(2)
    before = {name: nodes.processor_s(name) for name in (first, second)}
    turned = {name: turns(nodes, name) for name in (first, second)}
    begun = time.monotonic()
    nodes.start(new)
    ready, whole, turned[new] = watched(nodes, new, filters, begun)
    used = {name: nodes.processor_s(name) - before[name] for name in (first, second)}
    used[new] = nodes.processor_s(new)
    for name in (first, second, new):
        most, nearly = longest(turns(nodes, name), turned[name])
        print(f'          {name}: no turn of a shard longer than {most:.2f} ms, all but one in a thousand '
              f'{nearly:.2f}', flush=True)
    if ready is None or whole is None or ready < whole - 0.2:
        faults.add(f'ready after {ready} s, with all filters after {whole} s')
    told('meanwhile', running, faults)
    for client, number in ((clients[0], 0), (clients[-1], (SESSIONS - 1) * (filters // SESSIONS))):
        arrives(nodes, new, number)
        client.expect_message(filter_of(number), b'x')
    sent = sum(nodes.figure(name, 'dunlin_link_bytes_sent_total') for name in (first, second))
    got = nodes.figure(new, 'dunlin_link_bytes_received_total')
    time.sleep(2)
    print(f'          ready after {ready or -1:.2f} s, all filters after {whole or -1:.2f} s; {got / MIB:.1f} MiB '
          f'came by its links, {got / filters:.0f} bytes a filter ({sent / MIB:.1f} MiB sent by the others '
          'since their start)')
    print(f'          processor time, s: {", ".join(f"{name} {s:.2f}" for name, s in used.items())}')
    for name in (first, second, new):
        now = full.get(name) or nodes.memory(name)
        index = nodes.figure(name, 'dunlin_index_bytes')
        print(f'          {name}: {empty[name] / MIB:.0f} -> {now / MIB:.0f} MiB resident, '
              f'{(now - empty[name]) / filters:.0f} bytes a filter; the index {index / filters:.0f}')
    for client in clients:
        client.close()
