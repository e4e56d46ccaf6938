# SPDX-License-Identifier: Apache-2.0
"""A small public key infrastructure for the tests, made by the openssl program.

    root ── intermediate ── broker.test (ECDSA P-256 and RSA), other.test (SNI)
    clients-ca ── good, revoked, expired, future, server-only
               └─ clients-below ── below
    strangers-ca ── stranger

    p = pki()                       # made once for each run of the tests; processes share it
    p.chain('server'), p.key('server')      # files; the chain is the certificate and those above
    p.issue('new', 'root', …)               # one more, for a test that replaces some

Nothing in it is secret or worth keeping: each run makes its own, in the folder of the run's logs.
"""
import contextlib
import datetime
import fcntl
import functools
import os
import ssl
import subprocess

from harness import Launch

CONF = """
[ca]
default_ca = here
[here]
database = {folder}/{name}.index
new_certs_dir = {folder}/issued
certificate = {folder}/{name}.pem
private_key = {folder}/{name}.key
rand_serial = yes
unique_subject = no
default_md = sha256
default_crl_days = 30
policy = any
[any]
commonName = supplied
organizationName = optional
"""
SERVER_NAMES = ('DNS:broker.test', 'DNS:localhost', 'IP:127.0.0.1')
OTHER_NAMES = ('DNS:other.test', 'DNS:*.wild.test')
DAY = datetime.timedelta(days=1)


def openssl(*arguments, **how):
    done = subprocess.run(['openssl', *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False, **how)
    if done.returncode != 0:
        raise RuntimeError(f'openssl {" ".join(arguments)}:\n{done.stdout}')
    return done.stdout


def zulu(when):
    return when.strftime('%Y%m%d%H%M%SZ')


class Der:
    """One element of DER, with what comes before its content."""

    def __init__(self, data):
        more = data[1] & 0x7f if data[1] & 0x80 else 0
        length = int.from_bytes(data[2:2 + more], 'big') if more else data[1]
        self.whole = data[:2 + more + length]
        self.content = self.whole[2 + more:]

    def parts(self):
        rest, parts = self.content, []
        while rest:
            parts.append(Der(rest))
            rest = rest[len(parts[-1].whole):]
        return parts

    @staticmethod
    def made(tag, content):
        return bytes([tag, 0x82]) + len(content).to_bytes(2, 'big') + content


class Pki:
    def __init__(self, folder):
        self.folder = folder

    # ---- Files

    def path(self, name):
        return os.path.join(self.folder, name)

    def certificate(self, name):
        return self.path(f'{name}.pem')

    def key(self, name):
        return self.path(f'{name}.key')

    def chain(self, name):
        """The certificate, then those between it and the root."""
        return self.path(f'{name}.chain.pem')

    def crl(self):
        """What clients-ca has revoked."""
        return self.path('clients.crl.pem')

    def crl_below(self):
        """What clients-ca and clients-below have: clients-both.pem is both of them."""
        return self.path('clients-both.crl.pem')

    def key_id(self, name):
        """What certificates that it has signed say of its key."""
        return openssl('x509', '-in', self.certificate(name), '-noout', '-ext',
                       'subjectKeyIdentifier').split()[-1].replace(':', '')

    def serial(self, name):
        """As `ssl` gives it: upper case hexadecimal digits."""
        return openssl('x509', '-in', self.certificate(name), '-noout', '-serial'
                       ).strip().split('=')[1]

    # ---- Making them

    def make(self):
        os.makedirs(self.path('issued'), exist_ok=True)
        self.issue('root', None, authority=True)
        self.issue('intermediate', 'root', authority=True)
        self.issue('server', 'intermediate', names=SERVER_NAMES)
        self.issue('server-rsa', 'intermediate', names=SERVER_NAMES, algorithm='rsa')
        self.issue('other', 'intermediate', names=OTHER_NAMES)

        self.issue('clients-ca', None, authority=True)
        self.issue('clients-below', 'clients-ca', authority=True)
        self.issue('strangers-ca', None, authority=True)
        for name, issuer, how in (
                ('good', 'clients-ca', {}), ('good-rsa', 'clients-ca', {'algorithm': 'rsa'}),
                ('revoked', 'clients-ca', {}), ('below', 'clients-below', {}),
                ('revoked-below', 'clients-below', {}),
                ('stranger', 'strangers-ca', {}),
                ('expired', 'clients-ca', {'begin': -30 * DAY, 'end': -1 * DAY}),
                ('future', 'clients-ca', {'begin': 30 * DAY, 'end': 60 * DAY}),
                ('server-only', 'clients-ca', {'usage': 'serverAuth'})):
            self.issue(name, issuer, **{'usage': 'clientAuth', **how})
        # Somebody else under the name of the authority: only the signature tells.
        self.issue('forged-ca', None, authority=True, common_name='clients-ca')
        self.issue('forged', 'forged-ca', usage='clientAuth', key_identifier=False)
        self._write(self.crl(), self.revoke('clients-ca', 'revoked'))
        self._write(self.crl_below(), self.revoke('clients-ca'),
                    self.revoke('clients-below', 'revoked-below'))
        self._write(self.certificate('clients-both'), self._read(self.certificate('clients-ca')),
                    self._read(self.certificate('clients-below')))

    def issue(self, name, issuer, *, authority=False, names=(), usage='serverAuth',
              algorithm='ec', begin=-1 * DAY, end=365 * DAY, common_name=None, out=None,
              key_identifier=True, key_id=None, subject=None):
        """NAME.key, NAME.pem and NAME.chain.pem; issuer None: signed by itself. out: another name
        for the files. key_identifier: says which of the issuer's keys signed; key_id: what others shall say
        of this key, in hexadecimal digits. subject: all of it,
        as in '/CN=a/CN=b'."""
        out, common_name = out or name, common_name or name
        kind = ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'] if algorithm == 'rsa' \
            else ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']
        openssl('genpkey', *kind, '-out', self.key(out))
        request, extensions = self.path(f'{out}.csr'), self.path(f'{out}.ext')
        openssl('req', '-new', '-key', self.key(out), '-subj', subject or f'/CN={common_name}',
                '-utf8', '-out', request, '-config', '/dev/null')
        self._write(
            extensions,
            'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'
            if authority else 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,'
            f'digitalSignature,keyEncipherment\nextendedKeyUsage={usage}\n',
            f'subjectKeyIdentifier={key_id or "hash"}\n',
            'authorityKeyIdentifier=keyid\n' if key_identifier else '',
            f'subjectAltName={",".join(names)}\n' if names else '')
        now = datetime.datetime.now(datetime.timezone.utc)
        signer = issuer or out
        with self._locked():
            openssl('ca', '-batch', '-notext', '-config', self._conf(signer), '-in', request,
                    '-out', self.certificate(out), '-extfile', extensions,
                    '-startdate', zulu(now + begin), '-enddate', zulu(now + end),
                    *([] if issuer else ['-selfsign']))
        self._write_chain(out, issuer)

    def forge(self, name, issuer, old, new):
        """The certificate `name` with the bytes `old`, of which it has one, replaced by as many
        others, and signed again: what no openssl command would write."""
        with open(self.certificate(name), encoding='ascii') as f:
            outer = Der(ssl.PEM_cert_to_DER_cert(f.read()))
        tbs, algorithm, _ = outer.parts()
        assert tbs.whole.count(old) == 1 and len(old) == len(new), (name, old, new)
        with open(self.path(f'{name}.tbs'), 'wb') as f:
            f.write(tbs.whole.replace(old, new))
        signature = self.path(f'{name}.signature')
        openssl('dgst', '-sha256', '-sign', self.key(issuer), '-out', signature,
                self.path(f'{name}.tbs'))
        with open(signature, 'rb') as f:
            signed = Der.made(3, b'\0' + f.read())
        self._write(self.certificate(name), ssl.DER_cert_to_PEM_cert(Der.made(
            0x30, tbs.whole.replace(old, new) + algorithm.whole + signed)))
        self._write_chain(name, issuer)

    def _write_chain(self, name, issuer):
        if issuer:  # a root is known to who trusts it, and is not sent
            above = self.chain(issuer)
            self._write(self.chain(name), self._read(self.certificate(name)),
                        self._read(above) if os.path.exists(above) else '')

    @staticmethod
    def _read(path):
        with open(path, encoding='utf-8') as f:
            return f.read()

    @staticmethod
    def _write(path, *texts):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(''.join(texts))

    def revoke(self, authority, *names):
        """Revokes them; returns the authority's whole list, in PEM."""
        with self._locked():
            for name in names:
                openssl('ca', '-config', self._conf(authority), '-revoke', self.certificate(name))
            return openssl('ca', '-config', self._conf(authority), '-gencrl')

    def _conf(self, name):
        path = self.path(f'{name}.cnf')
        if not os.path.exists(path):
            self._write(path, CONF.format(folder=self.folder, name=name))
            self._write(self.path(f'{name}.index'))
        return path

    @contextlib.contextmanager
    def _locked(self):
        """The books of an authority are for one process at a time."""
        with open(self.path('lock'), 'w', encoding='utf-8') as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield


@functools.lru_cache(maxsize=None)
def pki():
    """That of this run: the first process that asks makes it."""
    folder = os.path.abspath(os.path.join(Launch.folder, 'pki'))
    os.makedirs(folder, exist_ok=True)
    with open(folder + '.lock', 'w', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made, done = Pki(folder), os.path.join(folder, 'done')
        if not os.path.exists(done):
            made.make()
            os.mkdir(done)
    return made
