"""LMTP to a real Dovecot, over a UNIX socket and TCP: one fate a recipient, read
back over IMAP."""
import re
import subprocess

import pytest

from dovecot import Dovecot
from harness import ROOT, wait_until
from test_notices import parse

# In a plain chroot "/" is no mount point, and unshare(1) fails.
NAMESPACE = ROOT and subprocess.run(['unshare', '-m', 'true'], capture_output=True).returncode == 0
pytestmark = pytest.mark.skipif(not NAMESPACE, reason='Dovecot needs several users and a mount namespace')
AGAIN = dict(minimal_backoff_time='1s', maximal_backoff_time='1s')
USERS = ('dan', 'eve', 'ann', 'ben')


@pytest.fixture(scope='module')
def dovecot():
    with Dovecot(USERS) as d:
        yield d


def fates(m, qid, rcpts):
    def last(r):
        found = re.findall(rf'{qid}: to=<{re.escape(r)}>.*dsn=([\d.]+), status=(\w+)', m.log())
        return found[-1] if found else None
    return wait_until(lambda: (lambda all_: all_ if None not in all_ else None)([last(r) for r in rcpts]),
                      'all have a fate\n' + m.tail())


@pytest.fixture(params=['unix', 'tcp'])
def to_dovecot(request, dovecot, make):
    hop = f'unix:{dovecot.path}' if request.param == 'unix' else f'[127.0.0.1]:{dovecot.port}'
    m = make(transport_maps=f'inline:{{ box.test=lmtp:{hop} }}', lmtp_sockets=dovecot.path,
             relay_domains='box.test', **AGAIN)
    m.start()
    yield m
    m.stop()


def test_one_fate_a_recipient(dovecot, to_dovecot):
    """Taken, unknown, without room, broken: all in one transaction."""
    m = to_dovecot
    before = {u: len(dovecot.fetch(u)) for u in ('dan', 'eve')}
    rcpts = [f'{u}@box.test' for u in ('dan', 'nobody', 'full', 'broken', 'eve')]
    body = 'Subject: five\r\n\r\n.dot\r\n..\r\nline\r\n'
    qid = m.send(rcpts, sender='ann@mx.veredus.test', body=body)
    got = dict(zip(('dan', 'nobody', 'full', 'broken', 'eve'), fates(m, qid, rcpts)))
    assert got['dan'][1] == got['eve'][1] == 'sent'
    assert got['nobody'] == ('5.1.1', 'bounced')
    assert got['full'][0] in ('5.2.2', '4.2.2')
    assert got['broken'][1] == 'deferred'
    for u in ('dan', 'eve'):
        mail = dovecot.wait(u, before[u] + 1)[-1]
        assert mail.endswith(body.encode()) and b'Return-Path: <ann@mx.veredus.test>' in mail
    [bounce] = m.mail('ann')
    _, _, status, _ = parse(bounce)
    failed = {s['Final-Recipient']: s for s in status[1:]}
    assert 'rfc822; nobody@box.test' in failed and 'rfc822; broken@box.test' not in failed
    assert 'rfc822; dan@box.test' not in failed and 'rfc822; eve@box.test' not in failed
    assert "doesn't exist" in failed['rfc822; nobody@box.test']['Diagnostic-Code']
    assert [r['recipient'] for r in m.queue() if r['recipient'] not in ('full@box.test',)] == ['broken@box.test']
    assert m.veredus('delete', 'all').returncode == 0
    assert len(dovecot.fetch('dan')) == before['dan'] + 1, 'none twice'


def test_content_of_every_kind_arrives_as_it_was(dovecot, to_dovecot):
    before = len(dovecot.fetch('eve'))
    body = b'Subject: \xc3\xa4\r\n\r\n' + b'\xff\xfe 8 bit\r\n' + b'.' * 200 + b'\r\n' + b'y' * 900 + b'\r\n' + \
        b''.join(b'%d\r\n.%d\r\n' % (i, i) for i in range(20000)) + b'\r\n.\r\n\r\n'[:2]
    to_dovecot.send('eve@box.test', body=body)
    assert dovecot.wait('eve', before + 1)[-1].endswith(body)


def test_many_over_kept_connections(dovecot, to_dovecot):
    before = len(dovecot.fetch('dan'))
    for i in range(60):
        to_dovecot.send('dan@box.test', body=f'Subject: n{i}\r\n\r\nx\r\n')
    got = dovecot.wait('dan', before + 60)
    assert sorted(re.search(rb'^Subject: n(\d+)', b, re.M).group(1) for b in got[before:]) == sorted(
        b'%d' % i for i in range(60))
    to_dovecot.wait_empty()


def test_mailbox_transport(dovecot, make):
    """Local users' mailboxes are Dovecot's: after aliases, unknown ones refused."""
    before = len(dovecot.fetch('ann')), len(dovecot.fetch('ben'))
    m = make(mailbox_transport=f'lmtp:unix:{dovecot.path}', aliases='team: ann, ben\n', **AGAIN)
    m.start()
    m.send('team@mx.veredus.test')
    m.send('ann+ext@local.test')
    dovecot.wait('ann', before[0] + 2)
    dovecot.wait('ben', before[1] + 1)
    with m.client() as c:
        c.hello()
        c.cmd('MAIL FROM:<x@client.test>')
        assert c.cmd('RCPT TO:<nobody@mx.veredus.test>').code == 550
    m.wait_empty()
    assert m.maildir('ann') == []
    m.stop()


def test_dovecot_is_away_for_a_while(make):
    with Dovecot(('dan',)) as d:
        m = make(transport_maps=f'inline:{{ box.test=lmtp:unix:{d.path} }}', lmtp_sockets=d.path, **AGAIN)
        m.start()
        d.stop()
        ids = [m.send('dan@box.test', body=f'Subject: {i}\r\n\r\nx\r\n') for i in range(10)]
        wait_until(lambda: len([r for r in m.queue() if r['status'] == 'deferred' and r['reply']]) > 0, 'deferred')
        assert 'status=sent' not in m.log()
        d.start()
        d.wait('dan', len(ids))
        m.wait_empty()
        m.stop()
