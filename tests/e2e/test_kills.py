"""kill -9 of each program under load: every 250 is accounted for by queue id."""
import os
import signal
import time

import pytest

from harness import PROGRAMS, SLOW, wait_until
from load import Accountant, numbers


def wait_under_load(m, a, more=60):
    """Mail flows, deliveries are in flight, transactions are uncommitted."""
    base = len(a.promised)
    wait_until(lambda: len(a.promised) >= base + more, 'mail flows\n' + m.tail())
    wait_until(lambda: a.in_hand > 0 and m.queue(), 'deliveries and transactions in flight')


def account(m, a):
    a.stop()
    m.wait_empty(60)
    for user in ('ann', 'ben'):
        got = numbers(m.maildir(user))
        lost = set(a.promised.values()) - set(got)
        assert not lost, f'{user} lost {len(lost)} of {len(a.promised)}: {sorted(lost)[:5]}\n{m.tail()}'
        twice = [n for n, c in got.items() if c > 1]
        assert not twice, f'{user} got twice: {twice[:5]}'
    assert len(set(a.promised)) == len(set(a.promised.values())), 'queue ids are unique'


@pytest.mark.parametrize('program', PROGRAMS)
def test_kill_one_program_again_and_again(mta, program):
    a = Accountant(mta.port, ['ann@mx.veredus.test', 'ben@mx.veredus.test'])
    for _ in range(3):
        wait_under_load(mta, a)
        mta.kill(program)
    wait_under_load(mta, a)
    account(mta, a)
    if program in ('smtpd', 'cleanup'):
        assert a.cut_off + a.refused > 0, 'transactions were in flight'


def test_kill_the_workers_of_local(make):
    mta = make(minimal_backoff_time='1s')
    mta.start()
    a = Accountant(mta.port, ['ann@mx.veredus.test', 'ben@mx.veredus.test'])
    for _ in range(5):
        wait_under_load(mta, a)
        forker = mta.pid('forker')
        from harness import children
        for pid in children(forker):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    account(mta, a)
    mta.stop()


def test_kill_everything_at_once_and_start_again(make):
    m = make(minimal_backoff_time='1s')
    m.start()
    a = Accountant(m.port, ['ann@mx.veredus.test', 'ben@mx.veredus.test'])
    for _ in range(4):
        wait_under_load(m, a)
        m.kill_all()
        m.start()
    wait_under_load(m, a)
    account(m, a)
    assert a.cut_off > 0, 'transactions were in flight'
    m.stop()


def test_stop_in_order_under_load_loses_nothing(make):
    m = make()
    m.start()
    a = Accountant(m.port, ['ann@mx.veredus.test', 'ben@mx.veredus.test'])
    for _ in range(2):
        wait_under_load(m, a)
        m.stop()
        m.start()
    account(m, a)
    m.stop()


def test_a_stopped_program_is_killed_by_the_watchdog(make):
    m = make(watchdog_timeout='2s')
    m.start()
    for program in ('smtpd', 'qmgr', 'cleanup'):
        pid = m.pid(program)
        os.kill(pid, signal.SIGSTOP)
        t0 = time.monotonic()
        wait_until(lambda p=pid, n=program: m.pid(n) not in (None, p), f'{program} was replaced')
        assert time.monotonic() - t0 < 20 * SLOW
        wait_until(m.is_up, 'smtpd answers again')
        m.send('ann@mx.veredus.test')
    m.mail('ann', 3)
    m.stop()
