# SPDX-License-Identifier: Apache-2.0
"""An attack on a broker, and what it must not do to it.

    with Siege(b, 'name', memory_kib=20000):
        …                                   # the attack

While it goes on, somebody else uses the broker (bystander.py). At the end

- the bystander has had each of its messages, once and in order, 99 of 100 within a second,
- the broker's memory has at no moment been more than memory_kib above what it was before,
- the broker comes to rest: what the attack left behind costs no processor time.

The figures go into hostile.jsonl beside the logs; `./dev load hostile` prints them as a table.
The attackers' own sockets are a Crowd.
"""
import json
import os
import socket
import subprocess
import sys
import time

from harness import Client, Launch, equal, lines_until, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
P99_MS = 1000   # of the bystander's latency; times --slow
REST = 0.25     # of a processor, at most
REST_WINDOW_S = 0.2


class Siege:
    def __init__(self, b, name, memory_kib):
        self.b, self.name, self.memory_kib = b, name, memory_kib

    def __enter__(self):
        self.bystander = self.b.run(sys.executable, os.path.join(HERE, 'bystander.py'),
                                    str(self.b.port), stdin=subprocess.PIPE)
        lines_until(self.bystander, 'ready')
        self.before_kib = self.b.status('VmRSS')
        with open(f'/proc/{self.b.process.pid}/clear_refs', 'w', encoding='utf-8') as f:
            f.write('5')  # the highest resident size is counted anew (proc(5))
        self.processor_s, self.begin = self.b.processor_s(), time.monotonic()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        took = time.monotonic() - self.begin
        seen = self._bystander()
        grown_kib = self.b.status('VmHWM') - self.before_kib
        self._record(seconds=round(took, 2), grown_kib=grown_kib,
                     highest_kib=self.b.status('VmHWM'),
                     processor_s=round(self.b.processor_s() - self.processor_s, 2), **seen)
        if not self.b.sanitized():
            equal(grown_kib < self.memory_kib, True,
                  f'{grown_kib} KiB of memory more, less than {self.memory_kib}')
        equal(seen['p99_ms'] < P99_MS * Launch.slow, True, f'the bystander saw {seen}')
        wait_until(self._at_rest, what='rest')

    def _bystander(self):
        out, _ = self.bystander.communicate(input='', timeout=90 * Launch.slow)
        equal(self.bystander.returncode, 0, f'the bystander:\n{out}')
        return json.loads(out.splitlines()[-1])

    def _at_rest(self):
        used = self.b.processor_s()
        time.sleep(REST_WINDOW_S)  # a rate needs a time
        return (self.b.processor_s() - used) / REST_WINDOW_S < REST

    def _record(self, **figures):
        with open(os.path.join(Launch.folder, 'hostile.jsonl'), 'a', encoding='utf-8') as f:
            f.write(json.dumps({'attack': self.name, **figures}) + '\n')


class Crowd:
    """Sockets from addresses of their own, so that ports do not run out."""

    def __init__(self, b, address=None):
        """address: of another listener than the plain one."""
        self.address, self.count, self.socks = address or b.address, 0, []

    def open(self):
        s = socket.socket()
        s.bind((f'127.0.{1 + self.count // 10000 % 250}.1', 0))
        s.settimeout(Client.timeout)
        s.connect(self.address)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.count += 1
        self.socks.append(s)
        return s

    def close(self):
        for s in self.socks:
            s.close()
        self.socks.clear()

    def left(self):
        """How many of them the broker has not closed."""
        self.socks = [s for s in self.socks if not closed(s)]
        return len(self.socks)

    def ended(self):
        return self.left() == 0


def closed(s):
    """Reads what is there; true: the other end has closed, and so is this one now."""
    s.setblocking(False)
    try:
        while True:
            if not s.recv(1 << 16):
                s.close()
                return True
    except BlockingIOError:
        return False
    except OSError:
        s.close()
        return True


def fewer(b, count):
    """Under a sanitizer all is about ten times as slow."""
    return count // 10 if b.sanitized() else count
