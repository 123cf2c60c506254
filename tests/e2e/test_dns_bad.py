"""The dns program and servers that are old, broken or hostile: what they say costs
their own lookup at most, and only "no such name" and "no such records" are sure."""
import socket
import struct
import threading
import time

import pytest

from test_dns import A, AAAA, FOUND, MX, NODATA, NXDOMAIN, TEMP, start

__all__ = ['start']


def name(text):
    return b''.join(bytes([len(x)]) + x.encode() for x in text.split('.') if x) + b'\0'


def record(kind, data, ttl=60, owner=b'\xc0\x0c'):
    return owner + struct.pack('>HHIH', kind, 1, ttl, len(data)) + data


SOA = record(6, name('ns.test') + name('root.test') + struct.pack('>5I', 1, 2, 3, 4, 60), owner=name('test'))
HERE = record(A, b'\x7f\0\0\x09')


class Query:
    def __init__(self, octets, serial, tcp):
        self.octets, self.serial, self.tcp = octets, serial, tcp
        self.end = octets.index(b'\0', 12) + 5
        self.question = octets[12:self.end]
        self.kind = struct.unpack('>H', octets[self.end - 4:self.end - 2])[0]
        self.labels, at = [], 12
        while octets[at]:
            self.labels.append(octets[at + 1:at + 1 + octets[at]].decode())
            at += 1 + octets[at]
        self.name = '.'.join(self.labels)
        self.has_opt = octets[10:12] != b'\0\0'

    def reply(self, *answers, rcode=0, flags=0x8180, authority=(), question=None, ident=None):
        return (ident or self.octets[:2]) + struct.pack('>5H', flags | rcode, 1, len(answers), len(authority), 0) + \
            (question or self.question) + b''.join(answers) + b''.join(authority)


class Server:
    """A function makes of each Query the octets of its answers; over TCP None
    closes. Without `tcp' nothing listens there."""

    def __init__(self, answer, tcp=None):
        self.answer, self.tcp, self.serial = answer, tcp, 0
        while True:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(('127.0.0.1', 0))
            self.port = self.udp.getsockname()[1]
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.listener.bind(('127.0.0.1', self.port))
                break
            except OSError:
                self.udp.close()
        self.other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = f'127.0.0.1:{self.port}'
        threading.Thread(target=self.serve, daemon=True).start()
        if tcp:
            self.listener.listen(100)
            threading.Thread(target=self.serve_tcp, daemon=True).start()

    def serve(self):
        while True:
            try:
                octets, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            self.serial += 1
            for a in self.answer(Query(octets, self.serial, False)):
                if isinstance(a, tuple):                    # from another port
                    self.other.sendto(a[0], peer)
                else:
                    self.udp.sendto(a, peer)

    def serve_tcp(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one_tcp, args=(conn,), daemon=True).start()

    def one_tcp(self, conn):
        with conn:
            try:
                while head := conn.recv(2, socket.MSG_WAITALL):
                    q = conn.recv(struct.unpack('>H', head)[0], socket.MSG_WAITALL)
                    for a in self.tcp(Query(q, 0, True)):
                        if a is None:
                            return
                        conn.sendall(a)
            except OSError:
                pass

    def close(self):
        for s in (self.udp, self.listener, self.other):
            s.close()


@pytest.fixture
def ask(start):
    """ask(answer, tcp) gives a program that has this server alone."""
    made = []

    def one(answer, tcp=None, **settings):
        made.append(Server(answer, tcp))
        return start(dns_servers=made[-1].address, **{'dns_timeout': '2s', **settings})
    yield one
    for s in made:
        s.close()


def good(q):
    return q.reply(HERE)


FORMERR = {
    'the header alone': lambda q: q.octets[:2] + struct.pack('>5H', 0x8181, 0, 0, 0, 0),
    'the question, too': lambda q: q.reply(rcode=1),
}


@pytest.mark.parametrize('how', FORMERR)
def test_a_server_that_knows_no_edns(ask, how):
    """RFC 6891, 7: FORMERR, not once but each time."""
    d = ask(lambda q: [FORMERR[how](q) if q.has_opt else good(q)], dns_timeout='6s')
    for i in range(3):
        assert d.ask(f'n{i}.test', A)[:4] == (FOUND, 0, 60, ['127.0.0.9']), i


def test_formerr_in_a_crowd(ask):
    d = ask(lambda q: [q.reply(rcode=1) if q.has_opt else good(q)], dns_timeout='6s')
    for i in range(200):
        d.remote.send(310, 5000 + i, (b's', f'n{i}.test'.encode()), A, 0)
    assert all(d.remote.receive()[2][0] == FOUND for _ in range(200))


@pytest.mark.parametrize('rcode', range(16))
def test_every_rcode(ask, rcode):
    d = ask(lambda q: [q.reply(rcode=rcode, authority=[SOA])])
    want = {0: NODATA, 3: NXDOMAIN}.get(rcode, TEMP)
    assert [d.ask('n.test', t)[0] for t in (MX, A, AAAA)] == [want] * 3


BEFORE = {
    'wrong id': lambda q: q.reply(record(A, b'\6\6\6\6'), ident=bytes([q.octets[0] ^ 1, q.octets[1]])),
    'wrong question': lambda q: q.reply(record(A, b'\6\6\6\6'), question=name('evil.test') + q.question[-4:]),
    'wrong type': lambda q: q.reply(record(A, b'\6\6\6\6'), question=q.question[:-4] + b'\0\x10\0\1'),
    'wrong port': lambda q: (q.reply(record(A, b'\6\6\6\6')),),
    'our own words': lambda q: q.octets,
    'nothing': lambda q: b'',
    'three octets': lambda q: q.octets[:3],
    'noise': lambda q: bytes(range(256)) * 200,
}


@pytest.mark.parametrize('what', BEFORE)
def test_what_is_no_answer_does_no_harm(ask, what):
    d = ask(lambda q: [BEFORE[what](q), good(q)], dns_timeout='6s')
    for i in range(3):
        got = d.ask(f'n{i}.test', A)
        assert '6.6.6.6' not in got[3]
        assert got[0] == FOUND or what == 'our own words', got


def test_other_names_in_an_answer_are_not_kept(ask):
    evil = record(A, b'\6\6\6\6', owner=name('bank.test'))
    d = ask(lambda q: [q.reply(HERE, evil) if q.name == 'n.test' else good(q)])
    assert d.ask('n.test', A)[3] == ['127.0.0.9']
    assert d.ask('bank.test', A)[3] == ['127.0.0.9']


def cut(q):
    return [q.reply(HERE, flags=0x8380)]


def framed(octets):
    return struct.pack('>H', len(octets)) + octets


TCP = {
    'refused': None,
    'closes': lambda q: [None],
    'closes half way': lambda q: [framed(good(q))[:20], None],
    'is cut short, too': lambda q: [framed(cut(q)[0])],
    'nothing': lambda q: [struct.pack('>H', 0), None],
    'noise': lambda q: [framed(b'\xff' * 65535)],
    'silent': lambda q: [],
}


@pytest.mark.parametrize('how', TCP)
def test_tcp_goes_wrong(ask, how):
    d = ask(lambda q: cut(q) if 'cut' in q.name else [good(q)], TCP[how])
    for i in range(3):
        assert d.ask(f'cut{i}.test', A)[0] == TEMP
        assert d.ask(f'n{i}.test', A)[0] == FOUND


def test_octets_one_by_one_over_tcp(ask):
    many = [record(MX, struct.pack('>H', i) + name(f'm{i}.test')) for i in range(1000)]
    d = ask(cut, lambda q: [framed(q.reply(*many))[i:i + 97] for i in range(0, 40000, 97)])
    got = d.ask('many.test', MX)
    assert got[0] == FOUND and got[3][0] == (0, 'm0.test') and len(got[3]) == 256


@pytest.mark.parametrize('ttl,want', [(0, 0), (1, 1), (0x7fffffff, 86400), (0x80000000, 0), (0xffffffff, 0)])
def test_ttl(ask, ttl, want):
    d = ask(lambda q: [q.reply(record(A, bytes([127, 0, 0, q.serial]), ttl))])
    assert d.ask('n.test', A)[2:4] == (want, ['127.0.0.1'])
    again = d.ask('n.test', A)[3]
    assert again == (['127.0.0.1'] if want > 1 else again if want else ['127.0.0.2'])


def alias(to, owner=b'\xc0\x0c'):
    return record(5, name(to), owner=owner)


ALIASES = {
    'to itself': (lambda q: [q.reply(alias(q.name))], TEMP),
    'in a circle': (lambda q: [q.reply(alias('b.test'), alias('n.test', name('b.test')))], TEMP),
    'for ever': (lambda q: [q.reply(alias(f'n{q.serial}.test'))], TEMP),
    'to the root': (lambda q: [q.reply(alias(''))], TEMP),
    'to nowhere': (lambda q: [q.reply(alias('b.test'), rcode=3, authority=[SOA])], NXDOMAIN),
    'twice the same': (lambda q: [q.reply(alias('b.test'), alias('b.test'),
                                          record(A, b'\x7f\0\0\x09', owner=name('b.test')))], FOUND),
    'in other case': (lambda q: [q.reply(alias('B.TeSt'), record(A, b'\x7f\0\0\x09', owner=name('b.tESt')))], FOUND),
}


@pytest.mark.parametrize('what', ALIASES)
def test_aliases(ask, what):
    answer, want = ALIASES[what]
    assert ask(answer).ask('n.test', A)[0] == want


def test_an_answer_in_other_case_is_ours(ask):
    d = ask(lambda q: [q.reply(HERE, question=q.question[:-4].upper() + q.question[-4:])])
    assert d.ask('n.test', A)[3] == ['127.0.0.9']


@pytest.mark.parametrize('what,answer', [
    ('elsewhere', lambda q: [q.reply(authority=[record(2, name('ns.test'), owner=name('test'))])]),
    ('contradiction', lambda q: [q.reply(HERE, rcode=3)]),
    ('short address', lambda q: [q.reply(record(A, b'\x7f\0\0'))]),
    ('too long', lambda q: [q.reply(HERE) + b'x']),
    ('no such soa', lambda q: [q.reply(authority=[record(6, b'\0' * 3, owner=name('test'))])]),
], ids=lambda x: x if isinstance(x, str) else '')
def test_nonsense_is_for_now(ask, what, answer):
    assert ask(answer).ask('n.test', A)[0] == TEMP


def test_there_is_none_is_kept_for_its_time(ask):
    d = ask(lambda q: [q.reply(rcode=3, authority=[SOA]) if q.serial == 1 else good(q)])
    assert [d.ask('n.test', A)[0] for _ in range(5)] == [NXDOMAIN] * 5
    d = ask(lambda q: [q.reply(rcode=3) if q.serial == 1 else good(q)])     # without a SOA: not kept
    assert [d.ask('n.test', A)[0] for _ in range(2)] == [NXDOMAIN, FOUND]


def test_a_silent_name_does_not_delay_others(ask):
    d = ask(lambda q: [] if 'silent' in q.name else [good(q)], dns_timeout='4s')
    for i in range(400):
        d.remote.send(310, 5000 + i, (b's', f'silent{i}.test'.encode()), A, 0)
    began = time.monotonic()
    d.remote.send(310, 6000, (b's', b'n.test'), A, 0)
    kind, tid, fields = d.remote.receive()
    assert (tid, fields[0]) == (6000, FOUND) and time.monotonic() - began < 1.5
    assert all(d.remote.receive()[2][0] == TEMP for _ in range(400))
