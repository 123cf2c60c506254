"""kill -9 of each program while mail is relayed and bounces: every 250 is accounted
for.  Each message has a recipient who is taken and one who is refused, so that a
delivery, a bounce, and the bounce's delivery are under way all the time."""
import os
import re
import signal
from collections import Counter

import pytest

from countsink import CountSink
from dnszone import Nsd
from harness import wait_until
from load import Accountant

AGAIN = dict(minimal_backoff_time='1s', maximal_backoff_time='1s')
ANN = 'ann@mx.veredus.test'
RCPTS = ['x@far.test', 'no@far.test']
KILLS = 4
IN_FLIGHT = 20          # default_destination_concurrency_limit: deliveries at a time


@pytest.fixture
def relay(make, tmp_path):
    """An instance, by DNS to a sink; no answer of DNS is kept."""
    with Nsd('far 0 MX 10 a\na 0 A 127.0.0.1\n') as dns, CountSink(tmp_path) as sink:
        sink.start()
        m = make(dns_servers=dns.address, inet_protocols='ipv4', myorigin='mx.veredus.test',
                 transport_maps=f'inline:{{ far.test=smtp:far.test:{sink.port} }}', **AGAIN)
        m.start()
        m.sink = sink
        yield m
        if m.proc is not None:
            m.stop()


def connections(port):
    """Those that are open to the sink now."""
    rows = open('/proc/net/tcp').read().splitlines()[1:]
    return sum(1 for r in rows if r.split()[2].endswith(f':{port:04X}') and r.split()[3] == '01')


def in_flight(m, a, more=40):
    """Mail is being relayed, bounces come, and deliveries are on their way now."""
    base, bounces = m.sink.lines(), len(m.maildir('ann'))
    try:
        wait_until(lambda: m.sink.lines() >= base + more and len(m.maildir('ann')) >= bounces + more // 2,
                   f'mail flows: {base} lines and {bounces} bounces were there', 60)
    except AssertionError as e:
        raise AssertionError(f'{e}; now {m.sink.lines()} and {len(m.maildir("ann"))}\n{m.tail()}') from e
    wait_until(lambda: connections(m.sink.port) > 0 and m.queue() and a.in_hand > 0, 'deliveries in flight')


def account(m, a, twice):
    """All is there: taken once by the sink (but for `twice'), bounced once."""
    a.stop()
    m.wait_empty(90)
    wanted = set(a.promised.values())
    assert len(wanted) == len(a.promised), 'queue ids are unique'
    got = m.sink.counted()
    lost = wanted - set(got)
    assert not lost, f'lost {len(lost)} of {len(wanted)}: {sorted(lost)[:5]}\n{m.tail()}'
    again = sum(got[n] - 1 for n in got)
    assert again <= twice, f'{again} came again: {got.most_common(5)}'
    bounces = Counter()
    for f in m.maildir('ann'):
        b = f.read_bytes()
        assert b.count(b'\nFinal-Recipient: rfc822; no@far.test') == 1 and b'x@far.test' not in b
        bounces[int(re.search(rb'^X-Number: (\d+)$', b, re.M).group(1))] += 1
    lost = wanted - set(bounces)
    assert not lost, f'{len(lost)} of {len(wanted)} have no bounce: {sorted(lost)[:5]}\n{m.tail()}'
    assert set(bounces.values()) == {1}, f'bounced again: {bounces.most_common(5)}'
    assert not m.maildir('cat') and 'makes no sense' not in m.log()


@pytest.mark.parametrize('program', ('remote', 'qmgr', 'cleanup', 'dns', 'smtpd', 'local', 'log'))
def test_kill_one_program_while_mail_is_relayed(relay, program):
    m = relay
    a = Accountant(m.port, RCPTS, threads=4, sender=ANN)
    for _ in range(KILLS):
        in_flight(m, a)
        m.kill(program)
    in_flight(m, a)
    # only when remote dies is a taken message forgotten before it is recorded
    account(m, a, KILLS * IN_FLIGHT if program == 'remote' else 0)
    if program == 'remote':
        assert m.sink.cuts() > 0, 'transactions were in flight'
    if program == 'qmgr':
        assert re.search(r'remote has \d+ deliveries from before', m.log()), 'deliveries were in flight'


def test_kill_everything_while_mail_is_relayed(relay):
    m = relay
    a = Accountant(m.port, RCPTS, threads=4, sender=ANN)
    for _ in range(KILLS):
        in_flight(m, a)
        m.kill_all()
        m.start()
    in_flight(m, a)
    account(m, a, KILLS * IN_FLIGHT)
    assert m.sink.cuts() > 0 and a.cut_off > 0, 'transactions were in flight'


def test_stop_in_order_while_mail_is_relayed(relay):
    """A clean stop waits for what is in flight: nothing comes twice."""
    m = relay
    a = Accountant(m.port, RCPTS, threads=4, sender=ANN)
    for _ in range(2):
        in_flight(m, a)
        m.stop()
        m.start()
    account(m, a, 0)
    assert m.sink.cuts() == 0


def test_remote_that_is_stopped_is_replaced(relay):
    """SIGSTOP: the watchdog kills it; its deliveries are made by the next one."""
    m = relay
    m.stop()
    m.write_conf(watchdog_timeout='2s')
    m.start()
    a = Accountant(m.port, RCPTS, threads=2, sender=ANN)
    in_flight(m, a)
    for program in ('remote', 'dns'):
        pid = m.pid(program)
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda p=pid, n=program: m.pid(n) not in (None, p), f'{program} was replaced')
        in_flight(m, a)
    account(m, a, IN_FLIGHT)
