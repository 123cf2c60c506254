"""The queue's tools act on messages that are in a delivery agent's hands."""
import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import wait_until
from sink import Action, Drop, Sink

ANN, OUT = 'ann@mx.veredus.test', 'x@far.test'


class Until(Action):
    """An answer that comes when the test says so."""

    def __init__(self, octets):
        self.octets, self.go, self.there = octets, threading.Event(), threading.Event()

    async def run(self, session):
        self.there.set()
        while not self.go.is_set():
            await asyncio.sleep(0.005)
        await session.say(self.octets)


@pytest.fixture
def flying(make):
    """(instance, sink, queue id, wait): a message whose transaction waits at a stage."""
    sinks = []

    def start(stage, octets, **settings):
        sink = Sink().start()
        sinks.append(sink)
        m = make(relayhost=sink.hop, **{'minimal_backoff_time': '1h', 'maximal_backoff_time': '2h', **settings})
        m.start()
        wait = Until(octets)
        sink.script[stage] = wait
        qid = m.send(OUT, sender=ANN)
        assert wait.there.wait(30)
        [row] = m.queue()
        assert (row['queue_id'], row['status']) == (qid, 'active')
        return m, sink, qid, wait
    yield start
    for s in sinks:
        s.stop()


def do(m, *words, rc=0):
    r = m.veredus(*words)
    assert r.returncode == rc, (words, r.stdout, r.stderr)
    return r.stdout + r.stderr


def status(m, qid):
    return [r['status'] for r in m.queue() if r['queue_id'] == qid]


def test_mailq_shows_it_as_active(flying):
    m, sink, qid, wait = flying('rcpt', b'250 2.1.5 ok\r\n')
    assert f'{qid}*' in m.tool('mailq').stdout
    assert 'in flight already' in do(m, 'flush', qid)
    wait.go.set()
    sink.script = {}
    m.wait_empty()
    assert len(sink.sessions) == 1 and sink.sessions[0].stages.count('mail') == 1


@pytest.mark.parametrize('stage', ('connect', 'mail', 'rcpt', 'data'))
def test_hold_lets_the_attempt_end_and_keeps_what_is_left(flying, stage):
    m, sink, qid, wait = flying(stage, b'451 4.3.0 later\r\n')
    assert 'ending first' in do(m, 'hold', qid)
    sink.script = {}
    wait.go.set()
    m.wait_log(rf'{qid}: to=<{OUT}>.*status=deferred')
    wait_until(lambda: status(m, qid) == ['hold'], 'it is on hold')
    do(m, 'flush')
    assert status(m, qid) == ['hold'] and sink.messages == []
    assert 'released' in do(m, 'release', qid)
    do(m, 'flush')
    sink.wait(1)
    m.wait_empty()


def test_hold_of_one_that_arrives_all_the_same(flying):
    """The answer to the end of its content was on the way: there is nothing to hold."""
    m, sink, qid, wait = flying('dot', b'250 2.0.0 taken\r\n')
    do(m, 'hold', qid)
    wait.go.set()
    m.wait_log(rf'{qid}: to=<{OUT}>.*status=sent')
    m.wait_empty()


@pytest.mark.parametrize('stage', ('connect', 'rcpt', 'data'))
def test_delete_in_flight(flying, stage):
    """It says that it may arrive all the same; it is tried no more."""
    m, sink, qid, wait = flying(stage, b'451 4.3.0 later\r\n', minimal_backoff_time='1s', maximal_backoff_time='1s')
    assert 'in flight' in do(m, 'delete', qid)
    wait_until(lambda: m.queue() == [] and m.queue_files() == [], 'it is gone\n' + m.tail())
    sink.script = {}
    wait.go.set()
    m.send('y@far.test', sender=ANN)
    assert [r for x in sink.wait(1) for r in x.rcpts] == ['y@far.test']
    m.wait_empty()
    assert qid not in str(m.queue()) and m.maildir('ann') == []
    m.stop()
    m.start()
    m.wait_empty()
    assert len(sink.messages) == 1


def test_requeue_in_flight_takes_the_new_route_after(flying):
    m, sink, qid, wait = flying('rcpt', b'450 4.2.0 later\r\n')
    with Sink() as other:
        m.write_conf(relayhost=other.hop)
        do(m, 'reload')
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(do, m, 'requeue', qid)
            wait_until(lambda: asked.running(), 'it is asked')
            sink.script = {}
            wait.go.set()
            assert 'requeued' in asked.result()
        assert other.wait(1)[0].rcpts == [OUT]
        m.wait_empty()
        assert sink.messages == []


def test_release_and_flush_are_harmless_in_flight(flying):
    m, sink, qid, wait = flying('mail', b'250 2.1.0 ok\r\n')
    assert 'in flight already' in do(m, 'flush', qid)
    assert 'is not on hold' in do(m, 'release', qid, rc=75)
    sink.script = {}
    wait.go.set()
    m.wait_log(f'{qid}: to=<{OUT}>')
    assert m.log().count(f'{qid}: to=<{OUT}>') == 1 and len(sink.sessions) == 1


def test_delete_all_while_hundreds_fly(make):
    """Nothing is left, nothing comes back; what arrives arrives once."""
    with Sink() as sink:
        m = make(relayhost=sink.hop, minimal_backoff_time='1s', maximal_backoff_time='1s')
        m.start()
        hold = Until(b'421 4.3.2 no\r\n')
        sink.script['mail'] = hold
        for i in range(100):
            m.send(f'x{i}@far.test', sender=ANN)
        assert hold.there.wait(30)
        assert '100 messages deleted' in do(m, 'delete', 'all')
        wait_until(lambda: m.queue() == [] and m.queue_files() == [], 'all are gone')
        sink.script = {'mail': Drop(b'421 4.3.2 no\r\n')}
        hold.go.set()
        m.kill('qmgr')
        m.kill('remote')
        m.wait_empty()
        assert sink.messages == [] and m.maildir('ann') == []
        sink.script = {}
        m.send(OUT, sender=ANN)
        assert sink.wait(1)[0].rcpts == [OUT]
        m.stop()
