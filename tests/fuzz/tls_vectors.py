#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints tls_vectors.h: an authority, and the certificates and keys of a server and a client, by openssl."""
import os
import subprocess
import tempfile

EXTENSIONS = """subjectAltName=DNS:{name}.test,URI:urn:{name},email:{name}@example.test
extendedKeyUsage={name}Auth
keyUsage=digitalSignature
"""


def openssl(*command):
    subprocess.run(['openssl', *command], check=True, capture_output=True)


def make():
    for name in 'authority', 'server', 'client':
        openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', f'{name}.key')
    openssl('req', '-x509', '-new', '-key', 'authority.key', '-subj', '/CN=authority', '-days', '36500',
            '-addext', 'keyUsage=critical,keyCertSign', '-out', 'authority.pem')
    for name in 'server', 'client':
        with open('extensions', 'w', encoding='ascii') as f:
            f.write(EXTENSIONS.format(name=name))
        openssl('req', '-new', '-key', f'{name}.key', '-subj', f'/CN={name}', '-out', 'request')
        openssl('x509', '-req', '-in', 'request', '-CA', 'authority.pem', '-CAkey', 'authority.key',
                '-CAcreateserial', '-days', '36500', '-extfile', 'extensions', '-out', f'{name}.pem')


def show(name, file):
    with open(file, encoding='ascii') as f:
        lines = ''.join(f'\n    "{line}\\n"' for line in f.read().splitlines())
    print(f'static const char {name}[] ={lines};')


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    make()
    print('/* SPDX-License-Identifier: Apache-2.0 */\n'
          '/* Made by tls_vectors.py, for tests: an authority, a server, and a client, for a hundred years. */\n'
          '#pragma once\n\n/* clang-format off */')
    show('authority_pem', 'authority.pem')
    for name in 'server', 'client':
        show(f'{name}_pem', f'{name}.pem')
        show(f'{name}_key', f'{name}.key')
    print('/* clang-format on */')
