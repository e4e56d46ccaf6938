# SPDX-License-Identifier: Apache-2.0
"""Nodes find each other, and know who lives (docs/cluster.md): who comes and goes, strangers, keys."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from cluster import SECONDS, Member, folder, key_file, know_each_other, write_keys
from harness import PORTS, Launch, equal, test, wait_until

SECONDS = 30


# ---- Who comes and who goes

@test(only='dunlin', timeout=60)
def three_find_each_other_and_see_who_goes(b):
    """By one seed. Who is killed is dead within 15 s, who is ended leaves at once, and who comes back is a
    later start of the same node."""
    one = Member(b, 1, [])
    two = Member(b, 2, [one])
    three = Member(b, 3, [one], data__dir=folder())
    know_each_other(one, two, three)
    equal([m.figure('members_alive') for m in (one, two, three)], [3.0] * 3)
    began, joined = time.monotonic(), one.events('node_joined', 'n3')[0]
    three.kill()
    for m in (one, two):
        equal(m.waits('node_died', 'n3')['node'], joined['node'])
    equal(time.monotonic() - began < 15 * Launch.slow, True, 'that was soon enough')
    equal((one.figure('members_alive'), one.figure('members_dead')), (2.0, 1.0))
    since = one.broker.log_size()
    three.broker.start()
    again = one.waits('node_joined', 'n3', since)
    equal((again['node'], int(again['generation'])), (joined['node'], int(joined['generation']) + 1))
    two.waits('node_joined', 'n1')
    began = time.monotonic()
    two.broker.signal(signal.SIGTERM)
    for m in (one, three):
        m.waits('node_left', 'n2')
    equal(two.broker.wait_end(), 0)
    equal(time.monotonic() - began < 5 * Launch.slow, True, 'that was at once')
    equal(one.events('node_died', 'n2'), [])
    equal((one.figure('members_dead'), one.figure('members_left')), (0.0, 1.0))


@test(only='dunlin')
def a_start_that_nobody_missed_is_told(b):
    one = Member(b, 1, [])
    two = Member(b, 2, [one], data__dir=folder())
    before = one.waits('node_joined', 'n2')
    two.kill()
    two.broker.start()
    after = one.waits('node_restarted', 'n2')
    equal((after['node'], int(after['generation'])), (before['node'], int(before['generation']) + 1))
    equal(one.events('node_died', 'n2'), [])


@test(only='dunlin')
def without_a_data_dir_each_start_is_another_node(b):
    one = Member(b, 1, [])
    two = Member(b, 2, [one], data__dir='')
    before = one.waits('node_joined', 'n2')
    two.kill()
    since = one.broker.log_size()
    two.broker.start()
    equal(one.waits('node_joined', 'n2', since)['node'] != before['node'], True)


@test(only='dunlin')
def the_node_is_the_one_of_its_data_directory(b):
    """Also of one that an earlier version has made, which has node.id only; and a file of another node's is refused."""
    data, node = folder(), '01234567-89ab-4def-8edc-ba9876543210'
    with open(os.path.join(data, 'node.id'), 'w', encoding='ascii') as f:
        f.write(node + '\n')
    one = Member(b, 1, [], data__dir=data)
    equal(one.waits('cluster_started')['node'], node)
    one.broker.stop()
    with open(os.path.join(data, 'node'), encoding='ascii') as f:
        text = f.read()
    equal(f'node {node}\n' in text and re.search(r'^generation \d{13}$', text, re.MULTILINE) is not None, True, text)
    with open(os.path.join(data, 'node'), 'w', encoding='ascii') as f:
        f.write(text.replace('node 0123', 'node 9123'))
    done = subprocess.run([Launch.program, '--listen', f'tcp://127.0.0.1:{PORTS.take()}', '--data', data, '--cluster', one.address],
                          capture_output=True, text=True, check=False, timeout=20 * Launch.slow)
    equal((done.returncode, 'msg=identity_refused' in done.stderr), (1, True), done.stderr)


# ---- Strangers, and keys

@test(only='dunlin')
def strangers_are_not_heard(b):
    """Another key, or another cluster's name: counted, and that is all."""
    key = key_file(1)
    one = Member(b, 1, [], cluster__key_file=key)
    strangers = [Member(b, 2, [one], cluster__key_file=key_file(2)),
                 Member(b, 3, [one], cluster__key_file=key, cluster__name='other')]
    wait_until(lambda: one.figure('messages_refused_total', reason='forged') >= 2.0, SECONDS)
    two = Member(b, 4, [one], cluster__key_file=key)
    know_each_other(one, two)
    equal([one.events('node_joined', s.name) for s in strangers], [[], []])
    equal([s.figure('members_alive') for s in strangers], [1.0, 1.0])


@test(only='dunlin')
def nonsense_is_counted(b):
    """Datagrams and connections of anybody; a bystander notices nothing."""
    one = Member(b, 1, [])
    host, port = one.address.split(':')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for message in (b'', b'x', bytes(1200), bytes(1400), b'\1\0' + b'\7' * 100):
            s.sendto(message, (host, int(port)))
    for start in (b'GET / HTTP/1.1\r\n\r\n', b'DLGS\xff\xff', b'DLGS\0\4abcd', b'DLNK' + bytes(48), b'DLNK' + bytes([1] * 48)):
        with socket.create_connection((host, int(port)), timeout=SECONDS) as c:
            c.sendall(start)
            equal(c.recv(1) == b'' or start[4] == 1, True)
    wait_until(lambda: one.figure('messages_refused_total', reason='malformed') >= 6.0, SECONDS)
    two = Member(b, 2, [one])
    know_each_other(one, two)


@test(only='dunlin')
def who_says_nothing_makes_room(b):
    """Also who began to knock and left it at that; a node that comes then is heard."""
    one = Member(b, 1, [])
    host, port = one.address.split(':')
    for i in range(150):
        s = socket.create_connection((host, int(port)), timeout=SECONDS)
        b.open.append(s)
        s.sendall(b'' if i % 2 else b'DLGS')
    wait_until(lambda: one.figure('connections_displaced_total') >= 80.0, SECONDS)
    two = Member(b, 2, [one])
    know_each_other(one, two)
    wait_until(lambda: one.figure('connections_timed_out_total') >= 30.0, SECONDS)


@test(only='dunlin', timeout=60)
def a_key_is_changed_without_a_death(b):
    key = key_file(1)
    one = Member(b, 1, [], cluster__key_file=key)
    two = Member(b, 2, [one], cluster__key_file=key)
    know_each_other(one, two)
    for step in ((1, 2), (2, 1), (2,)):
        write_keys(key, *step)
        for m in (one, two):
            since = m.broker.log_size()
            m.broker.signal(signal.SIGHUP)
            equal(m.waits('cluster_key_read', since=since)['keys'], str(len(step)))
        probes = one.figure('probes_total')
        wait_until(lambda: one.figure('probes_total') > probes + 1, SECONDS)
    equal([m.events(event) for m in (one, two) for event in ('node_died', 'node_suspected')], [[]] * 4)
    late = Member(b, 3, [one], cluster__key_file=key_file(1))
    wait_until(lambda: one.figure('messages_refused_total', reason='forged') >= 1.0, SECONDS)
    equal(late.figure('members_alive'), 1.0)
    with open(key, 'w', encoding='ascii') as f:
        f.write('no key\n')
    one.broker.signal(signal.SIGHUP)
    equal(one.waits('cluster_key_refused')['in_force'], 'what was read before')
    probes = one.figure('probes_total')
    wait_until(lambda: one.figure('probes_total') > probes + 1, SECONDS)
    equal(one.figure('members_alive'), 2.0)


@test(only='dunlin')
def a_copied_data_directory_is_told(b):
    """Both would be the same node. One of them at least says so, and starts over; the others know of one node."""
    data, copy = folder(), folder()
    one = Member(b, 1, [])
    two = Member(b, 2, [one], data__dir=data)
    node = one.waits('node_joined', 'n2')['node']
    shutil.copy(os.path.join(data, 'node.id'), copy)  # its generation is by the time, as the first one's was
    twin = Member(b, 3, [one], data__dir=copy)
    conflict = wait_until(lambda: twin.events('node_conflict') or two.events('node_conflict'), SECONDS * Launch.slow, 'a conflict')[0]
    equal((conflict['node'], conflict['level']), (node, 'error'))
    wait_until(lambda: twin.events('node_renewed') or two.events('node_renewed'), SECONDS * Launch.slow, 'a new start')
    equal(one.figure('members_alive'), 2.0)
