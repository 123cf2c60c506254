"""Volume: all there, none twice, the queue empty after."""
import os
import re
import threading
import time

import pytest

from harness import PATIENCE, ROOT, SLOW, wait_until, wait_while_growing
from load import smtp_source, source_limit

N = int(os.environ.get('VEREDUS_VOLUME', '3000'))     # check-long: 20000


def check_all_there(m, n):
    wait_while_growing(lambda: len(m.maildir('ann')), n, 'messages')
    m.wait_empty(60)
    files = m.maildir('ann')
    assert len(files) == n
    ids = {re.search(rb'with E?SMTP id (\w+)', f.read_bytes()).group(1) for f in files}
    assert len(ids) == n, 'each queue id once'
    assert m.queue_files() == []


@pytest.mark.parametrize('kept', [False, True], ids=['new', 'kept'])
def test_many_messages_from_100_sessions(make, kept):
    m = make(smtpd_max_sessions=500)
    m.start()
    smtp_source(m.port, N, 100, 'ann@mx.veredus.test', kept)
    check_all_there(m, N)
    m.stop()


def test_killed_and_restarted_in_the_middle(make):
    """smtp-source cannot go on after a lost connection; so programs behind
    smtpd are killed while it sends the first half. The second half is queued
    as ann's home is away, and everything is killed, twice, while that drains."""
    m = make(smtpd_max_sessions=500, minimal_backoff_time='1s')
    m.start()
    half = N // 2
    sender = threading.Thread(target=smtp_source, args=(m.port, half, 100, 'ann@mx.veredus.test', True))
    sender.start()
    killed_while_sending = 0
    for program in ('local', 'qmgr', 'forker', 'users'):
        wait_until(lambda: m.in_spool() or not sender.is_alive(), 'mail in the queue')
        killed_while_sending += sender.is_alive()
        m.kill(program)
    sender.join(source_limit(half))
    assert not sender.is_alive() and killed_while_sending > 0
    away = m.home['ann'].with_suffix('.away')
    wait_while_growing(lambda: len(m.maildir('ann')), half, 'messages, the first half')
    m.stop()                # ann's worker would go on in the home that it has
    os.rename(m.home['ann'], away)
    m.start()
    smtp_source(m.port, N - half, 100, 'ann@mx.veredus.test', False)
    assert m.in_spool() == N - half
    os.rename(away, m.home['ann'])
    there, new = half, m.home['ann'] / 'Maildir' / 'new'
    in_the_middle = 0       # the second kill may find all delivered
    while there < N and in_the_middle < 2:
        end = time.monotonic() + 60         # looked at closely: it drains within half a second
        while len(os.listdir(new)) <= there and time.monotonic() < end:
            time.sleep(0.002)
        m.kill_all()
        there = len(m.maildir('ann'))
        in_the_middle += there < N
        m.start()
    assert in_the_middle > 0, 'killed in the middle'
    check_all_there(m, N)
    m.stop()


def test_several_smtpd_workers(make):
    m = make(smtpd_processes=3)
    m.start()
    smtp_source(m.port, 600, 30, 'ann@mx.veredus.test', True)
    check_all_there(m, 600)
    m.stop()


def memory_kib(pid):
    """Its proportional set size; from a plain user, who may not ask for that of
    a program that is not dumpable, its resident memory but for its files."""
    if ROOT:
        return int(re.search(r'^Pss:\s+(\d+)', open(f'/proc/{pid}/smaps_rollup').read(), re.M).group(1))
    _, resident, shared, *_ = map(int, open(f'/proc/{pid}/statm').read().split())
    return (resident - shared) * os.sysconf('SC_PAGE_SIZE') // 1024


def test_idle_sessions_are_cheap_and_leave_room(make):
    """2,000 idle sessions: all of smtpd below 40 MiB, and mail still flows."""
    m = make(smtpd_max_sessions=3000)
    m.start()
    import resource
    import socket
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 10000), hard))
    held = []
    try:
        for _ in range(2000):
            s = socket.create_connection(('127.0.0.1', m.port), PATIENCE)
            s.settimeout(PATIENCE)
            assert s.recv(100).startswith(b'220')
            s.sendall(b'EHLO x\r\n')
            assert s.recv(1000).startswith(b'250')
            held.append(s)
        pss = sum(memory_kib(p) for p in m.pids() if m.comm(p) == 'smtpd')
        assert pss > 100
        assert pss < 40 * 1024, f'{pss} KiB'
        t0 = time.monotonic()
        m.send('ann@mx.veredus.test')
        m.mail('ann')
        assert time.monotonic() - t0 < 20 * SLOW
    finally:
        for s in held:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    m.stop()
