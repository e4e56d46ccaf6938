# SPDX-License-Identifier: Apache-2.0
"""What the programs of this folder share: a broker to measure, and how to look at it."""
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'e2e'))


def raise_descriptor_limit():
    """To the most that is allowed; returned."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Broker:
    """A `dunlin` on a free port, its log in a temporary file."""

    def __init__(self, folder, settings=None, listeners=None):
        """listeners: further ones, as in tests/e2e/harness.py; their addresses are at[name]."""
        self.port = free_port()
        self.at = {}
        self.address = ('127.0.0.1', self.port)
        self.log = tempfile.NamedTemporaryFile(prefix='dunlin-', suffix='.log')
        command = [os.path.join(folder, 'dunlin'), '--listen', f'tcp://127.0.0.1:{self.port}']
        for number, (name, keys) in enumerate((listeners or {}).items(), 1):
            self.at[name] = ('127.0.0.1', free_port())
            for key, value in keys.items():
                value = value.format('%s:%d' % self.at[name]) if key == 'url' else value
                command += ['--set', f'listeners.{number}.{key}={value}']
        ours = {'limits.connections_per_second_per_address': 0}  # all come from one address
        for key, value in (ours | (settings or {})).items():
            command += ['--set', f'{key}={value}']
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=self.log)
        end = time.monotonic() + 20
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                sys.exit(f'the broker does not start:\n{self.said()}')
            time.sleep(0.02)

    def _listens(self):
        with contextlib.closing(socket.socket()) as s:
            return s.connect_ex(self.address) == 0

    def said(self):
        with open(self.log.name, encoding='utf-8', errors='replace') as f:
            return f.read()

    def memory(self, field='VmRSS'):
        """KiB, of /proc/PID/status: VmRSS, RssAnon …"""
        with open(f'/proc/{self.process.pid}/status', encoding='utf-8') as f:
            return int(re.search(rf'^{field}:\s+(\d+)', f.read(), re.MULTILINE)[1])

    def processor_s(self):
        """Seconds of processor time that it has used, in its own code and in the kernel."""
        with open(f'/proc/{self.process.pid}/stat', encoding='utf-8') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        ticks = os.sysconf('SC_CLK_TCK')
        return int(fields[11]) / ticks, int(fields[12]) / ticks

    def counters(self):
        """Every counter that is not 0."""
        at = os.path.getsize(self.log.name)
        self.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with open(self.log.name, encoding='utf-8', errors='replace') as f:
                f.seek(at)
                found = re.findall(r'msg=counter name=(\S+) value=(\d+)\n', f.read())
            if any(name == 'log_lines_suppressed' for name, _ in found):  # the last of them
                return {name: int(value) for name, value in found if int(value)}
            time.sleep(0.05)
        sys.exit('the broker does not print its counters')

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                print('the broker had to be killed')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        if self.process.returncode:
            print(f'the broker ended with {self.process.returncode}:\n{self.said()[-2000:]}')


def slab_kib():
    with open('/proc/meminfo', encoding='utf-8') as f:
        return int(re.search(r'^Slab:\s+(\d+)', f.read(), re.MULTILINE)[1])


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]
