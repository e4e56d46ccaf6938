# SPDX-License-Identifier: Apache-2.0
"""Requests to the admin port of a broker: where it is, the key, errors, and the pages of lists."""
import contextlib
import http.client
import json
import os
import re
import ssl
import time
import urllib.parse

from .usage import Misuse

DEFAULT_URL = 'http://127.0.0.1:9464'
PAGE_ITEMS_MAX = 1000
BUSY_TRIES = 5           # of a page: a list of many pages is not to end for one that a shard had no time for
BUSY_PAUSE_S = 0.3


class Refused(Exception):
    """The broker says no, or that there is no such thing."""


class Unreachable(Exception):
    """Nobody there who speaks the API."""


def encoded(part):
    """For a path, or a value of a query; bytes that are not UTF-8 come from the command line as they were."""
    return urllib.parse.quote(os.fsencode(part), safe='')


def asked(query):
    """Of a URL, what is asked for."""
    text = '&'.join(f'{name}={encoded(str(value))}' for name, value in query.items() if value is not None)
    return '?' + text if text else ''


def address(values):
    """(scheme, host, port) of the flags and the environment."""
    if values.url and (values.host or values.port):
        raise Misuse('--url says what -h and -p say')
    url = values.url
    if url is None and (values.host or values.port):
        host = values.host or '127.0.0.1'
        url = f'{"https" if values.ca else "http"}://{f"[{host}]" if ":" in host else host}:{values.port or 9464}'
    url = url or os.environ.get('DUNLINCTL_URL') or DEFAULT_URL
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise Misuse(f"'{url}' is not a URL as in {DEFAULT_URL}") from None
    if parts.scheme not in ('http', 'https') or not parts.hostname or parts.path not in ('', '/') or \
            parts.query or parts.fragment or parts.username is not None:
        raise Misuse(f"'{url}' is not a URL as in {DEFAULT_URL}")
    if values.ca and parts.scheme != 'https':
        raise Misuse(f'--ca is for https, and {url} is not')
    return parts.scheme, parts.hostname, port or 9464


def key_of(values):
    name = values.key_file or os.environ.get('DUNLINCTL_KEY_FILE')
    if not name:
        return None
    try:
        with open(name, encoding='ascii') as f:
            key = f.read(4096).strip()
    except (OSError, UnicodeDecodeError) as e:
        raise Misuse(f'the key file {name} cannot be read: {e}') from None
    if not re.fullmatch('[!-~]+', key):
        raise Misuse(f'the key file {name} has to have a key and nothing else')
    return key


class Broker:
    """One that is asked: each request on a connection of its own."""

    def __init__(self, values):
        self.scheme, self.host, self.port = address(values)
        self.key, self.timeout = key_of(values), values.timeout or 10
        self.context = None
        if self.scheme == 'https':
            try:
                self.context = ssl.create_default_context(cafile=values.ca)
            except OSError as e:
                raise Misuse(f'--ca {values.ca}: {e}') from None

    def name(self):
        return f'{self.scheme}://{f"[{self.host}]" if ":" in self.host else self.host}:{self.port}'

    @contextlib.contextmanager
    def _answering(self, method, path, body=None):
        """The answer, to be read."""
        how = {'timeout': self.timeout}
        c = http.client.HTTPSConnection(self.host, self.port, context=self.context, **how) if self.context else \
            http.client.HTTPConnection(self.host, self.port, **how)
        headers = {'Authorization': f'Bearer {self.key}'} if self.key and path.startswith('/api/') else {}
        try:
            c.request(method, path, None if body is None else json.dumps(body), headers)
            yield c.getresponse()
        except (OSError, UnicodeError) as e:  # a host name may be none that there can be
            raise Unreachable(f'cannot reach {self.name()}: {e}') from None
        except http.client.HTTPException as e:
            raise Unreachable(f'{self.name()} does not answer as HTTP has it: {e!r}') from None
        finally:
            c.close()

    def raw(self, method, path, body=None):
        """(status, bytes)"""
        with self._answering(method, path, body) as answer:
            return answer.status, answer.read()

    def stream(self, path, by_line=True, **query):
        """What comes, line by line or as it is, until it ends."""
        with self._answering('GET', '/api/v1' + path + asked(query)) as answer:
            if answer.status >= 400:
                raise Refused(self._why(*self._judged(answer.status, answer.read())))
            while part := answer.readline() if by_line else answer.read1():
                yield part

    def plain(self, path):
        """(status, text)"""
        status, data = self.raw('GET', path)
        return status, data.decode(errors='replace')

    def ask(self, method, path, body=None, **query):
        """What came as JSON, or None of an answer without."""
        status, value = self._answer(method, path, body, query)
        if status >= 400:
            raise Refused(self._why(status, value))
        return value

    def data(self, method, path):
        """What came, of an answer that is no JSON."""
        status, data = self.raw(method, '/api/v1' + path)
        if status >= 400:
            raise Refused(self._why(*self._judged(status, data)))
        return data

    def _answer(self, method, path, body, query):
        return self._judged(*self.raw(method, '/api/v1' + path + asked(query), body))

    def _judged(self, status, data):
        try:
            value = json.loads(data) if data else None
        except ValueError:
            value = data
        if isinstance(value, dict) or value is None and status < 300:
            return status, value
        raise Unreachable(f'what answers at {self.name()} is no API of Dunlin (status {status})')

    def _why(self, status, value):
        hint = '; --key-file or DUNLINCTL_KEY_FILE names the file with the key' if status == 401 and not self.key else ''
        return f'{value.get("detail", "refused")} ({status}){hint}'

    def pages(self, path, limit=None, **query):
        """Each page's items, at most `limit` in all."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = PAGE_ITEMS_MAX if left is None else min(left, PAGE_ITEMS_MAX)
            page = self._page(path, {**query, 'limit': size, 'cursor': cursor})
            if left is not None:
                left -= len(page['items'])
            yield page['items']
            cursor = page.get('cursor')
            if cursor is None:
                return

    def _page(self, path, query):
        for tries_left in reversed(range(BUSY_TRIES)):
            status, value = self._answer('GET', path, None, query)
            if status == 503 and tries_left > 0:
                time.sleep(BUSY_PAUSE_S)
                continue
            if status >= 400:
                raise Refused(self._why(status, value))
            return value
        raise AssertionError('the last try ends above')
