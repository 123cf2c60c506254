"""The way of a message: recipients, aliases, content, real clients."""
import re
import subprocess

import pytest

from harness import wait_until


def test_rfc821_dialogue_three_recipients_one_unknown(mta):
    with mta.client() as c:
        assert c.greeting.code == 220
        assert c.cmd('HELO client.test').code == 250
        assert c.cmd('MAIL FROM:<smith@alpha.test>').code == 250
        assert c.cmd('RCPT TO:<ann@mx.veredus.test>').code == 250
        r = c.cmd('RCPT TO:<green@mx.veredus.test>')
        assert (r.code, r.esc) == (550, '5.1.1')
        assert c.cmd('RCPT TO:<ben@mx.veredus.test>').code == 250
        assert c.cmd('DATA').code == 354
        assert c.dot(b'Blah blah blah...\r\n').code == 250
        assert c.cmd('QUIT').code == 221
        assert c.closed()
    for u in ('ann', 'ben'):
        assert mta.mail(u)[0].endswith(b'Blah blah blah...\n')
    mta.wait_empty()
    assert mta.maildir('cat') == []


def test_aliases_nested_many_and_one_copy_each(make):
    m = make(aliases='team: ann, ben, chief\nchief: cat, ann@mx.veredus.test\nall: team, ann\n'
                     '"odd name": ben\nself: \\ann\n')
    m.start()
    m.send(['all@mx.veredus.test', 'ANN@MX.veredus.test', 'chief@localhost'])
    for u in ('ann', 'ben', 'cat'):
        m.mail(u)
    m.wait_empty()
    for u in ('ann', 'ben', 'cat'):
        assert len(m.maildir(u)) == 1, 'one copy for each user, however often reached'
    m.send('self@mx.veredus.test')
    m.mail('ann', 2)
    m.stop()


def test_extension_and_delivered_to(mta):
    mta.send('ann+lists@mx.veredus.test')
    [m] = mta.mail('ann')
    assert b'\nDelivered-To: ann+lists@mx.veredus.test\n' in m


def test_postmaster_bare_and_address_literal(make):
    m = make(aliases='postmaster: ann\n')
    m.start()
    with m.client() as c:
        c.hello()
        c.open('postmaster')
        assert c.dot(b'Subject: p\r\n\r\nx\r\n').code == 250
        c.open('ben@[127.0.0.1]')
        assert c.dot(b'Subject: l\r\n\r\nx\r\n').code == 250
    m.mail('ann')
    m.mail('ben')
    m.stop()


def test_delivered_to_loop_ends_and_is_told(mta):
    mta.send('ann@mx.veredus.test', 'Delivered-To: ann@mx.veredus.test\r\nSubject: loop\r\n\r\nx\r\n',
             sender='ben@mx.veredus.test')
    [bounce] = mta.mail('ben')
    assert b'\nStatus: 5.4.6\n' in bounce and b'\nAction: failed\n' in bounce
    assert mta.maildir('ann') == []
    mta.wait_empty()


def test_hop_limit(mta):
    body = ''.join(f'Received: from a by b; {i}\r\n' for i in range(101)) + 'Subject: x\r\n\r\nx\r\n'
    with mta.smtp() as s:
        s.ehlo()
        s.mail('a@b.test')
        s.rcpt('ann@mx.veredus.test')
        code, text = s.data(body)
        assert code == 554 and b'5.4.6' in text
    assert mta.queue() == []


def test_content_is_kept_to_the_octet(mta):
    lines = [b'Subject: octets', b'', b'.', b'..', b'.dot', b'', b'x' * 5000, bytes(range(128, 256)),
             b' trailing ', b'\t', b'From here', b'end']
    wire = b'\r\n'.join(b'.' + x if x.startswith(b'.') else x for x in lines) + b'\r\n'
    with mta.client() as c:
        c.hello()
        c.open('ann@mx.veredus.test')
        assert c.dot(wire).code == 250
    [m] = mta.mail('ann')
    assert m.endswith(b'\n'.join(lines) + b'\n')


@pytest.mark.parametrize('size', [0, 1, 65535, 65536, 65537, 200000, 3000000])
def test_sizes_around_the_inline_limit(mta, size):
    body = b''.join(b'%08d' % i + b'y' * 62 + b'\r\n' for i in range(size // 72)) + b'z' * (size % 72) + b'\r\n'
    with mta.client() as c:
        c.hello()
        c.open('ann@mx.veredus.test')
        c.send(b'Subject: s\r\n\r\n' + body)
        assert c.dot().code == 250
    [m] = mta.mail('ann')
    assert m.split(b'\n\n', 1)[1] == body.replace(b'\r\n', b'\n')
    mta.wait_empty()
    assert mta.queue_files() == []


def test_relocated_user(make):
    m = make(relocated_maps='inline:{ gone=new@elsewhere.test }')
    m.start()
    with m.client() as c:
        c.hello()
        c.cmd('MAIL FROM:<a@b.test>')
        r = c.cmd('RCPT TO:<gone@mx.veredus.test>')
        assert (r.code, r.esc) == (551, '5.1.6') and 'new@elsewhere.test' in str(r)
    m.stop()
    m.write_conf(relocated_maps='inline:{ gone=ann@mx.veredus.test }', relocated_forward='yes')
    m.start()
    with m.client() as c:
        c.hello()
        c.cmd('MAIL FROM:<a@b.test>')
        assert c.cmd('RCPT TO:<gone@mx.veredus.test>').code == 251
        assert c.cmd('DATA').code == 354
        assert c.dot(b'Subject: x\r\n\r\nx\r\n').code == 250
    m.mail('ann')
    m.stop()


def test_leaving_the_host_can_be_forbidden(make):
    m = make(default_transport='error:5.7.1 no mail leaves this host')
    m.start()
    with m.client() as c:
        c.hello()
        c.cmd('MAIL FROM:<ann@mx.veredus.test>')
        r = c.cmd('RCPT TO:<x@elsewhere.test>')
        assert (r.code, r.esc) == (550, '5.7.1') and 'no mail leaves this host' in str(r)
    assert m.queue() == []


def test_virtual_and_canonical_maps(make):
    m = make(virtual_alias_maps='inline:{ info@local.test=ann, @old.test=@mx.veredus.test }',
             mydestination='mx.veredus.test, localhost, local.test, old.test',
             canonical_maps='inline:{ short@client.test=Long.Name@client.test }')
    m.start()
    m.send('info@local.test', 'From: Me <short@client.test>\r\nTo: x@y.test\r\n\r\nx\r\n', sender='short@client.test')
    [msg] = m.mail('ann')
    assert msg.startswith(b'Return-Path: <Long.Name@client.test>\n')
    assert b'\nFrom: Me <Long.Name@client.test>\n' in msg
    m.send('ben@old.test')
    m.mail('ben')
    m.stop()


def test_swaks(mta):
    r = subprocess.run(['swaks', '--server', f'127.0.0.1:{mta.port}', '--to', 'ann@mx.veredus.test', '--from',
                        'swaks@client.test', '--pipeline', '--h-Subject', 'swaks', '--body', 'by swaks'],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    assert b'by swaks' in mta.mail('ann')[0]


def test_msmtp(mta):
    r = subprocess.run(['msmtp', '--file=/dev/null', '--host=127.0.0.1', f'--port={mta.port}', '--tls=off',
                        '--auth=off', '--from=msmtp@client.test', 'ann@mx.veredus.test', 'ben@mx.veredus.test'],
                       input='Subject: msmtp\n\nby msmtp\n.\nend\n', capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    for u in ('ann', 'ben'):
        assert mta.mail(u)[0].endswith(b'by msmtp\n.\nend\n')


def test_smtplib_with_8bitmime_and_size(mta):
    with mta.smtp() as s:
        s.ehlo()
        assert {'size', '8bitmime', 'pipelining', 'enhancedstatuscodes'} <= set(s.esmtp_features)
        s.sendmail('a@b.test', ['ann@mx.veredus.test'], 'Subject: ä\r\n\r\nöü\r\n'.encode(),
                   mail_options=['BODY=8BITMIME'])
        assert s.docmd('MAIL', 'FROM:<a@b.test> SIZE=99999999999')[0] == 552
    assert 'öü'.encode() in mta.mail('ann')[0]


def test_received_names_client_and_helo_but_forges_nothing(mta):
    with mta.client() as c:
        c.cmd('EHLO evil.(x)\\"<y>')
        c.cmd('EHLO [127.0.0.1]')
        c.open('ann@mx.veredus.test')
        c.dot(b'Subject: x\r\n\r\nx\r\n')
    [m] = mta.mail('ann')
    received = re.search(rb'^Received: (.*\n(?:[ \t].*\n)*)', m, re.M).group(0)
    assert b'[127.0.0.1]' in received and b'with ESMTP id' in received and b'for <ann@mx.veredus.test>' in received
