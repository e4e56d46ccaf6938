# SPDX-License-Identifier: Apache-2.0
"""Directories that former versions have written are started on, and nothing of them is lost."""
import os
import shutil
import struct
import tempfile

from harness import Launch, equal, test, wait_until

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fixtures')
FORMATS = sorted(int(name[len('format-'):]) for name in os.listdir(FIXTURES) if name != 'README.md')
CURRENT = 5  # STORE_FORMAT
SET = {'node.shards': 1}
SECONDS = 13


class Restored:
    """The fixture, as a data directory; removed when the test ends."""

    def __init__(self, b, number):
        from test_process import dunlin  # not above: its tests would be this module's, too
        self.folder = tempfile.mkdtemp(prefix='formats-', dir=os.path.abspath(Launch.folder))
        self.path = os.path.join(self.folder, 'data')
        b.open.append(self)
        status, said = dunlin('restore', '--from', os.path.join(FIXTURES, f'format-{number}'),
                              '--data', self.path)
        equal(status, 0, said)

    def close(self):
        shutil.rmtree(self.folder)


def resumed(broker, client_id):
    c = broker.client()
    found = c.connect(client_id, clean_start=False, props={'session_expiry_interval': 0xffffffff})
    equal(found.session_present, True, f'session of {client_id}')
    return c


def retained(broker, topic):
    c = broker.connected()
    c.subscribe(topic)
    return c


@test(only='dunlin', each=[(number, shards) for number in FORMATS for shards in (1, 2, 5)])
def a_former_version_s_directory_is_started_on(b, number, shards):
    settings = {'data.dir': Restored(b, number).path, 'node.shards': shards}
    for former in (number, CURRENT):  # also once more, when it has been started on
        n = b.another(settings)
        wait_until(lambda n=n: n.events('revived'), what='a line revived')
        if former < CURRENT:
            wait_until(lambda n=n: n.events('store_upgraded'), what='a line store_upgraded')
        equal([(line['from'], line['to']) for line in n.events('store_upgraded')],
              [(str(former), str(CURRENT))] if former < CURRENT else [])
        equal(n.events('journal_refused') + n.events('checkpoint_refused'), [])
        b.open.remove(n)
        n.stop()
    n = b.another(settings)
    c = resumed(n, 'old-checkpoint')
    c.expect_message('x/1', b'in the checkpoint')
    c.expect_message('x/2', b'in the journal')
    c.expect_message('x/3', b'twice', qos=2)
    c.expect_nothing()
    c = resumed(n, 'old-journal')
    c.expect_message('x/2', b'in the journal')
    c.expect_message('x/3', b'twice', qos=2)
    c.expect_nothing()
    retained(n, 'r/1').expect_message('r/1', b'replaced', qos=0, retain=True)
    retained(n, 'r/2').expect_message('r/2', b'retained in the journal', qos=0, retain=True)
    will = resumed(n, 'old-will')
    n.connected().publish('y', b'it still subscribes', qos=1)
    will.expect_message('y', b'it still subscribes')
    resumed(n, 'old-delayed')
    witness = resumed(n, 'old-witness')
    witness.expect_message('w/gone', b'published once')
    witness.expect_nothing()  # the will of old-gone, which has none any more


# ---- What no version has written

def crc32c(data, crc=0):
    crc ^= 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def entries(data):
    """Where those of a segment begin."""
    at = 64
    while at < len(data):
        yield at
        at += 40 + (struct.unpack_from('<I', data, at + 8)[0] + 7) // 8 * 8


def with_another_type(data, at, kind):
    """The segment, its entry there of that type; its sums (cluster/journal/record.h) are right."""
    size = 40 + (struct.unpack_from('<I', data, at + 8)[0] + 7) // 8 * 8
    head, body = data[at + 8:at + 40], bytes([kind]) + data[at + 41:at + size]
    seed = crc32c(data[12:16] + data[32:40], crc32c(data[16:32]))
    head_sum = crc32c(head, seed)
    equal(struct.unpack_from('<I', data, at + 4)[0], head_sum, 'the sum as it was')
    sums = struct.pack('<II', crc32c(body, head_sum), head_sum)
    return data[:at] + sums + head + body + data[at + size:]


@test(only='dunlin')
def an_entry_that_is_not_known_is_refused(b):
    """Whatever was read before it, the process ends cleanly and says why."""
    from test_process import dunlin
    folder = Restored(b, 1).path
    journal = os.path.join(folder, 'journal')
    path = os.path.join(journal, sorted(os.listdir(journal))[-1])
    with open(path, 'rb') as f:
        data = f.read()
    for at in entries(data):
        with open(path, 'wb') as f:
            f.write(with_another_type(data, at, 99))
        status, said = dunlin('--listen', 'tcp://127.0.0.1:0', '--data', folder)
        equal((status, 'does not understand' in said, 'Sanitizer' in said), (1, True, False), said)
        equal('store_upgraded' in said, False, 'the version before may be tried again')
    with open(path, 'wb') as f:
        f.write(data)
    n = b.another({'data.dir': folder, 'node.shards': 1})
    wait_until(lambda: n.events('store_upgraded'), what='a line store_upgraded')
    equal(n.events('store_upgraded')[0]['from'], '1')
