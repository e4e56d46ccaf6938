# SPDX-License-Identifier: Apache-2.0
"""cluster.py's `partition`: ways between nodes are cut, in every shape, while clients of all of them
subscribe, unsubscribe, set and delete retained messages; healed, all nodes have to have the same.

Of each node there are topics that its client alone writes: what he wrote last has to be there, and nothing
else. Those that all write have to be the same everywhere, and what somebody wrote last.
"""
import itertools
import json
import random
import time

EQUAL_S = 120  # until all are; more is a fault
OWN, SHARED, FILTERS = 40, 20, 30


def shapes(names):
    """(what it is, the ways that let nothing through)"""
    def parts(*groups):
        group = {name: number for number, names_of in enumerate(groups) for name in names_of}
        return [(a, b) for a, b in itertools.permutations(names, 2) if group[a] != group[b]]

    def split(sizes):
        rest, groups = list(names), []
        for size in sizes:
            groups.append(rest[:size])
            rest = rest[size:]
        return parts(*groups)

    if len(names) == 3:
        for name in names:
            yield f'{name} | the others', parts([name], [n for n in names if n != name])
        yield '1|1|1', split([1, 1, 1])
        for a, b in itertools.permutations(names, 2):
            yield f'{a} to {b}', [(a, b)]
        return
    count = len(names)
    yield f'{count - 1}|1', split([count - 1, 1])
    yield f'{count - 2}|2', split([count - 2, 2])
    yield '2|2|1', split([2, 2, count - 4])
    yield 'each alone', split([1] * count)
    middle, one = names[count // 2], names[:count // 2]
    yield f'a bridge, {middle}', [(a, b) for a, b in parts(one, [n for n in names if n not in one])
                                  if middle not in (a, b)]
    yield 'a ring', [(a, b) for a, b in itertools.permutations(names, 2)
                     if (names.index(a) - names.index(b)) % count not in (1, count - 1)]
    yield 'one way', [(names[0], names[1])]
    yield 'one way, all from one', [(names[0], n) for n in names[1:]]
    yield 'one way, round about', [(names[i], names[(i + 1) % count]) for i in range(count)]


class Writer:
    """A node's client."""

    def __init__(self, name, client, chance):
        self.name, self.client, self.chance = name, client, chance
        self.own, self.shared, self.filters, self.serial = {}, {}, set(), 0

    def write(self, topic, into):
        self.serial += 1
        payload = b'' if self.chance.random() < 0.4 else f'{self.name}/{self.serial}'.encode()
        self.client.publish(topic, payload, qos=0, retain=True)
        into[topic] = payload

    def step(self):
        for _ in range(5):
            self.write(f'own/{self.name}/{self.chance.randrange(OWN)}', self.own)
        self.write(f'shared/{self.chance.randrange(SHARED)}', self.shared)
        topic_filter = f'filter/{self.name}/{self.chance.randrange(FILTERS)}/+'
        if topic_filter in self.filters:
            self.client.unsubscribe(topic_filter)
        else:
            self.client.subscribe(topic_filter, qos=1)
        self.filters ^= {topic_filter}
        self.client.ping()


def digests(nodes, what):
    """Of each node, what it says of each living one; None: one of them does not answer."""
    said = {}
    for name in nodes.names:
        text = nodes.ask(name, '/api/v1/cluster', key=nodes.admin_key)
        if text is None:
            return None
        members = {m['name']: m[what] for m in json.loads(text)['members'] if m['state'] == 'alive'}
        if set(members) != set(nodes.names):
            return None
        said[name] = members
    return said


def are_equal(nodes):
    retained, interest = digests(nodes, 'retained_digest'), digests(nodes, 'interest_digest')
    if retained is None or interest is None:
        return False
    return len({d for members in retained.values() for d in members.values()}) == 1 and all(
        members[name] == interest[name][name] for members in interest.values() for name in nodes.names)


def retained_of(nodes, name, raw):
    """By topic; all that comes within a second of the last one."""
    client, got = raw.Client(nodes.address(name)), {}
    client.connect(client_id=f'look-{name}')
    client.subscribe('own/#', qos=0)
    client.subscribe('shared/#', qos=0)
    while True:
        try:
            packet = client.expect_message(timeout=1)
        except (OSError, AssertionError):
            break
        got[packet.topic] = packet.payload
    client.close()
    return got


def judge(nodes, writers, faults, raw, what):
    want = {topic: payload for w in writers for topic, payload in w.own.items() if payload}
    seen = {name: retained_of(nodes, name, raw) for name in nodes.names}
    for name, got in seen.items():
        own = {topic: payload for topic, payload in got.items() if topic.startswith('own/')}
        back = sorted(set(own) - set(want))
        lost = sorted(topic for topic in want if own.get(topic) != want[topic])
        if back or lost:
            faults.add(f'{what}: {name} has {len(back)} that were deleted, as {back[:3]}, and lacks {len(lost)}, '
                       f'as {lost[:3]}')
    shared = [{topic: payload for topic, payload in got.items() if topic.startswith('shared/')}
              for got in seen.values()]
    if any(one != shared[0] for one in shared):
        faults.add(f'{what}: topics that all write are not the same')
    for i in range(SHARED):
        topic = f'shared/{i}'
        last = {w.shared.get(topic, b'') for w in writers}
        if shared[0].get(topic, b'') not in last:
            faults.add(f'{what}: {topic} is what nobody wrote last')


def wait_equal(nodes):
    """Seconds; None: they are not."""
    begun = time.monotonic()
    while not are_equal(nodes):
        if time.monotonic() - begun > EQUAL_S:
            return None
        time.sleep(0.1)
    return time.monotonic() - begun


def partition(nodes, net, faults, raw, cuts_s):
    """cuts_s: for how long; one round of all shapes for each."""
    clients = nodes.at_each('writer')
    writers = [Writer(name, clients[name], random.Random(name)) for name in nodes.names]
    for w in writers:
        w.step()
    wait_equal(nodes)
    all_times, rounds = [], 0
    for cut_s in cuts_s:
        times = []
        for what, ways in shapes(nodes.names):
            rounds += 1
            net.cut(ways)
            end = time.monotonic() + cut_s
            while time.monotonic() < end:
                for w in writers:
                    w.step()
            net.cut([])
            took = wait_equal(nodes)
            if took is None:
                faults.add(f'{what}, {cut_s} s: not equal after {EQUAL_S} s: {digests(nodes, "retained_digest")}')
                continue
            times.append(took)
            judge(nodes, writers, faults, raw, f'{what}, {cut_s} s')
        all_times += times
        print(f'partition {len(nodes.names)} nodes, each shape for {cut_s} s: equal after '
              f'{sum(times) / max(1, len(times)):.1f} s, most {max(times, default=0):.1f}', flush=True)
    writes = sum(w.serial for w in writers)
    print(f'          {rounds} cuts, {writes} retained messages and deletions, {faults.count} faults')
