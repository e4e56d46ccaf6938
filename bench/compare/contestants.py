# SPDX-License-Identifier: Apache-2.0
"""Who is measured: the relay, Debian's Mosquitto, and Dunlin with one shard and with two."""
import contextlib
import os
import resource
import socket
import subprocess
import time

SCHEMES = ('tcp', 'tls', 'ws', 'wss')

# What both brokers are allowed alike: queues that hold what a closed loop has under way, and no
# waiting by Nagle's algorithm.
MOSQUITTO_CONF = '''\
allow_anonymous true
persistence false
log_type error
set_tcp_nodelay true
max_inflight_messages 1024
max_queued_messages 10000
'''
MOSQUITTO_LISTENER = {
    'tcp': 'listener {port} 127.0.0.1\n',
    'tls': 'listener {port} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n',
    'ws': 'listener {port} 127.0.0.1\nprotocol websockets\n',
    'wss': 'listener {port} 127.0.0.1\nprotocol websockets\ncertfile {certificate}\n'
           'keyfile {key}\n',
}
DUNLIN_SETTINGS = {
    'limits.connections_per_second_per_address': 0,  # all come from one
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


def free_ports(count):
    """As many different ones: each is held until all are found."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(('127.0.0.1', 0))
        return [s.getsockname()[1] for s in sockets]


def certificate_in(folder):
    """A server's, of ECDSA P-256, and its key: made once."""
    certificate, key = os.path.join(folder, 'server.pem'), os.path.join(folder, 'server.key')
    if not os.path.exists(key):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                        'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj',
                        '/CN=localhost', '-keyout', key, '-out', certificate],
                       check=True, stderr=subprocess.DEVNULL)
        os.chmod(key, 0o644)  # mosquitto gives up root's rights before it reads
    return certificate, key


class DoesNotStart(Exception):
    pass


class Contestant:
    """A fresh process that listens on a free port for each scheme; ended by leaving the `with`."""

    def __init__(self, name, binaries, folder):
        self.name = name
        schemes = SCHEMES if name != RELAY else ('tcp',)
        self.ports = dict(zip(schemes, free_ports(len(schemes))))
        self.log = os.path.join(folder, 'contestant.log')
        self.command = self._command(binaries, folder)

    def _command(self, binaries, folder):
        if self.name == RELAY:
            return [os.path.join(binaries, 'dunlin-relay'), str(self.ports['tcp'])]
        certificate, key = certificate_in(folder)
        if self.name == MOSQUITTO:
            path = os.path.join(folder, 'mosquitto.conf')
            with open(path, 'w', encoding='utf-8') as f:
                f.write(MOSQUITTO_CONF)
                for scheme, port in self.ports.items():
                    f.write(MOSQUITTO_LISTENER[scheme].format(port=port, certificate=certificate,
                                                              key=key))
            return ['/usr/sbin/mosquitto', '-c', path]
        settings = DUNLIN_SETTINGS | {'node.shards': 1 if self.name == ONE else 2}
        for i, (scheme, port) in enumerate(self.ports.items()):
            settings[f'listeners.{i}.url'] = f'{scheme}://127.0.0.1:{port}'
            if scheme in ('tls', 'wss'):
                settings[f'listeners.{i}.certificate'] = certificate
                settings[f'listeners.{i}.key'] = key
        command = [os.path.join(binaries, 'dunlin'), '--log-level', 'warning']
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
                    raise DoesNotStart(f'{self.name} does not start:\n{f.read()[-2000:]}')
            time.sleep(0.02)
        return self

    def url(self, scheme):
        return f'{scheme}://127.0.0.1:{self.ports[scheme]}' + ('/mqtt' if 'ws' in scheme else '')

    def _listens(self):
        with socket.socket() as s:
            return s.connect_ex(('127.0.0.1', self.ports['tcp'])) == 0

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate() if self.name != RELAY else self.process.kill()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
