"""The dns program, as installed and behind its walls, against real servers.  It
is started alone, with a test in the places of master and remote."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from dnszone import Nsd, Unbound
from harness import PREFIX, free_port, wait_until

FOUND, NODATA, NXDOMAIN, TEMP = range(4)
A, MX, AAAA = 1, 15, 28
HOSTS = 1
MASTER, CLEANUP, REMOTE = 1, 4, 11


def message(kind, tid, *fields):
    body = b''
    for f in fields:
        if f is None:
            body += b'f'
        elif isinstance(f, int):
            body += b'u' + struct.pack('<Q', f)
        else:
            tag, octets = f
            body += tag + struct.pack('<I', len(octets)) + octets
    return struct.pack('<IHHI', 12 + len(body), kind, 0, tid) + body


class Channel:
    """One end of a channel between programs."""

    def __init__(self, sock):
        self.sock, self.buf = sock, b''
        self.sock.settimeout(30)

    def send(self, kind, tid, *fields, fd=None):
        data = message(kind, tid, *fields)
        if fd is not None:
            socket.send_fds(self.sock, [data], [fd])
        else:
            self.sock.sendall(data)

    def receive(self):
        """(type, tid, fields); None at the end."""
        while len(self.buf) < 4 or len(self.buf) < struct.unpack('<I', self.buf[:4])[0]:
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self.buf += more
        n, kind, _, tid = struct.unpack('<IHHI', self.buf[:12])
        body, self.buf = self.buf[12:n], self.buf[n:]
        fields = []
        while body:
            if body[:1] == b'u':
                fields.append(struct.unpack('<Q', body[1:9])[0])
                body = body[9:]
            else:
                k = struct.unpack('<I', body[1:5])[0]
                fields.append(body[5:5 + k])
                body = body[5 + k:]
        return kind, tid, fields


class Dns:
    """The program, alone."""

    def __init__(self, place, **settings):
        self.rows = {'dns_timeout': '5s', 'dns_cache_limit': '1000', 'dns_resolv_conf': f'{place}/resolv.conf',
                     'dns_hosts_file': f'{place}/hosts', 'dns_user': '988', 'empty_directory': str(place),
                     'ipc_timeout': '60s', 'debug': 'yes', 'wall_probe': 'no'}
        self.rows.update(settings)
        ours, theirs = socket.socketpair()
        self.text = b''
        logs, err = os.pipe()                                           # it may write no file

        def third():
            os.dup2(theirs.fileno(), 3)
        self.proc = subprocess.Popen([PREFIX / 'libexec/veredus/dns', '0'], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=err, pass_fds=(3, theirs.fileno()),
                                     preexec_fn=third)
        theirs.close()
        os.close(err)
        self.reader = threading.Thread(target=self.read_log, args=(logs,), daemon=True)
        self.reader.start()
        self.master = Channel(ours)
        self.settings()
        self.remote = self.channel(REMOTE)
        self.master.send(106, 0)                                        # START
        assert self.master.receive()[0] == 107                          # READY
        self.tid = 0

    def settings(self, **changed):
        self.rows.update(changed)
        rows = b''.join(f'{k}\0{v}\0'.encode() for k, v in self.rows.items())
        self.master.send(100, 0, (b'b', rows))
        self.master.send(101, 0, 1)

    def channel(self, peer):
        ours, theirs = socket.socketpair()
        self.master.send(104, 0, peer, 0, None, fd=theirs.fileno())
        theirs.close()
        return Channel(ours)

    def ask(self, name, rtype, flags=0):
        """(status, secure, ttl, [records], reason)"""
        self.tid += 1
        self.remote.send(310, self.tid, (b's', name.encode()), rtype, flags)
        kind, tid, (status, secure, ttl, blob, reason) = self.remote.receive()
        assert (kind, tid) == (311, self.tid)
        records = []
        while blob:
            pref, n = struct.unpack('<HI', blob[:6])
            data, blob = blob[6:6 + n], blob[6 + n:]
            records.append((pref, data.decode()) if rtype == MX else
                           socket.inet_ntop(socket.AF_INET if rtype == A else socket.AF_INET6, data))
        return status, secure, ttl, sorted(records), reason.decode()

    def read_log(self, fd):
        while more := os.read(fd, 65536):
            self.text += more
        os.close(fd)

    def log(self):
        return self.text.decode(errors='replace')

    def close(self):
        if self.proc.poll() is None:
            self.master.send(110, 0, 1000)                              # STOP
        try:
            return self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            raise
        finally:
            self.reader.join(10)


@pytest.fixture
def start():
    """start(**settings): the program, alone. What it may read lies in .place."""
    started = []
    place = Path(tempfile.mkdtemp(prefix='vdns', dir=os.environ.get('VEREDUS_TMP')))
    os.chmod(place, 0o755)                                              # behind the walls it is another user

    def one(**kw):
        started.append(Dns(place, **kw))
        return started[-1]
    one.place = place
    yield one
    for d in started:
        assert d.close() == 0, d.log()
    shutil.rmtree(place)


ZONE = '''
@ MX 10 mx1
@ MX 20 mx2.other.test.
@ MX 20 mx1
mx1 A 127.0.0.1
mx1 A 127.0.0.2
mx1 AAAA ::1
null MX 0 .
bare A 127.0.0.3
alias CNAME bare
far CNAME mx2.other.test.
nowhere CNAME gone
odd MX 10 no\\032host
loop1 CNAME loop2
loop2 CNAME loop1
chain1 CNAME chain2
chain2 CNAME chain3
chain3 A 127.0.0.4
outside CNAME www.elsewhere.example.
''' + ''.join(f'many MX {i} m{i}.a-long-name-to-fill-the-packet\n' for i in range(200))
OTHER = 'mx2 A 127.0.0.5\n'
ZONES = {'test': ZONE, 'other.test': OTHER}


@pytest.fixture(scope='module')
def nsd():
    with Nsd(zones=ZONES) as n:
        yield n


@pytest.fixture(scope='module')
def unbound(nsd):
    with Unbound(nsd) as u:
        yield u


@pytest.mark.parametrize('server', ('nsd', 'unbound'))
def test_answers_of_a_real_server(start, server, request):
    d = start(dns_servers=request.getfixturevalue(server).address)
    assert d.ask('test', MX)[::3] == (FOUND, [(10, 'mx1.test'), (20, 'mx1.test'), (20, 'mx2.other.test')])
    assert d.ask('mx1.test', A)[::3] == (FOUND, ['127.0.0.1', '127.0.0.2'])
    assert d.ask('mx1.test', AAAA)[::3] == (FOUND, ['::1'])
    assert d.ask('null.test', MX)[::3] == (FOUND, [(0, '')])
    assert d.ask('bare.test', MX)[::3] == (NODATA, [])
    assert d.ask('gone.test', MX)[::3] == (NXDOMAIN, [])
    assert d.ask('alias.test', A)[::3] == (FOUND, ['127.0.0.3'])
    assert d.ask('chain1.test', A)[::3] == (FOUND, ['127.0.0.4'])
    assert d.ask('far.test', A)[::3] == (FOUND, ['127.0.0.5'])
    assert d.ask('alias.test', MX)[::3] == (NODATA, [])
    assert d.ask('nowhere.test', A)[::3] == (NXDOMAIN, [])
    assert d.ask('loop1.test', A)[::3] == (TEMP, [])
    assert d.ask('odd.test', MX)[::3] == (TEMP, [])


def test_ttl_of_what_is_and_is_not(start, nsd):
    d = start(dns_servers=nsd.address)
    assert d.ask('mx1.test', A)[2] == 5
    assert d.ask('gone.test', A)[2] == 5                                # the SOA's minimum


@pytest.mark.parametrize('server', ('nsd', 'unbound'))
def test_a_large_answer_comes_by_tcp(start, server, request):
    d = start(dns_servers=request.getfixturevalue(server).address)
    status, _, _, records, _ = d.ask('many.test', MX)
    assert status == FOUND and len(records) == 200


def test_what_the_server_refuses_is_temporary(start, nsd):
    d = start(dns_servers=nsd.address)
    status, _, _, _, reason = d.ask('www.elsewhere.example', A)
    assert status == TEMP and 'REFUSED' in reason
    assert d.ask('outside.test', A)[0] == TEMP
    assert d.ask('mx1.test', A)[0] == FOUND


def test_a_dead_server_is_followed_by_the_next(start, nsd):
    d = start(dns_servers=f'127.0.0.1:{free_port()}, {nsd.address}')
    begun = time.monotonic()
    assert d.ask('mx1.test', A)[0] == FOUND
    assert time.monotonic() - begun < 2


def test_a_silent_server_is_temporary_and_then_heals(start):
    with Nsd('a A 127.0.0.1\n') as n:
        d = start(dns_servers=n.address, dns_timeout='1s')
        n.pause()
        status, _, _, _, reason = d.ask('a.test', A)
        assert status == TEMP and 'does not answer' in reason
        n.go_on()
        wait_until(lambda: d.ask('a.test', A)[0] == FOUND, 'it is asked again')


def test_a_changed_zone_is_seen_after_its_ttl(start):
    with Nsd('$TTL 1\na A 127.0.0.1\n') as n:
        d = start(dns_servers=n.address)
        assert d.ask('a.test', A)[3] == ['127.0.0.1']
        n.zone('test', '$TTL 1\na A 127.0.0.2\n')
        wait_until(lambda: d.ask('a.test', A)[3] == ['127.0.0.2'], 'the new address')


def test_other_servers_by_a_reload(start, nsd):
    with Nsd('mx1 A 127.0.0.77\n') as n:
        d = start(dns_servers=n.address)
        assert d.ask('mx1.test', A)[3] == ['127.0.0.77']
        d.settings(dns_servers=nsd.address)
        wait_until(lambda: d.ask('mx1.test', A)[3] == ['127.0.0.1', '127.0.0.2'], 'the new server is asked')


def test_resolv_conf_is_watched(start):
    """Where no port can be written, an address where nobody listens must do."""
    (start.place / 'resolv.conf').write_text('nameserver 127.0.0.97\n')
    d = start(dns_servers='')
    assert '[127.0.0.97:53]' in d.ask('a.test', A)[4]
    (start.place / 'new').write_text('nameserver 127.0.0.98\n')
    os.rename(start.place / 'new', start.place / 'resolv.conf')
    wait_until(lambda: '[127.0.0.98:53]' in d.ask('b.test', A)[4], 'the replaced file is used')
    os.unlink(start.place / 'resolv.conf')
    wait_until(lambda: 'asking the DNS servers 127.0.0.1:53' in d.log(), 'a missing one means this host')


def test_resolv_conf_behind_a_link(start):
    run = start.place / 'run'
    run.mkdir(mode=0o755)
    (run / 'stub.conf').write_text('nameserver 127.0.0.97\n')
    os.symlink('run/stub.conf', start.place / 'resolv.conf')
    d = start(dns_servers='')
    assert '[127.0.0.97:53]' in d.ask('a.test', A)[4]
    (run / 'new').write_text('nameserver 127.0.0.98\n')
    os.rename(run / 'new', run / 'stub.conf')
    wait_until(lambda: '[127.0.0.98:53]' in d.ask('b.test', A)[4], 'the replaced target is used')


def test_hosts_for_hosts_only(start, nsd):
    (start.place / 'hosts').write_text('127.0.0.50 mx1.test here\n')
    d = start(dns_servers=nsd.address)
    assert d.ask('mx1.test', A, HOSTS)[3] == ['127.0.0.50']
    assert d.ask('mx1.test', AAAA, HOSTS)[0] == NODATA
    assert d.ask('mx1.test', A)[3] == ['127.0.0.1', '127.0.0.2']
    (start.place / 'hosts').write_text('127.0.0.51 mx1.test here\n')
    wait_until(lambda: d.ask('mx1.test', A, HOSTS)[3] == ['127.0.0.51'], 'the changed file is used')


@pytest.mark.parametrize('fields', [
    ((b's', b'a.test'), 16, 0), ((b's', b'a.test'), 1, 2), ((b's', b''), 1, 0),
    ((b's', b'a b'), 1, 0), ((b's', b'a' * 254), 1, 0), ((b's', b'a\0b'), 1, 0),
], ids=('type', 'flags', 'empty', 'space', 'long', 'nul'))
def test_a_peer_that_makes_no_sense_is_cut_off(start, nsd, fields):
    d = start(dns_servers=nsd.address)
    cleanup = d.channel(CLEANUP)
    cleanup.send(310, 1, *fields)
    assert cleanup.receive() is None
    assert d.ask('mx1.test', A)[0] == FOUND                             # the other goes on


def test_a_peer_that_does_not_read_costs_little(start, nsd):
    d = start(dns_servers=nsd.address)
    cleanup = d.channel(CLEANUP)
    cleanup.sock.settimeout(2)
    sent = 0
    with pytest.raises(TimeoutError):
        while True:                                                     # until it no longer listens
            cleanup.send(310, 1, (b's', b'many.test'), MX, 0)
            sent += 1
    rss = int(re.search(r'VmRSS:\s+(\d+)', open(f'/proc/{d.proc.pid}/status').read()).group(1))
    assert rss < 60000, (sent, rss)
    assert d.ask('mx1.test', A)[0] == FOUND
    cleanup.sock.close()


class Liar:
    """Answers each question with octets that a function makes of it."""

    def __init__(self, answer):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.sock.getsockname()[1]
        self.pid = os.fork()
        if self.pid == 0:
            try:
                n = 0
                while True:
                    q, peer = self.sock.recvfrom(4096)
                    n += 1
                    for a in answer(q, n):
                        self.sock.sendto(a, peer)
            finally:
                os._exit(0)

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.sock.close()


def lies(q, n):
    """Malformed in many ways, the same each run."""
    import random
    rnd = random.Random(n)
    head = q[:2] + struct.pack('>5H', 0x8180, 1, rnd.choice((0, 1, 2, 65535)), rnd.choice((0, 1)), rnd.choice((0, 1)))
    question = q[12:q.index(b'\0', 12) + 5]
    junk = bytes(rnd.randrange(256) for _ in range(rnd.choice((0, 1, 10, 100, 1000))))
    rr = b'\xc0\x0c' + struct.pack('>HHIH', rnd.choice((1, 5, 15, 28)), 1, 60, rnd.choice((0, 3, 4, 5, 16, 65535))) + junk
    good = bytearray(head + question + rr + junk)
    for _ in range(rnd.randrange(4)):
        good[rnd.randrange(2, len(good))] = rnd.randrange(256)
    return [bytes(good[:rnd.choice((1, 5, 12, len(good)))]), bytes(good)]


def test_a_hostile_server_costs_only_its_lookups(start):
    liar = Liar(lies)
    try:
        d = start(dns_servers=liar.address, dns_timeout='1s')
        pid = d.proc.pid
        for i in range(300):
            d.remote.send(310, 1000 + i, (b's', f'n{i}.test'.encode()), (A, MX, AAAA)[i % 3], 0)
        for i in range(300):
            kind, tid, fields = d.remote.receive()
            assert kind == 311 and fields[0] in (FOUND, NODATA, NXDOMAIN, TEMP)
        assert d.proc.poll() is None and d.proc.pid == pid
    finally:
        liar.stop()


def test_the_program_behind_its_walls(start, nsd):
    d = start(dns_servers=nsd.address, wall_probe='yes')
    assert d.ask('many.test', MX)[0] == FOUND                           # TCP, behind them
    acts, breaches = wait_until(lambda: re.search(r'wall_probe: (\d+) acts, .*?(\d+) breaches', d.log()),
                                'it was probed').groups()
    assert int(acts) >= 40 and int(breaches) == 0


def test_trace_asks_it(make, nsd):
    m = make(dns_servers=nsd.address)
    m.start()
    out = m.veredus('trace', '127.0.0.1', 'ann@mx.veredus.test', 'x@test').stdout
    assert 'mx1.test' in out and '127.0.0.2' in out and 'mx2.other.test' in out, out
    m.stop()


def test_files_elsewhere_start_it_anew(make):
    m = make(dns_servers=None)
    conf = m.dir / 'resolv.conf'
    conf.write_text('nameserver 127.0.0.97\n')
    other = m.dir / 'other'
    other.mkdir(mode=0o755)
    (other / 'resolv.conf').write_text('nameserver 127.0.0.98\n')
    m.write_conf(dns_resolv_conf=conf)
    m.start()
    m.wait_log(r'asking the DNS servers 127\.0\.0\.97:53')
    was = m.pid('dns')
    m.write_conf(dns_resolv_conf=other / 'resolv.conf')
    assert m.veredus('reload').returncode == 0
    m.wait_log(r'dns is started anew')
    m.wait_log(r'asking the DNS servers 127\.0\.0\.98:53')
    assert m.pid('dns') != was
    m.write_conf(dns_servers='127.0.0.1:1')                             # a plain reload: the same process
    now = m.pid('dns')
    assert m.veredus('reload').returncode == 0
    m.wait_log(r'asking the DNS servers 127\.0\.0\.1:1\b')
    assert m.pid('dns') == now
    m.stop()
