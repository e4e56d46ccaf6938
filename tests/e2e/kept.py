# SPDX-License-Identifier: Apache-2.0
"""Sessions that outlive their connections, and brokers that are started anew on the same directory."""
import os
import shutil
import signal
import tempfile

from harness import Launch, equal, wait_until
from raw import V5, Client, until_end

LASTS = {'session_expiry_interval': 300}


def again(broker, how='SIGKILL', settings=None):
    """Another process on the same directory. Those who were connected have lost their connection."""
    end(broker, how)
    broker.settings.update(settings or {})
    since = broker.log_size()
    broker.start()
    return wait_until(lambda: broker.events('revived', since), what='a line revived')[0]


def end(broker, how):
    if how == 'SIGKILL':
        broker.kill()
    else:
        broker.signal(signal.SIGTERM)
        for c in broker.open:  # it waits a second for who does not close
            if isinstance(c, Client) and c.sock.fileno() >= 0:
                c.sock.settimeout(Client.timeout)
                until_end(c.sock)
        equal(broker.wait_end(), 0, 'exit status')
        broker.process = None


def lasting(broker, client_id, version=V5, present=None, clean_start=False, **connect):
    """A client whose session outlives its connection."""
    if version == V5:
        connect['props'] = {**LASTS, **connect.get('props', {})}
    c = broker.client(version)
    found = c.connect(client_id, clean_start=clean_start, **connect).session_present
    if present is not None:
        equal(found, present, f'session present of {client_id}')
    return c


def offline(broker, client_id, *filters, version=V5, props=None, **options):
    """A session that has subscribed, and whose client has gone."""
    c = lasting(broker, client_id, version)
    c.subscribe(*filters, props=props, **options)
    c.disconnect()


class Folder:
    """Removed when the test ends; before the brokers that b.another() starts are stopped, unless it
    is asked for first."""

    def __init__(self, b):
        self.path = tempfile.mkdtemp(prefix='persistence-', dir=os.path.abspath(Launch.folder))
        b.open.append(self)

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)


def fresh(b, **settings):
    """A broker with a directory of its own, and one shard."""
    keys = {'data.dir': Folder(b).path, 'data.journal_segment_bytes': 1 << 20, 'node.shards': 1,
            **{key.replace('__', '.'): value for key, value in settings.items()}}
    return b.another(keys)
