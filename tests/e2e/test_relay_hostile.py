"""Classes of lessons 3.1 to 3.3 that concern a client: what we put on the wire can
be cut in one way only, and what comes back costs little."""
import re

import pytest

from harness import ROOT, free_port, wait_until
from sink import Drop, Endless, Sink
from test_volume import memory_kib

AGAIN = dict(minimal_backoff_time='1s', maximal_backoff_time='1s')
ANN = 'ann@mx.veredus.test'
ENDS = (b'\r\n', b'\n', b'\r', b'\r\r\n', b'\n\r', b'\0\r\n')


@pytest.fixture(scope='module')
def sink():
    with Sink() as s:
        yield s


@pytest.fixture
def out(make, sink):
    def start(**settings):
        return make(relayhost=sink.hop, **{**AGAIN, **settings}).start()
    yield start
    sink.clear()


def wire_is_clean(raw):
    """No CR without LF, no LF without CR, no NUL."""
    assert not re.search(rb'(?<!\r)\n|\r(?!\n)|\0', bytes(raw)), bytes(raw)[-300:]


@pytest.mark.parametrize('a', ENDS[1:])
def test_cve_2023_51764_smuggling_never_leaves_us(out, sink, a):
    """Where bare CR and LF are let in, they have become line ends; the other host
    sees one message, whose every line it can find."""
    m = out(smtpd_forbid_bare_newline='no')
    taken = 0
    for b in ENDS:
        evil = b'Subject: x\r\n\r\none' + a + b'.' + b + b'MAIL FROM:<evil@far.test>\r\nRCPT TO:<you@far.test>\r\n'
        with m.client() as c:
            c.hello()
            c.open('x@far.test', sender=ANN)
            taken += c.dot(evil).code == 250
    assert taken >= 4 or a.startswith(b'\0')     # NUL is refused
    m.wait_empty()
    sink.wait_for(lambda: len(sink.messages) >= taken, 'all')
    assert len(sink.messages) == taken and {x.reverse_path for x in sink.messages} <= {ANN}
    assert {tuple(x.rcpts) for x in sink.messages} <= {('x@far.test',)}
    for s in sink.sessions:
        wire_is_clean(s.raw)
    m.stop()


def test_smuggling_by_sendmail(out, sink):
    """The same from a local program: each way to end a line, and lone dots."""
    m = out()
    text = b'Subject: x\nTo: x@far.test\n\na\n.\nb\r\n.\r\nc\r.\rMAIL FROM:<e@f>\n..\n'
    r = m.tool('sendmail', '-i', '-f', ANN, 'x@far.test', input=text)
    assert r.returncode == 0, r.stderr
    got = sink.wait(1)[0]
    assert got.content.endswith(b'\r\n\r\na\r\n.\r\nb\r\n.\r\nc\r\n.\r\nMAIL FROM:<e@f>\r\n..\r\n')
    m.wait_empty()
    assert len(sink.messages) == 1
    wire_is_clean(got.session.raw)
    m.stop()


def test_no_address_can_end_its_command(out, sink):
    """All octets that a path may hold, quoted: one command, one line, the same path."""
    m = out()
    paths = [f'"{chr(c)}"@far.test' if chr(c) not in '"\\' else f'"\\{chr(c)}"@far.test' for c in range(32, 127)]
    paths += ['"a> SIZE=1"@far.test', '"a>\\"b"@far.test', "'; id #@far.test".replace(' ', ''), '-oQ/tmp@far.test',
              '${run{id}}@far.test', '"RCPT TO:<x@y>"@far.test', 'x' * 64 + '@far.test']
    for i in range(0, len(paths), 50):
        with m.client() as c:
            c.hello()
            assert c.cmd('MAIL FROM:<"x y>"@mx.veredus.test>').code == 250
            taken = [p for p in paths[i:i + 50] if c.cmd(f'RCPT TO:<{p}>').code == 250]
            assert len(taken) >= len(paths[i:i + 50]) - 5
            assert c.cmd('DATA').code == 354
            c.dot(b'Subject: x\r\n\r\nx\r\n')
    m.wait_empty()
    lines = [x for s in sink.sessions for x in bytes(s.raw).split(b'\r\n')]
    rcpts = [x for x in lines if x.startswith(b'RCPT ')]
    assert all(re.fullmatch(rb'RCPT TO:<(?:"(?:[^"\\]|\\.)*"|[^"<> ]+)@far\.test>', x) for x in rcpts), rcpts
    assert len(rcpts) >= len(paths) - 5
    for s in sink.sessions:
        wire_is_clean(s.raw)
    m.stop()


def test_a_chain_of_three_changes_nothing(make, sink):
    """client -> us -> us -> sink: dots, long lines, 8 bit, empty lines, once each."""
    second = make(relayhost=sink.hop, myhostname='second.veredus.test', mydestination='', **AGAIN).start()
    first = make(relayhost=f'[127.0.0.1]:{second.port}', **AGAIN).start()
    body = b'.\r\n..\r\n...x\r\n\r\n\r\n' + b'\xff' * 100 + b'\r\n' + b'y' * 5000 + b'\r\n.\r\n'
    stuffed = re.sub(rb'(?m)^\.', b'..', body)
    with first.client() as c:
        c.hello()
        c.open('x@far.test', sender=ANN)
        assert c.dot(b'Subject: x\r\n\r\n' + stuffed).code == 250
    got = sink.wait(1)[0]
    assert got.content.partition(b'\r\n\r\n')[2] == body and got.content.count(b'\r\nReceived: ') == 1
    first.wait_empty()
    second.wait_empty()
    assert len(sink.messages) == 1
    sink.clear()
    first.stop()
    second.stop()


def test_a_loop_of_two_hosts_ends(make):
    """Each sends it to the other: hopcount_limit ends it, and the bounce too."""
    one, two = free_port(), free_port()
    ms = [make(myhostname=f'h{i}.veredus.test', mydestination='', listen=f'127.0.0.1:{mine}',
               relayhost=f'[127.0.0.1]:{other}', hopcount_limit=10, **AGAIN) for i, mine, other in
          ((1, one, two), (2, two, one))]
    for m, port in zip(ms, (one, two)):
        m.port = port
        m.start()
    ms[0].send('x@far.test', sender='y@far.test')
    wait_until(lambda: all(r['status'] == 'hold' for m in ms for r in m.queue()) and
               any(m.queue() for m in ms), 'it ends on hold', 60)
    assert sum(m.log().count('status=sent') for m in ms) < 60
    for m in ms:
        m.stop()


@pytest.mark.parametrize('octets,first', [
    (b'250-' + b'x' * 500 + b'\r\n', b''), (b'x' * 4096, b'250 '), (b'\0' * 4096, b''), (b'250-\r\n' * 500, b'')],
    ids=['lines', 'line', 'NUL', 'empty'])
def test_unlimited_discard_endless_replies_cost_no_memory(out, sink, octets, first):
    """PF 20260529, its client's side: fifty replies that never end."""
    m = out(default_destination_concurrency_limit=50)
    sink.script['rcpt'] = Endless(octets, first)
    before = memory_kib(m.pid('remote'))
    for i in range(50):
        m.send(f'x{i}@far.test', sender=ANN)
    wait_until(lambda: m.log().count('status=deferred') >= 50, 'all have their fate', 60)
    assert 'status=sent' not in m.log() and 'status=bounced' not in m.log()
    assert memory_kib(m.pid('remote')) < before + (6 if ROOT else 12) * 1024
    sink.script = {}
    assert m.veredus('delete', 'all').returncode == 0
    m.wait_empty()
    m.stop()


def test_half_a_reply_at_every_octet(out, sink):
    """The answer to the end of the content is cut at each octet: only the whole one
    counts, and no message is taken for sent before it."""
    m = out(smtp_connection_cache_time_limit=0)
    answer = b'250-2.0.0 one\r\n250 2.0.0 two\r\n'
    cuts = list(range(len(answer)))
    left = list(cuts)

    def dot(session, _):
        return Drop(answer[:left.pop(0)]) if left else None
    sink.script['dot'] = dot
    qid = m.send('x@far.test', sender=ANN)
    for _ in range(100):
        if not left:
            break
        n = len(left)
        m.veredus('flush', qid)
        wait_until(lambda k=n: len(left) < k, 'tried')
    m.wait_log(rf'{qid}: to=<x@far.test>.*status=sent')
    m.wait_empty()
    assert m.log().count(f'{qid}: to=<x@far.test>') == len(cuts) + 1
    assert len(re.findall(rf'{qid}: to=<x@far.test>.*dsn=4\.4\.2, status=deferred', m.log())) == len(cuts)
    assert len(sink.messages) == 1
    m.stop()
