# SPDX-License-Identifier: Apache-2.0
"""TLS for the raw client, by Python's ssl (OpenSSL), and `openssl s_client` for what that hides.

    b.client(at='tls', wrap=Tls())                          # verified against the root of pki.py
    b.client(at='required', wrap=Tls('good', version=V1_2))     # with a client certificate

A Tls keeps its context, which sessions belong to: what shall be resumed is opened with the same one,
and session=. The alert that a server refused a client with is what `refusal` gives.
"""
import contextlib
import re
import socket
import ssl

from harness import Client, Unexpected, equal
from pki import pki

V1_2, V1_3 = '1.2', '1.3'
_VERSIONS = {V1_2: ssl.TLSVersion.TLSv1_2, V1_3: ssl.TLSVersion.TLSv1_3}

# Alerts (RFC 8446, 6), by what OpenSSL says of one that came.
ALERTS = {
    'unexpected message': 10, 'bad record mac': 20, 'record overflow': 22, 'handshake failure': 40,
    'bad certificate': 42, 'unsupported certificate': 43, 'certificate revoked': 44,
    'certificate expired': 45, 'certificate unknown': 46, 'illegal parameter': 47,
    'unknown ca': 48, 'access denied': 49, 'decode error': 50, 'decrypt error': 51,
    'protocol version': 70, 'insufficient security': 71, 'internal error': 80,
    'certificate required': 116, 'no application protocol': 120,
}
UNEXPECTED_MESSAGE, HANDSHAKE_FAILURE, BAD_CERTIFICATE, UNSUPPORTED_CERTIFICATE, \
    CERTIFICATE_REVOKED, CERTIFICATE_EXPIRED, UNKNOWN_CA, DECRYPT_ERROR, PROTOCOL_VERSION, \
    CERTIFICATE_REQUIRED, NO_APPLICATION_PROTOCOL = 10, 40, 42, 43, 44, 45, 48, 51, 70, 116, 120


class TlsSocket(ssl.SSLSocket):
    """An SSLSocket whose shutdown() is the connection's alone, as a client does that goes without
    a word; close_notify() is TLS's own half-close."""

    has_left = False

    def shutdown(self, how):
        self.has_left = True
        socket.socket.shutdown(self, how)

    def recv(self, *arguments):
        try:
            return super().recv(*arguments)
        except ssl.SSLZeroReturnError:  # after our own close_notify; before, it is the end anyway
            return b''
        except ssl.SSLError:
            if self.has_left:  # whatever the other end thinks of that
                return b''
            raise

    def close_notify(self):
        """Says that no more comes, and does not wait for the same from the other end."""
        self.settimeout(0)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.unwrap()
        self.settimeout(Client.timeout)


class Tls:
    """A way to open TLS connections."""

    def __init__(self, client=None, *, version=None, server='broker.test', root='root', alpn=None,
                 ciphers=None, tell_end=False):
        """client: the name of its certificate; version: that one only; server: the name to ask for
        (SNI) and to find, None: neither; root: whom to trust, None: anybody. tell_end: an end of
        the connection that TLS did not announce is an error."""
        self.server, self.tell_end = server, tell_end
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.sslsocket_class = TlsSocket
        self.context.check_hostname = server is not None and root is not None
        if root is None:
            self.context.verify_mode = ssl.CERT_NONE
        else:
            self.context.load_verify_locations(pki().certificate(root))
        if client is not None:
            self.context.load_cert_chain(pki().chain(client), pki().key(client))
        if version is not None:
            self.context.minimum_version = self.context.maximum_version = \
                _VERSIONS[version]
        if alpn is not None:
            self.context.set_alpn_protocols(alpn)
        if ciphers is not None:
            self.context.set_ciphers(ciphers)

    def __call__(self, sock, session=None):
        return self.context.wrap_socket(sock, server_hostname=self.server, session=session,
                                        suppress_ragged_eofs=not self.tell_end)

    def resuming(self, session):
        return lambda sock: self(sock, session)


def alert_of(error):
    """The number of the alert that came, or None."""
    said = re.search(r' alert ([a-z ]+)', str(error))
    return ALERTS.get(said[1].strip()) if said else None


def refusal(address, wrap, send=b''):
    """The alert that a server ends this connection with: in the handshake (1.2), or after it (1.3),
    where the client cannot know yet. None: it closed without one. Unexpected: it did not refuse."""
    try:
        with contextlib.closing(Client(address, wrap=wrap)) as c:
            if send:
                c.send(send)
            data = c.sock.recv(100)
    except ssl.SSLEOFError:
        return None
    except ssl.SSLError as e:
        if alert_of(e) is None:
            raise Unexpected(f'an alert expected, not {e!r}') from e
        return alert_of(e)
    except ConnectionError:
        return None
    except socket.timeout:
        raise Unexpected('the server did not refuse') from None
    if data:
        raise Unexpected(f'the end expected, not {data.hex(" ")}')
    return None


def serial_at(address, **how):
    """The serial number of the certificate that a new connection gets."""
    return leaf(address, **how)['serialNumber']


def leaf(address, **how):
    with contextlib.closing(Client(address, wrap=Tls(**how))) as c:
        return c.sock.getpeercert()


def asking(demand, **more):
    """The settings of a listener that asks clients for certificates."""
    p = pki()
    return {'url': 'tls://{}', 'certificate': p.chain('server'), 'key': p.key('server'),
            'client_certificate': demand, 'client_ca': p.certificate('clients-ca'), **more}


# ---- Clients that others wrote

def mosquitto(b, program, at, client, *arguments):
    """mosquitto_pub or _sub, with that certificate."""
    certificate = [] if client is None else ['--cert', pki().chain(client), '--key',
                                             pki().key(client)]
    return b.run('stdbuf', '-oL', program, '-h', 'localhost', '-p', str(b.at[at][1]), '--cafile',
                 pki().certificate('root'), *certificate, *arguments)


# ---- openssl s_client

def s_client(b, at, *arguments, stdin=None, server='broker.test'):
    """Starts it."""
    host, port = b.at[at]
    return b.run('openssl', 's_client', '-connect', f'{host}:{port}', '-CAfile',
                 pki().certificate('root'), '-servername', server, *arguments,
                 **({} if stdin is None else {'stdin': stdin}))


def s_client_output(b, at, *arguments, ok=True, **how):
    """What it says of a connection that it ends as soon as it is there; ok: whether it has to come
    about."""
    process = s_client(b, at, *arguments, **how)
    out, _ = process.communicate(timeout=Client.timeout)
    equal(process.returncode == 0, ok, f'success\n{out}')
    return out
