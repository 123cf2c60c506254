"""A kept connection is used again while its peer does something odd: what comes
late, twice or unasked is never taken for an answer to the next message."""
import os
import re
import signal

import pytest

from harness import wait_until
from sink import Sink

RCPTS = [f'{c}@far.test' for c in 'xyz']


@pytest.fixture
def sink():
    with Sink() as s:
        yield s


@pytest.fixture
def host(make, sink):
    i = make(relayhost=sink.hop, minimal_backoff_time='1s', maximal_backoff_time='1s',
             smtp_connection_cache_time_limit='60s')
    i.start()
    i.send('first@far.test', sender='ann@local.test')
    sink.wait(1)
    i.wait_log('to=<first@far.test>.*status=sent')
    wait_until(lambda: i.queue() == [], 'the first is done')
    return i


def say(sink, octets, close=False):
    """The sink's one session says something unasked, and leaves."""
    async def now():
        for s in sink.sessions:
            if s.open:
                await s.say(octets)
                if close:
                    s.drop()
    sink.call(now())


def used_again(host, sink, octets, close=False):
    """remote sees the next message first, then what the idle peer said before."""
    pid = host.pid('remote')
    os.kill(pid, signal.SIGSTOP)
    try:
        qid = host.send(RCPTS, sender='ann@local.test')
        wait_until(lambda: all(r['status'] == 'active' for r in host.queue()) and host.queue(), 'remote has it')
        say(sink, octets, close)
    finally:
        os.kill(pid, signal.SIGCONT)
    return qid


@pytest.mark.parametrize('octets', [b'250 2.0.0 late\r\n', b'550 5.4.1 you are idle\r\n', b'421 4.4.2 bye\r\n',
                                    b'250-half', b'354 go on\r\n', b'\0\r\n'], ids=repr)
@pytest.mark.parametrize('close', [False, True], ids=['stays', 'leaves'])
def test_what_was_said_unasked_is_no_answer(host, sink, octets, close):
    sink.script['rcpt'] = lambda s, path: b'550 5.1.1 no x\r\n' if path == RCPTS[0] else None
    qid = used_again(host, sink, octets, close)
    fate = {}
    for r in RCPTS:
        host.wait_log(rf'{qid}: to=<{re.escape(r)}>.*status=\w+ \(')
        fate[r] = re.search(rf'{qid}: to=<{re.escape(r)}>.*status=(\w+) \((.*)\)', host.log()).groups()
    assert fate[RCPTS[0]] == ('bounced', '550 5.1.1 no x'), fate
    assert fate[RCPTS[1]][0] == fate[RCPTS[2]][0] == 'sent', fate
    assert [m.rcpts for m in sink.wait(2)[1:]] == [RCPTS[1:]]


@pytest.mark.parametrize('octets', [b'452 4.5.3 enough for one session\r\n', b'550 5.5.1 enough for one session\r\n',
                                    b'421 4.7.0 enough for one session\r\n'], ids=repr)
def test_enough_for_one_connection_is_no_fate(host, sink, octets):
    sink.script['mail'] = lambda s, path: octets if s.stages.count('mail') > 1 else None
    for n in (2, 3):
        qid = host.send(RCPTS, sender='ann@local.test')
        assert sink.wait(n)[-1].rcpts == RCPTS
        for r in RCPTS:
            host.wait_log(rf'{qid}: to=<{re.escape(r)}>.*status=sent')
        wait_until(lambda: host.queue() == [], 'it is done')
    assert 'status=deferred' not in host.log() and len(sink.sessions) == n


def test_refused_on_a_fresh_connection_is_a_fate(host, sink):
    sink.script['mail'] = b'550 5.7.1 not you\r\n'
    qid = host.send('x@far.test', sender='ann@local.test')
    host.wait_log(rf'{qid}: to=<x@far.test>.*status=bounced \(550 5.7.1 not you\)')
    assert len(sink.sessions) == 2
