"""Two of the promises in README, end to end: without a 250 nothing is delivered
(P2), and no mail comes back for a fault of our own (P6). tests/PROMISES says
where the others are held to."""
import os
import time

import pytest

from countsink import CountSink
from harness import wait_until

AT = '@mx.veredus.test'
BODY = b'Subject: x\r\n\r\nhello\r\n'


def begun(m, *commands):
    """A client that has said these."""
    c = m.client()
    c.hello()
    for x in commands:
        r = c.cmd(x)
        assert r.code in (250, 354), (x, r)
    return c


TO = ('MAIL FROM:<a@b.test>', f'RCPT TO:<ann{AT}>')
DATA = (*TO, 'DATA')
LEFT_OFF = {
    'after MAIL': (TO[:1], b''), 'after RCPT': (TO, b''), 'after DATA': (DATA, b''),
    'in a line': (DATA, BODY[:-5]), 'at a line end': (DATA, BODY), 'before the dot ends': (DATA, BODY + b'.'),
    'between CR and LF': (DATA, BODY + b'.\r'), 'in a large one': (DATA, BODY + (b'x' * 70 + b'\r\n') * 9000),
}


@pytest.mark.parametrize('program', (None, 'smtpd', 'cleanup'), ids=('gone', 'smtpd-killed', 'cleanup-killed'))
def test_p2_without_a_250_nothing_is_delivered(make, program):
    """The client goes, or the program is killed, before the end of the content."""
    m = make()
    m.start()
    held = []
    for commands, more in LEFT_OFF.values():
        c = begun(m, *commands)
        c.sock.sendall(more)
        held.append(c)
    begun(m, *TO, 'RSET').sock.close()
    r = begun(m, *DATA).dot(b'Subject: bare\n\r\n')
    assert r.code == 550
    if program:
        m.kill(program)
    for c in held:
        c.sock.close()
    wait_until(m.is_up, 'it answers')
    m.send(f'ben{AT}')
    m.mail('ben')
    m.wait_empty()
    m.stop()
    m.start()
    m.wait_empty()
    assert m.maildir('ann') == [] and m.queue_files() == []


def spoil(m):
    """Our own faults: homes, names, hosts, sockets."""
    os.rename(m.home['ann'], m.home['ann'].with_suffix('.away'))
    (m.home['ben'] / 'Maildir').write_text('no directory')


def repair(m, **settings):
    os.rename(m.home['ann'].with_suffix('.away'), m.home['ann'])
    (m.home['ben'] / 'Maildir').unlink()
    there = ', '.join(f'{d}.test=smtp:{m.sink.hop}' for d in ('dns', 'refused', 'socket'))
    m.write_conf(transport_maps=f'inline:{{ {there} }}', **settings)


def all_arrive(m):
    m.mail('ann')
    m.mail('ben')
    m.wait_empty()
    assert {r: m.sink.counted(r)[1] for r in OUT} == {r: 1 for r in OUT}
    assert m.maildir('cat') == [], 'nothing came back'


BODY_1 = 'X-Number: 1\r\n\r\n' + 'x' * 500 + '\r\n'
OUT = ('x@dns.test', 'x@refused.test', 'x@socket.test')


@pytest.fixture
def troubled(make, tmp_path):
    """An instance where nothing can be delivered, for faults of its own."""
    m = make(minimal_backoff_time='1s', maximal_backoff_time='1s', lmtp_sockets='/nonexistent/lmtp',
             transport_maps='inline:{ refused.test=smtp:[127.0.0.1]:1, socket.test=lmtp:unix:/nonexistent/lmtp }')
    m.start()
    spoil(m)
    with CountSink(tmp_path) as sink:
        sink.start()
        m.sink = sink
        yield m


def deferred(m, least):
    """The queue ids, when each recipient was tried that often and is deferred."""
    def look():
        log = m.log()
        return all(log.count(f'to=<{x}>') >= least for x in (f'ann{AT}', f'ben{AT}', *OUT))
    wait_until(look, 'all were tried\n' + m.tail())
    assert 'status=bounced' not in m.log() and 'status=sent' not in m.log()


def test_p6_our_own_faults_only_defer(troubled):
    m = troubled
    m.send([f'ann{AT}', f'ben{AT}', *OUT], sender=f'cat{AT}', body=BODY_1)
    deferred(m, 2)
    assert 'dsn=5' not in m.log()
    repair(m)
    r = m.veredus('reload')
    assert r.returncode == 0, r.stderr
    all_arrive(m)
    m.stop()


def test_p6_old_by_the_clock_but_not_tried_since_the_start(troubled):
    """As after a long time switched off, or a clock that was set forward: its
    lifetime is over, and yet it is tried before it comes back."""
    m = troubled
    m.send([f'ann{AT}', f'ben{AT}', *OUT], sender=f'cat{AT}', body=BODY_1)
    sent = time.time()
    deferred(m, 1)
    m.stop()
    repair(m, maximal_queue_lifetime='1s', bounce_queue_lifetime='1s')
    wait_until(lambda: time.time() > sent + 2.1, 'it is older than its lifetime')
    m.start()
    all_arrive(m)
    assert 'status=bounced' not in m.log()
    m.stop()


def test_p6_a_damaged_map_is_no_unknown_user(make):
    """The old one stays in force, or the answer is temporary."""
    m = make(aliases='team: ann\n')
    m.start()
    db = m.aliases_path.with_name(m.aliases_path.name + '.cdb')
    fresh = db.with_suffix('.new')
    fresh.write_bytes(db.read_bytes()[:1000])
    os.rename(fresh, db)

    def asked():
        with begun(m, TO[0]) as c:
            r = c.cmd(f'RCPT TO:<team{AT}>')
            assert r.code in (250, 451), r
            return r.code
    wait_until(lambda: asked() and 'damaged' in m.log(), 'the damage is seen\n' + m.tail())
    asked()
    m.set_aliases('team: ben\n')
    wait_until(lambda: asked() == 250, 'it is whole again')
    m.send(f'team{AT}')
    wait_until(lambda: m.maildir('ann') + m.maildir('ben'), 'it has come')
    m.stop()
