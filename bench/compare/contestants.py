# SPDX-License-Identifier: Apache-2.0
"""Who is measured: the relay, Debian's Mosquitto, and Dunlin with one shard and with two."""
import os
import resource
import socket
import subprocess
import time

# What both brokers are allowed alike: queues that hold what a closed loop has under way, and no
# waiting by Nagle's algorithm.
MOSQUITTO_CONF = '''\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_type error
set_tcp_nodelay true
max_inflight_messages 1024
max_queued_messages 10000
'''
DUNLIN_SETTINGS = {
    'limits.packet_bytes_max': 4 << 20,
    'limits.subscriptions_per_session_max': 1000000,
    'limits.output_bytes_max': 64 << 20,
    'limits.session_queue_bytes_max': 1 << 30,
}

RELAY, MOSQUITTO, ONE, TWO = 'relay', 'mosquitto', 'dunlin, 1 shard', 'dunlin, 2 shards'
BROKERS = (MOSQUITTO, ONE, TWO)
ALL = (RELAY, *BROKERS)


def raise_descriptor_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Contestant:
    """A fresh process that listens on a free port; ended by leaving the `with`."""

    def __init__(self, name, binaries, folder):
        self.name = name
        self.port = free_port()
        self.log = os.path.join(folder, 'contestant.log')
        self.command = self._command(binaries, folder)

    def _command(self, binaries, folder):
        if self.name == RELAY:
            return [os.path.join(binaries, 'dunlin-relay'), str(self.port)]
        if self.name == MOSQUITTO:
            path = os.path.join(folder, 'mosquitto.conf')
            with open(path, 'w', encoding='utf-8') as f:
                f.write(MOSQUITTO_CONF.format(port=self.port))
            return ['/usr/sbin/mosquitto', '-c', path]
        settings = DUNLIN_SETTINGS | {'node.shards': 1 if self.name == ONE else 2}
        command = [os.path.join(binaries, 'dunlin'), '--listen', f'tcp://127.0.0.1:{self.port}',
                   '--log-level', 'warning']
        for key, value in settings.items():
            command += ['--set', f'{key}={value}']
        return command

    def __enter__(self):
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        end = time.monotonic() + 20
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                with open(self.log, encoding='utf-8', errors='replace') as f:
                    raise RuntimeError(f'{self.name} does not start:\n{f.read()[-2000:]}')
            time.sleep(0.02)
        return self

    def _listens(self):
        with socket.socket() as s:
            return s.connect_ex(('127.0.0.1', self.port)) == 0

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate() if self.name != RELAY else self.process.kill()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
