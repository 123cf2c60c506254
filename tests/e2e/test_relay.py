"""Mail is relayed: routes of every kind, volume that is all there and none twice,
hosts that refuse, vanish and come back."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

import harness
from countsink import CountSink
from harness import ROOT, SLOW, free_port, wait_until, wait_while_growing
from load import LOAD, Accountant, load_env, smtp_source
from sink import Drop, Sink

N = int(os.environ.get('VEREDUS_VOLUME', '2000'))     # check-long: 20000
AGAIN = dict(minimal_backoff_time='1s', maximal_backoff_time='1s')


def fate(m, qid, rcpt):
    """(status, code, reply) of the recipient's last attempt so far."""
    found = re.findall(rf'{qid}: to=<{re.escape(rcpt)}>.*dsn=([\d.]+), status=(\w+) \((.*)\)', m.log())
    return (found[-1][1], found[-1][0], found[-1][2]) if found else None


def wait_fate(m, qid, rcpt):
    return wait_until(lambda: fate(m, qid, rcpt), f'a fate of {rcpt}\n{m.tail()}')


# -- transport_maps of every kind ------------------------------------------------

class Routes:
    def __init__(self):
        self.m = m = harness.Instance(myorigin='local.test', **AGAIN)
        self.smtp, self.relay = Sink(), Sink()
        self.lmtp = Sink(lmtp=True)
        self.unix = Sink(path=str(m.dir / 'lmtp.sock'), lmtp=True)
        self.sinks = (self.smtp, self.relay, self.lmtp, self.unix)
        for s in self.sinks:
            s.start()
        (m.dir / 'transport').write_text(
            f'smtp.test         smtp:[127.0.0.1]:{self.smtp.port}\n'
            f'upper.test        SMTP:[LocalHost]:{self.smtp.port}\n'
            f'.below.test       smtp:[127.0.0.1]:{self.smtp.port}\n'
            f'hop.test          :[127.0.0.1]:{self.smtp.port}\n'
            f'lmtp.test         lmtp:[127.0.0.1]:{self.lmtp.port}\n'
            f'inet.test         lmtp:inet:[127.0.0.1]:{self.lmtp.port}\n'
            f'unix.test         lmtp:unix:{self.unix.path}\n'
            'ann@home.test     local:\n'
            'never.test        error:5.7.1 never from here\n'
            'later.test        error:4.3.5 not today\n'
            'wait.test         hold:look at it first\n'
            'one@smtp.test     error:5.1.1 this one not\n'
            'bounce.test       error:\n')
        m.write_conf(transport_maps=f'file:{m.dir}/transport', relayhost=self.relay.hop,
                     lmtp_sockets=self.unix.path, dns_hosts_file=m.dir / 'hosts')
        (m.dir / 'hosts').write_text('127.0.0.1 localhost\n')      # a bare host may have none
        m.start()

    def end(self):
        try:
            self.m.stop()
        finally:
            self.m.remove()
            for s in self.sinks:
                s.stop()


@pytest.fixture(scope='module')
def routes():
    r = Routes()
    yield r
    r.end()


@pytest.mark.parametrize('domain,sink', [
    ('smtp.test', 'smtp'), ('upper.test', 'smtp'), ('a.b.below.test', 'smtp'), ('hop.test', 'smtp'),
    ('lmtp.test', 'lmtp'), ('inet.test', 'lmtp'), ('unix.test', 'unix'),
    ('below.test', 'relay'), ('else.test', 'relay')])
def test_a_route_leads_to_its_host(routes, domain, sink):
    rcpt = f'x@{domain}'
    qid = routes.m.send(rcpt, sender='ann@local.test')
    assert wait_fate(routes.m, qid, rcpt)[0] == 'sent', routes.m.tail()
    where = wait_until(lambda: [n for n in ('smtp', 'relay', 'lmtp', 'unix')
                                if any(rcpt in m.rcpts for m in getattr(routes, n).messages)], 'it is somewhere')
    assert where == [sink]


def test_a_route_to_local(routes):
    routes.m.send('x@smtp.test', sender='ann@local.test')
    qid = routes.m.send('ann@home.test', sender='ben@local.test')
    assert wait_fate(routes.m, qid, 'ann@home.test')[0] == 'sent'
    assert any(qid.encode() in b for b in routes.m.mail('ann'))


@pytest.mark.parametrize('rcpt,code,esc,text', [
    ('x@never.test', 550, '5.7.1', 'never from here'), ('one@smtp.test', 550, '5.1.1', 'this one not'),
    ('x@later.test', 450, '4.3.5', 'not today'), ('x@bounce.test', 550, '5.0.0', 'not accepted here')])
def test_a_route_into_nowhere_is_told_to_the_client(routes, rcpt, code, esc, text):
    with routes.m.client() as c:
        c.hello()
        assert c.cmd('MAIL FROM:<ann@local.test>').code == 250
        r = c.cmd(f'RCPT TO:<{rcpt}>')
        assert (r.code // 100, r.esc) == (code // 100, esc) and text in r.lines[0], r


def test_a_route_on_hold(routes):
    qid = routes.m.send('x@wait.test', sender='ann@local.test')
    wait_until(lambda: [r for r in routes.m.queue() if r['queue_id'] == qid and r['status'] == 'hold'
                        and 'look at it first' in r['hold_reason']], f'{qid} is held\n{routes.m.tail()}')
    assert f'{qid}!' in routes.m.tool('mailq').stdout
    r = routes.m.veredus('delete', qid)
    assert r.returncode == 0, r.stderr


@pytest.mark.parametrize('rcpt', [
    'x@far.test', 'x%far.test@local.test', 'far.test!x@local.test', '@local.test:x@far.test', '"x@far.test"@local.test',
    'x@smtp.test', 'x@[127.0.0.2]', 'x@far.test@local.test', 'x%far.test', 'x@unix.test', 'x@wait.test'])
def test_a_route_is_no_leave_to_relay(routes, rcpt):
    """Open relay forms, from a stranger: none of them leads out."""
    before = [len(s.messages) for s in routes.sinks]
    r = routes.m.veredus('trace', '192.0.2.99', 'spam@far.test', rcpt)
    assert re.search(r'\b(550 5\.7\.1|550 5\.1\.1|501 5\.1\.3|553 5)', r.stdout + r.stderr), r.stdout + r.stderr
    assert not re.search(r'^\s*250', r.stdout, re.M), r.stdout
    assert before == [len(s.messages) for s in routes.sinks]


# -- the fates of one transaction ---------------------------------------------------

def test_each_recipient_of_a_transaction_has_its_fate(make):
    with Sink() as sink:
        m = make(relayhost=sink.hop, **AGAIN)
        m.start()
        now = {'no@far.test': b'550 5.1.1 no such user\r\n', 'later@far.test': b'450 4.2.0 busy\r\n',
               'bare@far.test': b'550\r\n', 'odd@far.test': b'421-4.7.0 a\r\n421 4.7.0 b\r\n'}
        sink.script['rcpt'] = lambda s, path: now.get(path)
        rcpts = ['yes@far.test', *(r for r in now if r != 'odd@far.test'), 'also@far.test']
        qid = m.send(rcpts, sender='ann@local.test')
        assert sink.wait(1)[0].rcpts == ['yes@far.test', 'also@far.test']
        assert len(sink.sessions) == 1 and sink.sessions[0].stages.count('mail') == 1
        wait_until(lambda: all(fate(m, qid, r) for r in rcpts), 'all have a fate')
        assert fate(m, qid, 'yes@far.test')[0] == 'sent'
        assert fate(m, qid, 'no@far.test')[1:] == ('5.1.1', '550 5.1.1 no such user')
        assert fate(m, qid, 'bare@far.test')[1].startswith('5.')
        assert fate(m, qid, 'later@far.test')[:2] == ('deferred', '4.2.0')
        now.clear()
        assert sink.wait(2)[1].rcpts == ['later@far.test']
        m.wait_empty()
        assert len(m.mail('ann')) == 1      # one bounce, of two recipients
        assert m.mail('ann')[0].count(b'\nAction: failed') == 2
        m.stop()


def test_many_recipients_go_in_few_transactions(make):
    with Sink() as sink:
        m = make(relayhost=sink.hop, default_destination_recipient_limit=50, **AGAIN)
        m.start()
        rcpts = [f'x{i}@far.test' for i in range(230)]
        m.send(rcpts, sender='ann@local.test')
        sink.wait_for(lambda: sum(len(x.rcpts) for x in sink.messages) >= 230, 'all recipients')
        m.wait_empty()
        got = Counter(r for x in sink.messages for r in x.rcpts)
        assert got == Counter(rcpts)
        assert max(len(x.rcpts) for x in sink.messages) <= 50 and len(sink.messages) <= 10
        m.stop()


# -- volume -----------------------------------------------------------------------

class SmtpSink:
    """Postfix's smtp-sink; what it takes stands in a file.  It will not be root."""

    def __init__(self):
        self.port = free_port()
        self.dir = Path(tempfile.mkdtemp(prefix='vsink'))
        self.dir.chmod(0o777)
        self.dump = self.dir / 'dump'

    def __enter__(self):
        cmd = [LOAD / 'usr/sbin/smtp-sink', *(('-u', 'nobody') if ROOT else ()), '-D', self.dump, '-h', 'sink.test',
               f'127.0.0.1:{self.port}', '1000']
        self.proc = subprocess.Popen(list(map(str, cmd)), env=load_env(), stdout=subprocess.DEVNULL)
        wait_until(self.answers, 'smtp-sink answers')
        return self

    def answers(self):
        assert self.proc.poll() is None
        try:
            socket.create_connection(('127.0.0.1', self.port)).close()
            return True
        except ConnectionRefusedError:
            return False

    def __exit__(self, *a):
        self.proc.terminate()
        self.proc.wait()
        shutil.rmtree(self.dir)

    def ids(self):
        """How often each queue id of ours stands in what it took; it writes all
        of that when it ends."""
        self.proc.terminate()
        self.proc.wait()
        return Counter(re.findall(rb'by mx\.veredus\.test[^;]* with E?SMTP id (\w+)', self.dump.read_bytes()))


@pytest.mark.parametrize('kept', (True, False), ids=['kept', 'new'])
def test_volume_to_smtp_sink(make, kept):
    with SmtpSink() as sink:
        m = make(relayhost=f'[127.0.0.1]:{sink.port}', smtp_connection_cache_time_limit='2s' if kept else 0,
                 default_destination_concurrency_limit=50, **AGAIN)
        m.start()
        smtp_source(m.port, N, 50, 'x@far.test', kept=True)
        wait_while_growing(lambda: N - m.in_spool(), N, 'messages sent on')
        m.wait_empty()
        got = sink.ids()
        assert len(got) == N and set(got.values()) == {1}, f'{len(got)} of {N}, {got.most_common(3)}'
        m.stop()


def sent_all(a, sink, m, patience=90):
    """Everything promised has arrived; returns how often each."""
    a.stop()
    assert a.promised
    m.wait_empty(patience)
    got = sink.counted()
    lost = set(a.promised.values()) - set(got)
    assert not lost, f'lost {len(lost)} of {len(a.promised)}: {sorted(lost)[:5]}\n{m.tail()}'
    return got


WAYS = {'closed': {}, '421': {'CONNECT': '421 4.3.2 come back later'}, 'MAIL': {'MAIL': '451 4.3.0 not now'}}
if 'VEREDUS_LONG' in os.environ:
    # In half of the whole runs a probe of the dead sink did not end within 90 s (queue -d: running 1),
    # and all mail waited for it. Not understood: here until it is.
    WAYS['DOT'] = {'DOT': '452 4.3.1 no room'}


@pytest.mark.parametrize('how', WAYS.values(), ids=list(WAYS))
def test_refused_for_a_while_then_all_drained(make, tmp_path, how):
    with CountSink(tmp_path) as sink:
        m = make(relayhost=sink.hop, **AGAIN)
        m.start()
        if how:
            sink.start(**how)
        a = Accountant(m.port, ['x@far.test'], threads=4)
        wait_until(lambda: len(a.promised) >= 300, '300 messages\n' + m.tail())
        a.stop()
        wait_until(lambda: [r for r in m.queue() if r['status'] == 'deferred' and r['reply']], 'some are deferred')
        if how:
            sink.kill()
            sink.path.write_text('')    # these were answered 452
        sink.start()
        got = sent_all(a, sink, m)
        assert set(got.values()) == {1}
        m.stop()


def test_sink_killed_in_the_middle(make, tmp_path):
    """... again and again, with transactions in flight: nothing is lost, and only
    what was in flight may come twice."""
    with CountSink(tmp_path) as sink:
        m = make(relayhost=sink.hop, **AGAIN)
        m.start()
        a = Accountant(m.port, ['x@far.test'], threads=4)
        for _ in range(4):
            sink.start()
            base, refused = sink.lines(), m.log().count('Connection refused')
            wait_until(lambda n=base: sink.lines() >= n + 50, 'mail flows')
            sink.kill()
            wait_until(lambda n=refused: m.log().count('Connection refused') > n, 'it is missed\n' + m.tail())
        assert re.search('status=deferred .the connection was lost', m.log()), 'transactions were in flight'
        sink.start()
        got = sent_all(a, sink, m)
        assert sum(got.values()) - len(got) <= 4 * 20, got.most_common(5)
        m.stop()


@pytest.mark.parametrize('stage', ('rcpt', 'data', 'dot'))
@pytest.mark.parametrize('said', (b'', b'421 4.3.2 bye\r\n'), ids=['closed', '421'])
def test_a_kept_connection_that_breaks_in_its_second_transaction(make, stage, said):
    """What went over it without asking for its way first is tried elsewhere, and is
    not stuck."""
    with Sink() as sink:
        m = make(relayhost=sink.hop, smtp_connection_cache_time_limit='60s', **AGAIN)
        m.start()
        m.send('x1@far.test', sender='ann@local.test')
        sink.wait(1)
        m.wait_empty()
        sink.script[stage] = lambda s, arg: Drop(said) if s is sink.sessions[0] else None
        qid = m.send('x2@far.test', sender='ann@local.test')
        sink.wait(2)
        m.wait_empty()
        assert sink.sessions[0].stages.count('mail') == 2, 'the connection was kept'
        assert [x.rcpts for x in sink.messages] == [['x1@far.test'], ['x2@far.test']]
        assert fate(m, qid, 'x2@far.test')[0] == 'sent' and 'makes no sense' not in m.log()
        m.stop()


def test_a_dead_destination_does_not_delay_others(make):
    """A host that never answers has all that waits for it; the other's mail flows."""
    with Sink() as sink, socket.socket() as deaf:
        deaf.bind(('127.0.0.1', 0))
        deaf.listen(500)
        m = make(transport_maps=f'inline:{{ deaf.test=smtp:[127.0.0.1]:{deaf.getsockname()[1]} }}',
                 relayhost=sink.hop, smtp_helo_timeout='60s', **AGAIN)
        m.start()
        for i in range(100):
            m.send(f'x{i}@deaf.test', sender='ann@local.test')
        t0 = time.monotonic()
        for i in range(20):
            m.send(f'x{i}@far.test', sender='ann@local.test')
        sink.wait(20)
        assert time.monotonic() - t0 < 15 * SLOW
        r = m.veredus('delete', 'domain=deaf.test')
        assert r.returncode == 0, r.stderr
    m.stop()        # what waited for the silent one has been cut off
