# SPDX-License-Identifier: Apache-2.0
"""HAProxy in front of the nodes of a cluster, as deploy/haproxy/haproxy.cfg has it in front of one: it asks
/readyz, tells who the clients are, and gives each new connection to the next node in turn.

Which node a client has got to is said by HAProxy, in a line that it logs as soon as there is a connection:
so nothing in the nodes has to be there for the test alone.
"""
import os
import socket
import subprocess
import sys
import threading
import time

import raw

CLIENTS = 1883
CONFIGURATION = '''
global
    log {log} local0
    maxconn 4000

defaults
    mode tcp
    log global
    option logasap
    log-format "%cp %s"
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout check 2s

frontend mqtt
    bind :{port}
    default_backend nodes

backend nodes
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz
    http-check expect status 200
    default-server inter 1s fall 3 rise 1 check send-proxy-v2
'''
KNOWN_S = 10


class Balancer:
    """net, host: where it runs. nodes: of each name, (address, port of the PROXY protocol, admin port)."""

    def __init__(self, net, host, folder, nodes):
        self.names = list(nodes)
        self.address = (net.address(host), CLIENTS)
        self.url = 'tcp://%s:%d' % self.address
        self.node_of = {}  # by the port that the client came from
        self.changed = threading.Condition()
        self.log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.log.bind((net.here, 0))
        path = os.path.join(folder, 'haproxy.cfg')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(CONFIGURATION.format(log='%s:%d' % self.log.getsockname(), port=CLIENTS))
            f.writelines(f'    server {name} {address}:{port} port {admin}\n'
                         for name, (address, port, admin) in nodes.items())
        self.process = subprocess.Popen(net.command(host, '/usr/sbin/haproxy', '-db', '-q', '-f', path),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        threading.Thread(target=self._listen, daemon=True).start()
        self._wait_open()

    def _wait_open(self):
        end = time.monotonic() + KNOWN_S
        while time.monotonic() < end:
            with socket.socket() as s:
                if s.connect_ex(self.address) == 0:
                    return
            time.sleep(0.05)
        sys.exit('HAProxy does not listen')

    def _listen(self):
        while True:
            line = self.log.recv(4096).decode(errors='replace').split()
            if len(line) >= 2 and line[-2].isdigit() and line[-1] in self.names:
                with self.changed:
                    self.node_of[int(line[-2])] = line[-1]
                    self.changed.notify_all()

    def connect(self, client_id):
        """A client that is connected, and the name of its node."""
        client = raw.Client(self.address)
        port = client.sock.getsockname()[1]
        client.connect(client_id=client_id)
        with self.changed:
            if not self.changed.wait_for(lambda: port in self.node_of, KNOWN_S):
                raise OSError('HAProxy does not say where a client has got to')
            return client, self.node_of.pop(port)  # the port will be another's

    def at_each(self, prefix):
        """A client on each node, however many connections that takes; the others are closed."""
        clients, number = {}, 0
        while len(clients) < len(self.names):
            number += 1
            client, name = self.connect(f'{prefix}-{number}')
            if name in clients:
                client.close()
            else:
                clients[name] = client
        return clients

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
