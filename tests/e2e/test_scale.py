"""A long queue: the start, memory, lists, sums and bulk actions. 100,000
messages; in check-long 1,000,000, and then times count. All times are printed
(pytest -rP shows them)."""
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from harness import ROOT, tool, wait_until
from test_volume import memory_kib

LONG = 'VEREDUS_LONG' in os.environ
N = int(os.environ.get('VEREDUS_SCALE', 1000000 if LONG else 100000))
FILL = Path(os.environ.get('VEREDUS_BUILD', Path(__file__).resolve().parents[2] / 'build')) / 'tests' / 'fillqueue'
DOMAINS = 200
ANN = 'ann@mx.veredus.test'


def filled(make, n, wait=7200, spread=0, **settings):
    """An instance at rest with n deferred messages."""
    m = make(**settings)
    m.start()
    m.stop()                     # the directories are there, and whose they are
    t0 = time.monotonic()
    subprocess.run([str(FILL), str(m.spool), str(n), str(wait), str(spread), str(DOMAINS)], check=True, timeout=900)
    print(f'{n} queue files written in {time.monotonic() - t0:.1f} s')
    return m


def count(m):
    r = m.veredus('queue', '-j', 'count')
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def timed(m, *words):
    """Runs a tool: time to its first line, time to the end, lines."""
    t0 = time.monotonic()
    p = subprocess.Popen([tool(words[0]), '-C' if words[0] == 'mailq' else '-c', str(m.conf), *words[1:]],
                         stdout=subprocess.PIPE)
    first, lines, t1 = p.stdout.readline(), 1, time.monotonic()
    for last in p.stdout:
        lines += 1
    assert p.wait() == 0
    t2 = time.monotonic()
    print(f'{" ".join(words)}: first line after {(t1 - t0) * 1000:.0f} ms, {lines} lines in {t2 - t0:.2f} s: '
          f'{N / (t2 - t0):.0f} messages/s')
    return first.decode(), last.decode(), lines, t1 - t0, t2 - t0


def test_the_start_lists_and_bulk_actions(make):
    m = filled(make, N)
    fresh = make()
    fresh.start()
    empty = memory_kib(fresh.pid('qmgr'))
    fresh.stop()

    t0 = time.monotonic()
    m.start()
    started = time.monotonic() - t0
    m.send(ANN)                  # flows while the backlog is being taken
    m.mail('ann')
    flowed, known = time.monotonic() - t0, count(m)['total']
    wait_until(lambda: count(m)['total'] == N, 'all are known to qmgr', 600)
    taken = time.monotonic() - t0
    print(f'port 25 answers {started:.2f} s after the start; a message is delivered after {flowed:.2f} s, when '
          f'{known} are known; all are after {taken:.1f} s')
    used = memory_kib(m.pid('qmgr'))
    print(f'qmgr: {used / 1024:.1f} MiB, {(used - empty) * 1024 / N:.0f} octets a message; '
          f'cleanup: {memory_kib(m.pid("cleanup")) / 1024:.1f} MiB')
    assert (used - empty) * 1024 / N < 150
    assert memory_kib(m.pid('cleanup')) < 200 * 1024
    if LONG:
        assert used < 200 * 1024
        for _ in range(5):       # other tests run beside us
            if started < 1:
                break
            m.stop()
            t0 = time.monotonic()
            m.start()
            started = min(started, time.monotonic() - t0)
            print(f'port 25 answers {time.monotonic() - t0:.2f} s after another start')
        assert started < 1
        wait_until(lambda: count(m)['total'] == N, 'all are known to qmgr', 600)

    _, last, _, first_s, _ = timed(m, 'mailq')
    assert f'{N} messages.' in last
    assert not LONG or first_s < 0.1
    assert timed(m, 'veredus', 'queue', '-j')[2] == N
    assert timed(m, 'veredus', 'queue', '-b')[2] == N + 1
    t0 = time.monotonic()
    r = m.veredus('queue', '-s', '-j')
    print(f'veredus queue -s: {(time.monotonic() - t0) * 1000:.0f} ms')
    rows = [json.loads(line) for line in r.stdout.splitlines()]
    assert rows[0]['destination'] == 'TOTAL' and rows[0]['messages'] == N
    assert sum(row['messages'] for row in rows[1:]) == N
    assert rows[1] == {'destination': 'smtp:d0.test', 'messages': N // DOMAINS, **{
        k: v for k, v in rows[1].items() if k not in ('destination', 'messages')}}
    assert rows[0]['5m'] == 0 and sum(v for k, v in rows[0].items() if k.endswith(('m', 'm+'))) == N
    rows = [json.loads(line) for line in m.veredus('queue', '-s', '-j', 'sender', 'status=deferred').stdout.splitlines()]
    assert len(rows) == 101 and {r['messages'] for r in rows[1:]} == {N // 100}

    t0 = time.monotonic()
    r = m.veredus('queue', '--simulate', '6h', '-j', timeout=1800)
    print(f'--simulate 6h: {time.monotonic() - t0:.1f} s')
    rows = [json.loads(line) for line in r.stdout.splitlines()]
    assert rows[0]['destination'] == 'TOTAL' and rows[0]['messages'] == rows[0]['waits'] == N
    assert rows[0]['attempts'] > DOMAINS and len(rows) == 102
    assert rows[1]['destination'] == 'smtp:d0.test' and rows[1]['first_try_at'] > time.time() + 3600
    row = json.loads(m.veredus('queue', '-j', 'destination=d7.test', 'age=3000').stdout.splitlines()[0])
    assert row['attempts'] == 1, 'the real one has not moved'

    before = {p: memory_kib(m.pid(p)) for p in ('qmgr', 'cleanup')}
    t0 = time.monotonic()
    r = m.veredus('hold', 'destination=smtp:d7.test', timeout=600)
    print(f'hold destination=: {time.monotonic() - t0:.1f} s, {r.stdout.strip()}')
    assert r.returncode == 0 and f'{N // DOMAINS} messages on hold' in r.stdout, r
    assert count(m)['hold'] == N // DOMAINS
    assert timed(m, 'veredus', 'queue', '-j', 'status=hold')[2] == N // DOMAINS
    for words, done in (('release', 'status=hold'), f'{N // DOMAINS} messages released'), \
            (('delete', 'sender=s3@from.test'), f'{N // 100} messages deleted'), \
            (('delete', 'all'), f'{N - N // 100} messages deleted'):
        t0 = time.monotonic()
        r = m.veredus(*words, timeout=1800)
        print(f'{" ".join(words)}: {time.monotonic() - t0:.1f} s, {r.stdout.strip()}')
        assert r.returncode == 0 and done in r.stdout, r
        if time.monotonic() - t0 > 3:
            assert re.search(r'^veredus: \d+ of \d+ messages looked at, \d+ ', r.stderr, re.M), r.stderr
    for p, kib in before.items():
        assert memory_kib(m.pid(p)) < kib + 20 * 1024, p
    assert count(m)['total'] == 0
    m.stop()
    assert m.queue_files() == []


def test_an_act_just_after_a_start_is_whole(make):
    """Messages that qmgr does not know of yet are no less queued."""
    n = 20000
    m = filled(make, n)
    m.start()
    for words, done in ((('hold', 'sender=s3@from.test'), 'on hold'), (('delete', 'sender=s4@from.test'), 'deleted')):
        m.kill('qmgr')
        wait_until(m.is_up, 'all programs are back')
        r = m.veredus(*words, timeout=100)
        print(f'{" ".join(words)}: {count(m)["total"]} known at its end')
        assert r.returncode == 0 and f'{n // 100} messages {done}' in r.stdout, r
    m.kill('qmgr')
    wait_until(m.is_up, 'all programs are back')
    assert m.veredus('queue', '-b', '-j').stdout.count('\n') == n - n // 100
    assert len(m.queue_files()) == n - n // 100
