"""Mail leaves the host: to a sink that takes it, and to one that misbehaves at
each stage and octet.  Whatever it does, a message ends delivered once, deferred or
failed as its answer says, and the next one flows."""
import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
import threading

import pytest

from sink import Action, Drop, Endless, Hang, Sink, Slow, Then

TIMEOUTS = {f'smtp_{x}_timeout': '1s' for x in
            ('connect', 'helo', 'mail', 'rcpt', 'data_init', 'data_xfer', 'data_done', 'quit')}
STAGES = ('connect', 'ehlo', 'mail', 'rcpt', 'data', 'dot')
BEFORE_THE_END = STAGES[:-1]
BODY = 'Subject: test\r\n\r\nhello\r\n'


@pytest.fixture(scope='module')
def sink():
    with Sink() as s:
        yield s


@pytest.fixture(scope='module')
def host(sink):
    """An instance that sends all to the sink, and tries again at once."""
    import harness
    i = harness.Instance(relayhost=sink.hop, minimal_backoff_time='1s', maximal_backoff_time='1s',
                         smtp_connection_cache_time_limit=0, **TIMEOUTS)
    i.start()
    yield i
    try:
        i.stop()
    finally:
        i.remove()


@pytest.fixture(autouse=True)
def fresh(sink):
    yield
    sink.clear()


def status(host, qid, rcpt='x@far.test'):
    """The first status of a recipient, and the reply in brackets."""
    host.wait_log(rf'{qid}: to=<{re.escape(rcpt)}>.*status=\w+ \(')
    m = re.search(rf'{qid}: to=<{re.escape(rcpt)}>.*relay=(.*?), .*dsn=([\d.]+), status=(\w+) \((.*)\)',
                  host.log())
    return m.group(3), m.group(2), m.group(4), m.group(1)


def recovers(host, sink, qid, count=1):
    """The sink behaves again: the message arrives, once."""
    sink.script = {}
    assert host.veredus('flush').returncode == 0
    sink.wait(count)
    host.wait_log(rf'{qid}: to=<x@far.test>.*status=sent')
    host.wait_empty()
    assert len(sink.messages) == count


def test_a_message_arrives(host, sink):
    qid = host.send('x@far.test', sender='ann@local.test', body=BODY)
    m = sink.wait(1)[0]
    assert m.reverse_path == 'ann@local.test' and m.rcpts == ['x@far.test']
    assert m.content.endswith(b'Subject: test\r\n\r\nhello\r\n')
    assert re.search(r'SIZE=\d+', m.parameters)
    got = status(host, qid)
    assert got[0] == 'sent' and got[2] == '250 2.0.0 ok'
    assert got[3] == f'127.0.0.1[127.0.0.1]:{sink.port}'
    host.wait_empty()


def test_size_is_what_is_sent(host, sink):
    host.send('x@far.test', sender='ann@local.test', body=BODY + '.dot\r\n..\r\n')
    m = sink.wait(1)[0]
    assert int(re.search(r'SIZE=(\d+)', m.parameters).group(1)) == len(m.content)


def test_dots_and_long_content(host, sink):
    body = 'Subject: dots\r\n\r\n' + ''.join(f'{"." * (i % 4)}line {i}\r\n' for i in range(20000)) + '.\r\n'
    host.send('x@far.test', sender='ann@local.test', body=body)
    m = sink.wait(1)[0]
    assert m.content.endswith(body.encode()[-100000:]) and len(m.content) > len(body)
    assert not re.search(rb'(?<!\r)\n|\r(?!\n)', bytes(m.session.raw))


def test_some_refused(host, sink):
    answers = {'a@far.test': b'550 5.1.1 no a\r\n', 'b@far.test': b'450 4.2.1 later b\r\n'}
    sink.script['rcpt'] = lambda s, path: answers.get(path)
    qid = host.send(['a@far.test', 'b@far.test', 'c@far.test'], sender='ann@local.test')
    assert sink.wait(1)[0].rcpts == ['c@far.test']
    assert status(host, qid, 'c@far.test')[0] == 'sent'
    assert status(host, qid, 'a@far.test')[1:3] == ('5.1.1', '550 5.1.1 no a')
    assert status(host, qid, 'b@far.test')[:3] == ('deferred', '4.2.1', '450 4.2.1 later b')
    answers.clear()
    assert sink.wait(2)[1].rcpts == ['b@far.test']
    host.wait_empty()


@pytest.mark.parametrize('stage', STAGES)
def test_4yz(host, sink, stage):
    sink.script[stage] = b'451 4.7.1 not now\r\n'
    qid = host.send('x@far.test', sender='ann@local.test')
    assert status(host, qid)[:3] == ('deferred', '4.7.1', '451 4.7.1 not now')
    assert sink.messages == []
    recovers(host, sink, qid)


@pytest.mark.parametrize('stage', ('mail', 'rcpt', 'data', 'dot'))
def test_5yz_fails(host, sink, stage):
    sink.script[stage] = b'554-5.7.1 no\r\n554 5.7.1 never\r\n'
    qid = host.send('x@far.test', sender='ann@local.test')
    got = status(host, qid)
    assert got[1:3] == ('5.7.1', '554 5.7.1 no never')
    assert sink.messages == []


@pytest.mark.parametrize('stage', ('connect', 'ehlo'))
def test_5yz_to_the_session_defers(host, sink, stage):
    sink.script[stage] = b'554 5.7.1 no\r\n'
    qid = host.send('x@far.test', sender='ann@local.test')
    assert status(host, qid)[:3] == ('deferred', '4.7.1', '554 5.7.1 no')
    recovers(host, sink, qid)


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize('what', ('421', 'close', 'reset', 'part', 'lines'))
def test_drop(host, sink, stage, what):
    sink.script[stage] = {
        '421': Drop(b'421 4.3.2 bye\r\n'), 'close': Drop(), 'reset': Drop(reset=True),
        'part': Drop(b'250 2.0'), 'lines': Drop(b'250-2.0.0 ok\r\n250-2.0.0 and\r\n')}[what]
    qid = host.send('x@far.test', sender='ann@local.test')
    got = status(host, qid)
    assert got[0] == 'deferred' and got[1] == ('4.3.2' if what == '421' else '4.4.2'), got
    assert sink.messages == []
    recovers(host, sink, qid)


NONSENSE = {
    'endless lines': Endless(b'250-more\r\n' * 100), 'endless line': Endless(b'x' * 1000, b'250 '),
    'a megabyte': b'250 ' + b'x' * 1000000 + b'\r\n', 'HTTP': b'HTTP/1.0 400 Bad Request\r\n\r\n',
    'bare LF': b'250 ok\n', 'bare CR': b'250 ok\r250 ok\r\n', 'NUL for a code': b'\0\0\0 ok\r\n',
    'no code': b'ok\r\n', 'a digit': b'2\r\n', '3yz': b'334 go\r\n',
}


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize('name', NONSENSE)
def test_nonsense(host, sink, stage, name):
    sink.script[stage] = NONSENSE[name]
    qid = host.send('x@far.test', sender='ann@local.test')
    got = status(host, qid)
    assert got[0] == 'deferred' and got[1].startswith('4.'), got
    assert sink.messages == []
    recovers(host, sink, qid)


@pytest.mark.parametrize('stage', STAGES)
def test_silence(host, sink, stage):
    sink.script[stage] = Hang(b'250-2.0.0 wait\r\n')
    qid = host.send('x@far.test', sender='ann@local.test')
    got = status(host, qid)
    assert got[0] == 'deferred' and got[1] == '4.4.2', got
    recovers(host, sink, qid)


def test_slow_octets_win_no_time(host, sink):
    sink.script['mail'] = Slow(b'250-' + b'x' * 200 + b'\r\n250 ok\r\n')
    qid = host.send('x@far.test', sender='ann@local.test')
    assert status(host, qid)[0] == 'deferred'
    recovers(host, sink, qid)


def test_everything_said_at_once(host, sink):
    sink.script['connect'] = Then(b'220 hi\r\n' + sink.ehlo + b'250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n')
    qid = host.send('x@far.test', sender='ann@local.test')
    got = status(host, qid)
    assert got[:2] == ('deferred', '4.5.0'), got
    recovers(host, sink, qid)


def test_wrong_order(host, sink):
    """354 to RCPT, 250 to DATA."""
    sink.script['rcpt'] = b'354 go\r\n'
    qid = host.send('x@far.test', sender='ann@local.test')
    assert status(host, qid)[:2] == ('deferred', '4.5.0')
    sink.script = {'data': b'250 ok\r\n'}
    host.wait_log(rf'{qid}: to=<x@far.test>.*DATA.*250 ok')
    recovers(host, sink, qid)


@pytest.mark.parametrize('answer', (b'550\r\n', b'550 \r\n', b'550 5.7.2\r\n', b'550 5.1.1 \0\x1b[2J\xe2\x80\xa8%s%n\r\n',
                                    b'550-\r\n550-\r\n550\r\n'))
def test_odd_texts_are_shown_safely(host, sink, answer):
    sink.script['rcpt'] = answer
    qid = host.send('x@far.test', sender='ann@local.test')
    got = status(host, qid)
    assert got[1].startswith('5.') and got[2].startswith('550')
    assert re.fullmatch(r'[ -~]*', got[2])


def test_no_answer_after_the_dot_is_not_lost(host, sink):
    """RFC 1047: it may arrive twice, and is never lost."""
    def taken_and_gone(session, _):
        sink.take(session.message or type('M', (), {'rcpts': []})())
        return Drop()
    sink.script['dot'] = taken_and_gone
    qid = host.send('x@far.test', sender='ann@local.test')
    assert status(host, qid)[:2] == ('deferred', '4.4.2')
    sink.script = {}
    host.wait_log(rf'{qid}: to=<x@far.test>.*status=sent')


def test_content_is_refused_half_way(host, sink):
    sink.script['content'] = Drop(b'552 5.3.4 enough\r\n')
    qid = host.send('x@far.test', sender='ann@local.test', body=BODY + 'x' * 70 + '\r\n')
    host.wait_log(rf'{qid}: to=<x@far.test>.*status=\w+')
    assert sink.messages == []
    host.tool('veredus', 'delete', 'all')          # a retry would come into the next test
    host.wait_empty()


def test_too_large_for_the_host(host, sink):
    was, sink.ehlo = sink.ehlo, b'250-sink.test\r\n250 SIZE 100\r\n'
    try:
        qid = host.send('x@far.test', sender='ann@local.test')
        assert status(host, qid)[1] == '5.3.4'
        assert 'mail' not in sum((s.stages for s in sink.sessions), [])
    finally:
        sink.ehlo = was


def test_helo_when_ehlo_is_unknown(host, sink):
    said = []
    sink.script['ehlo'] = lambda s, arg: None if said else said.append(1) or b'502 what\r\n'
    qid = host.send('x@far.test', sender='ann@local.test')
    assert status(host, qid)[0] == 'sent'
    assert re.search(rb'EHLO .*\r\nHELO .*\r\nMAIL FROM:<ann@local.test>\r\n', bytes(sink.wait(1)[0].session.raw))


def test_nobody_listens(host, sink):
    sink.stop()
    qid = host.send('x@far.test', sender='ann@local.test')
    got = status(host, qid)
    assert got[:2] == ('deferred', '4.4.1')
    assert re.search(rf'connect to 127\.0\.0\.1\[127\.0\.0\.1\]: Connection refused \(port {sink.port}\)', host.log())
    sink.start()
    sink.wait(1)
    host.wait_empty()


def test_connection_is_used_again(make):
    with Sink() as sink:
        i = make(relayhost=sink.hop, smtp_connection_cache_time_limit='30s', smtp_connection_reuse_count_limit=5)
        i.start()
        for n in range(10):
            i.send(f'x{n}@far.test', sender='ann@local.test')
            sink.wait(n + 1)
            i.wait_empty()
        assert len(sink.sessions) == 2
        assert [s.stages.count('dot') for s in sink.sessions] == [5, 5]
        i.stop()


def test_killed_in_the_middle(make):
    """remote dies with mail in its hands: all arrives."""
    with Sink() as sink:
        i = make(relayhost=sink.hop, minimal_backoff_time='1s')
        i.start()
        sink.script['rcpt'] = Hang()
        for n in range(5):
            i.send(f'x{n}@far.test', sender='ann@local.test')
        sink.wait_for(lambda: any('rcpt' in s.stages for s in sink.sessions), 'RCPT')
        os.kill(i.pid('remote'), signal.SIGSTOP)  # nothing is delivered just before
        sink.script = {}
        i.kill('remote')
        sink.wait(5)
        i.wait_empty()
        assert sorted(r for m in sink.messages for r in m.rcpts) == [f'x{n}@far.test' for n in range(5)]
        i.stop()


def test_lmtp_over_a_unix_socket(make):
    """A fate a recipient; before the server is there, mail waits."""
    i = make(minimal_backoff_time='1s', maximal_backoff_time='1s')
    path = str(i.dir / 'lmtp.sock')
    i.write_conf(transport_maps=f'inline:{{ far.test=lmtp:unix:{path} }}', lmtp_sockets=path)
    i.start()
    qid = i.send(['a@far.test', 'b@far.test'], sender='ann@local.test')
    got = status(i, qid, 'a@far.test')
    assert got[:2] == ('deferred', '4.4.1') and got[3].endswith(f'[{path}]')
    assert got[2].endswith('No such file or directory')
    with Sink(path=path, lmtp=True) as sink:
        sink.script['dot'] = lambda s, rcpt: b'552 5.2.2 full\r\n' if rcpt == 'b@far.test' else None
        assert sink.wait(1)[0].rcpts == ['a@far.test']
        i.wait_log(rf'{qid}: to=<a@far.test>, .*status=sent')
        i.wait_log(rf'{qid}: to=<b@far.test>, .*dsn=5.2.2')
        assert b'LHLO ' in sink.sessions[0].raw
        i.stop()


def test_lmtp_over_tcp(make):
    with Sink(lmtp=True) as sink:
        i = make(transport_maps=f'inline:{{ far.test=lmtp:{sink.hop} }}', minimal_backoff_time='1s')
        i.start()
        later = []
        sink.script['dot'] = lambda s, rcpt: None if rcpt != 'b@far.test' or later else \
            later.append(1) or b'452 4.2.2 full\r\n'
        i.send(['a@far.test', 'b@far.test', 'c@far.test'], sender='ann@local.test')
        assert sink.wait(2)[0].rcpts == ['a@far.test', 'c@far.test']
        assert sink.messages[1].rcpts == ['b@far.test']
        i.wait_empty()
        i.stop()


class Refuser:
    """Refuses content while it comes, and closes with octets unread: a reset."""
    def __init__(self, answer):
        self.answer, self.sock = answer, socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.bind(('127.0.0.1', 0))
        self.sock.listen()
        self.port, self.times = self.sock.getsockname()[1], 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            with conn, contextlib.suppress(OSError):
                self.serve(conn)

    def serve(self, conn):
        f = conn.makefile('rb')
        conn.sendall(b'220 refuser\r\n')
        for answer in (b'250 hello\r\n', b'250 ok\r\n', b'250 ok\r\n', b'354 go on\r\n'):
            f.readline()
            conn.sendall(answer)
        f.readline()
        self.times += 1
        conn.sendall(self.answer)
        f.close()


@pytest.mark.parametrize('answer,fate', [(b'552 5.3.4 too much\r\n', 'bounced'), (b'452 4.3.1 full\r\n', 'deferred')],
                         ids=['552', '452'])
def test_a_refusal_before_a_reset_is_heard(make, answer, fate):
    r = Refuser(answer)
    host = make(relayhost=f'[127.0.0.1]:{r.port}')
    host.start()
    body = 'Subject: much\r\n\r\n' + 'all work and no play\r\n' * 300000
    qid = host.send('x@far.test', sender='ann@local.test', body=body)
    got = status(host, qid)
    r.sock.close()
    assert got[0] == fate and got[2] == answer.decode().strip(), (got, r.times)


class Gate(Action):
    """Answers when it is opened."""
    def __init__(self):
        self.is_open = asyncio.Event()

    async def run(self, session):
        await self.is_open.wait()
        await session.say(b'250 2.0.0 ok\r\n')
        return b'250 2.0.0 ok\r\n'


def test_few_descriptors_are_shared_out(make):
    """More mail than there are descriptors, content by descriptor: it waits in line."""
    sink = Sink(address='0.0.0.0').start()
    host = make()
    domains = [f'd{i}.test' for i in range(60)]
    table = host.dir / 'transport'
    table.write_text(''.join(f'{d} smtp:[127.0.1.{i + 1}]:{sink.port}\n' for i, d in enumerate(domains)))
    host.write_conf(transport_maps=f'file:{table}')
    gate = sink.script['dot'] = Gate()
    host.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (240, 240)))
    pid = host.pid('remote')
    body = 'Subject: large\r\n\r\n' + 'all work and no play\r\n' * 4000
    for d in domains * 5:
        host.send(f'x@{d}', sender='ann@local.test', body=body)
    room = int(host.wait_log(r'only (\d+) connections at a time').group(1))
    sink.wait_for(lambda: sum('dot' in s.stages for s in sink.sessions) == room, 'all are in use')

    async def opens():
        gate.is_open.set()
    sink.call(opens())
    sink.wait(300, timeout=90)
    host.wait_empty()
    assert len(sink.messages) == 300 and host.pid('remote') == pid
    assert 'status=deferred' not in host.log() and 'Too many open files' not in host.log()
    sink.stop()
