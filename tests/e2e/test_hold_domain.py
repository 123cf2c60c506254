"""A domain on hold, and what is known of destinations: shown, kept, released."""
import json
import re

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


@pytest.mark.parametrize('words, code', [
    (['held.test', 'until', 'soon'], 64),
    (['held.test', 'until', '2001-01-01'], 64),
    (['held.test', 'until'], 64),
    (['held.test', 'until', '1h', 'more'], 64),
    (['x@held.test'], 64),
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
