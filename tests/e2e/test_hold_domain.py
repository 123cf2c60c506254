"""A domain on hold, and what is known of destinations: shown, kept, released."""
import json
import re
import time

import pytest

from harness import wait_until
from test_destinations import Sink, port  # noqa: F401 (port is a fixture)

HELD = 'x@held.test'
FREE = 'y@free.test'


@pytest.fixture
def relay(make, port):
    m = make(relayhost=f'[127.0.0.1]:{port}', minimal_backoff_time='1h', maximal_backoff_time='2h')
    m.start()
    return m


def destinations(m):
    r = m.veredus('queue', '-j', '--destinations')
    return {d['destination']: d for d in map(json.loads, r.stdout.splitlines())}


def test_a_domain_waits_until_it_is_released(relay, port):
    m, sink = relay, Sink(port)
    try:
        r = m.veredus('hold', 'domain', 'Held.test')
        assert r.returncode == 0 and 'mail for Held.test is on hold' in r.stdout + r.stderr, r
        m.send([HELD, FREE])
        wait_until(lambda: sink.rcpts == [FREE], 'the other goes')
        row = wait_until(lambda: [r for r in m.queue() if r['status'] == 'hold'], f'it is held\n{m.tail()}')[0]
        assert row['recipient'] == HELD and row['hold_reason'] == 'domain held.test is on hold', row
        assert 'held.test' in m.tool('mailq').stdout
        assert m.veredus('flush').returncode == 0
        m.kill('qmgr')
        m.kill('cleanup')
        wait_until(m.is_up, 'all are back')
        m.send(HELD)
        wait_until(lambda: [r['status'] for r in m.queue()] == ['hold', 'hold'], f'both are held\n{m.tail()}')
        m.stop()
        m.start()
        wait_until(lambda: [r['status'] for r in m.queue()] == ['hold', 'hold'], f'still\n{m.tail()}')
        assert destinations(m)['domain:Held.test']['status'] == 'hold'
        assert sink.rcpts == [FREE]
        assert m.veredus('release', 'domain', 'other.test').returncode == 66
        assert m.veredus('release', 'domain', 'held.test').returncode == 0
        m.wait_empty()
        assert sorted(sink.rcpts) == [HELD, HELD, FREE]
    finally:
        sink.stop()


def test_until_a_time(relay, port):
    m, sink = relay, Sink(port)
    try:
        assert m.veredus('hold', 'domain', 'held.test', 'until', '3s').returncode == 0
        m.send(HELD)
        row = wait_until(lambda: m.queue(), 'it is queued')[0]
        if row['status'] == 'hold':  # else the three seconds were over
            assert re.fullmatch(r'domain held.test is on hold until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ',
                                row['hold_reason']), row
        m.wait_empty()
        assert sink.rcpts == [HELD]
    finally:
        sink.stop()


def once(pairs):
    """Of json.loads(): the same name twice is no JSON that everybody reads (RFC 8259, 4)."""
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), names
    return dict(pairs)


def rows(m, *words):
    r = m.veredus(*words)
    assert r.returncode == 0, r
    return [json.loads(line, object_pairs_hook=once) for line in r.stdout.splitlines()]


def test_simulate_knows_a_domain_on_hold_from_a_message_on_hold(make):
    """The message goes on to its other recipients, and to this one after the hold."""
    m = make(relayhost='[127.0.0.1]:1', minimal_backoff_time='10m', maximal_backoff_time='30m')
    m.start()
    for i in range(3):
        m.send([f'x{i}@far.test', f'y{i}@near.test'])
    wait_until(lambda: len(m.queue()) == 6 and all(r['attempts'] for r in m.queue()), 'all were tried')
    assert m.veredus('hold', 'domain', 'far.test', 'until', '3h').returncode == 0
    wait_until(lambda: sum(r['status'] == 'hold' for r in m.queue()) == 3, 'on hold')
    held = [r for r in m.queue() if r['status'] == 'hold']
    assert m.veredus('hold', held[0]['queue_id']).returncode == 0
    by_id = {r['queue_id']: r for r in rows(m, 'queue', '--simulate', '6h', '-j', 'by=message')}
    assert by_id.pop(held[0]['queue_id'])['end'] == 'hold'
    for r in by_id.values():
        assert r['end'] == 'waits' and r['attempts'] > 2, r
        assert r['first_try_at'] < time.time() + 1200, r
    [total, *_] = rows(m, 'queue', '--simulate', '6h', '-j')
    assert (total['messages'], total['hold'], total['waits']) == (3, 1, 2), total
    for words in (['queue', '--simulate', '6h', 'by=time'], ['queue', '-d'], ['queue'], ['queue', '-b'], ['queue', '-s'],
                  ['queue', 'count'], ['status'], ['spool', 'status'], ['spool', 'check'], ['config']):
        assert rows(m, words[0], '-j', *words[1:]), words


@pytest.mark.parametrize('words, code', [
    (['held.test', 'until', 'soon'], 64),
    (['held.test', 'until', '2001-01-01'], 64),
    (['held.test', 'until'], 64),
    (['held.test', 'until', '1h', 'more'], 64),
    (['x@held.test'], 64),
    (['.held.test'], 64),
    (['held..test'], 64),
])
def test_bad_words(relay, words, code):
    r = relay.veredus('hold', 'domain', *words)
    assert r.returncode == code, r
    assert 'domain:held.test' not in destinations(relay)


def test_the_dead_are_listed_and_remembered(relay, port):
    m = relay
    for i in range(5):
        m.send(f'x{i}@elsewhere.test')
        wait_until(lambda i=i: sum(r['status'] == 'deferred' and r['reply'] != '' for r in m.queue()) == i + 1,
                   f'deferred\n{m.tail()}')
    name = f'smtp:[127.0.0.1]:{port}'
    d = wait_until(lambda: destinations(m).get(name), 'it is known')
    assert d['status'] == 'dead' and 'refused' in d['reply'] and d['window'] == 1 and d['running'] == 0, d
    assert name in m.veredus('queue', '--destinations').stdout
    m.stop()
    m.start()
    again = wait_until(lambda: destinations(m).get(name), f'it is remembered\n{m.tail()}')
    assert again['status'] == 'dead' and again['reply'] == d['reply']
    assert again['until'] == d['until']
