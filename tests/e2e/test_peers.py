"""Mail goes to Postfix, Exim and OpenSMTPD, and comes from them, with bounces both
ways.  For check-long: the peers' root directories take minutes to make."""
import os
import subprocess
from email import message_from_bytes

import pytest

import peers
from harness import ROOT, SRC, wait_until

pytestmark = pytest.mark.skipif(not (ROOT and os.environ.get('VEREDUS_LONG')),
                                reason='for check-long, by root')
AGAIN = dict(minimal_backoff_time='1s', maximal_backoff_time='1s')
N = 20
ANN, BENCH = 'ann@mx.veredus.test', 'bench@bench.test'
ODD = b'.dot\r\n..\r\n\r\n\xe4\xff 8 bit\r\n' + b'y' * 900 + b'\r\nFrom here\r\n.\r\n'


@pytest.fixture(params=['postfix', 'exim', 'opensmtpd'])
def pair(request, make):
    """(our instance, the peer), which send to each other."""
    subprocess.run([str(SRC / 'tests/bench/prepare.sh'), str(peers.PLACE), request.param], check=True,
                   stdout=subprocess.DEVNULL)
    m = make(aliases='postmaster: cat\n', **AGAIN)
    with peers.Peer(request.param, m.port) as p:
        m.write_conf(transport_maps=f'inline:{{ bench.test=smtp:[127.0.0.1]:{p.port} }}')
        m.start()
        yield m, p
        m.stop()


def subjects(mails):
    return sorted(str(message_from_bytes(b)['Subject']) for b in mails)


def quoted_back(body):
    return body.replace(b'\r\n', b'\n')


def test_mail_both_ways_with_bounces(pair):
    m, p = pair
    for i in range(N):
        m.send(BENCH, sender=ANN, body=b'From: a@b.test\r\nSubject: to %d\r\n\r\n' % i + ODD)
        with p.smtp() as s:
            s.sendmail(BENCH, [ANN, 'ben@mx.veredus.test'], b'From: a@b.test\r\nSubject: from %d\r\n\r\n' % i + ODD,
                       mail_options=['BODY=8BITMIME'] if s.has_extn('8bitmime') else [])
    theirs, ours = p.mail(N), m.mail('ann', N, 60)
    assert subjects(theirs) == sorted(f'to {i}' for i in range(N))
    assert subjects(ours) == subjects(m.mail('ben', N)) == sorted(f'from {i}' for i in range(N))
    for b in ours + theirs:
        assert b.partition(b'\n\n')[2].rstrip(b'\n').endswith(quoted_back(ODD).rstrip(b'\n')), b[-1200:]
    m.wait_empty(60)

    # nobody there: ours comes back, by us or by them
    m.send('missing@bench.test', sender=ANN, body=b'From: a@b.test\r\nSubject: lost\r\n\r\nx\r\n')
    back = wait_until(lambda: [f.read_bytes() for f in m.maildir('ann') if b'missing@bench.test' in f.read_bytes()],
                      'the bounce\n' + m.tail(), 60)
    assert len(back) == 1 and b'multipart/report' in back[0] and b'Return-Path: <>' in back[0]

    # nobody here: theirs comes back to them, with our words
    with p.smtp() as s:
        s.sendmail(BENCH, ['missing@mx.veredus.test'], b'From: a@b.test\r\nSubject: lost\r\n\r\nx\r\n')
    bounce = next(b for b in p.mail(N + 1) if b'missing@mx.veredus.test' in b)
    assert b'5.1.1' in bounce
    m.wait_empty(60)


def test_one_message_for_many_recipients(pair):
    """They refuse some: each has its fate, and nobody gets it twice."""
    m, p = pair
    rcpts = [f'missing{i}@bench.test' for i in range(30)] + [BENCH]
    m.send(rcpts, sender=ANN, body=b'From: a@b.test\r\nSubject: many\r\n\r\nx\r\n')
    assert subjects(p.mail(1)) == ['many']
    want = {r for r in rcpts if r != BENCH}

    def told():
        text = b''.join(f.read_bytes() for f in m.maildir('ann')).decode()
        return all(f'{r}' in text for r in want)
    wait_until(told, 'all that failed are told of\n' + m.tail(), 60)
    m.wait_empty(60)
    assert len(p.mail(1)) == 1
