"""Notices end to end, read by another's MIME parser: what comes back is what RFC 3464 says."""
import email
import email.policy
import re

import pytest

from harness import wait_until

HOST = 'mx.veredus.test'
# Unknown users are taken, and fail at their delivery: so a bounce needs no other host.
TAKE_ALL = dict(local_recipient_maps='', aliases='postmaster: ben\ncrew: nobody1, ann\nann: ann\n')


def parse(octets):
    """A notice in its parts; whatever is not as it should be fails."""
    m = email.message_from_bytes(octets, policy=email.policy.default)
    assert m.defects == [] and octets.isascii()
    assert m.get_content_type() == 'multipart/report' and m.get_param('report-type') == 'delivery-status'
    assert m['Return-Path'] == '<>' and m['Auto-Submitted'] == 'auto-replied'
    assert m['From'].addresses[0].username == 'MAILER-DAEMON'
    parts = list(m.iter_parts())
    assert [p.get_content_type() for p in parts] == [
        'text/plain', 'message/delivery-status', 'text/rfc822-headers'][:len(parts)] and len(parts) in (2, 3)
    for p in m.walk():
        assert p.defects == []
    return m, parts[0].get_content(), list(parts[1].iter_parts()), parts[2].get_content() if len(parts) == 3 else ''


def of_user(mta, user, subject):
    """The one message of a user with that subject; waits for it."""
    def find():
        return [b for f in mta.maildir(user) for b in [f.read_bytes()] if f'\nSubject: {subject}'.encode() in b]
    wait_until(find, f'{subject!r} for {user}\n{mta.tail()}')
    assert len(find()) == 1
    return find()[0]


def test_a_bounce_comes_back(make):
    m = make(**TAKE_ALL).start()
    qid = m.send([f'nobody1@{HOST}', f'ben@{HOST}', f'Nobody2@{HOST}'], sender=f'ann@{HOST}',
                 body='From: Ann <ann@mx.veredus.test>\r\nSubject: the first\r\n\r\nsecret\r\n')
    got, text, status, header = parse(of_user(m, 'ann', 'Your mail could not be delivered'))
    assert str(got['To']) == f'ann@{HOST}'
    assert f'<nobody1@{HOST}>' in text and f'<Nobody2@{HOST}>' in text and f'<ben@{HOST}>' not in text
    assert 'unknown user: "nobody1"' in text and qid in text and f'ask postmaster@{HOST}' in text.replace('\n', ' ')
    assert 'there is no such mailbox' in text
    assert status[0]['Reporting-MTA'] == f'dns; {HOST}' and status[0]['X-Veredus-Queue-ID'] == qid
    assert status[0]['Arrival-Date']
    assert [(s['Original-Recipient'], s['Final-Recipient'], s['Action'], s['Status']) for s in status[1:]] == [
        (f'rfc822; {r}@{HOST}', f'rfc822; {r}@{HOST}', 'failed', '5.1.1') for r in ('nobody1', 'Nobody2')]
    assert 'unknown user' in status[1]['Diagnostic-Code'] and status[1]['Last-Attempt-Date']
    assert 'Subject: the first' in header and 'secret' not in header + text
    assert b'secret' in of_user(m, 'ben', 'the first')
    m.wait_empty()
    assert re.search(rf'{qid}: sender non-delivery notification: \w+', m.log())
    m.stop()


def test_a_bounce_of_a_bounce_goes_to_postmaster(make):
    """... and what has no sender and fails is held, for all to see."""
    m = make(**TAKE_ALL).start()
    m.send(f'nobody1@{HOST}', sender=f'nobody2@{HOST}')
    got, text, status, header = parse(of_user(m, 'ben', 'A notice could not be delivered'))
    assert status[1]['Final-Recipient'] == f'rfc822; nobody2@{HOST}'
    assert 'Subject: Your mail could not be delivered' in header
    m.wait_empty()
    qid = m.send(f'nobody1@{HOST}', sender='')
    wait_until(lambda: [r['status'] for r in m.queue() if r['queue_id'] == qid] == ['hold'], f'{qid} is held\n{m.tail()}')
    assert len(m.maildir('ben')) == 1
    m.stop()


def test_copies_for_postmaster(make):
    m = make(notify_classes='bounce', **TAKE_ALL).start()
    m.send(f'nobody1@{HOST}', sender=f'ann@{HOST}')
    parse(of_user(m, 'ann', 'Your mail could not be delivered'))
    _, text, _, _ = parse(of_user(m, 'ben', 'Copy: mail could not be delivered'))
    assert f'A message from <ann@{HOST}>' in text.replace('\n', ' ')
    m.wait_empty()
    m.stop()


FORGED = [
    b'Subject: \xc3\xa4\xf6\xfc and more\r\nX: \xff\xfe\r\n',
    b'Subject: a\r\nX: ' + b'y' * 3000 + b'\r\n',
    b'Subject: =?utf-8?q?=0D=0ABcc:_x?=\r\n\tfolded\r\nContent-Type: multipart/mixed; boundary="x"\r\n',
    b'Subject: a\r\n--=_: b\r\n.dots: 1\r\n..: 2\r\nFrom : x\r\n',
]


@pytest.mark.parametrize('header', FORGED)
def test_headers_come_back_as_they_were(make, header):
    m = make(bounce_size_limit='20000', **TAKE_ALL).start()
    m.send(f'nobody1@{HOST}', sender=f'ann@{HOST}', body=header + b'\r\nbody\r\n')
    octets = of_user(m, 'ann', 'Your mail could not be delivered')
    msg, _, status, _ = parse(octets)
    assert len(status) == 2
    back = list(msg.iter_parts())[2].get_payload(decode=True).replace(b'\r\n', b'\n')
    assert back.endswith(header.replace(b'\r\n', b'\n')), back
    m.stop()


@pytest.mark.parametrize('size', [10, 200000], ids=['small', 'file'])
def test_a_long_header_is_cut_between_lines(make, size):
    """Whether the message lies in memory or in a file."""
    m = make(bounce_size_limit='5000', **TAKE_ALL).start()
    header = ''.join(f'X-{i}: {"v" * 90}\r\n' for i in range(100))
    m.send(f'nobody1@{HOST}', sender=f'ann@{HOST}', body=header + '\r\n' + ('y' * 70 + '\r\n') * (size // 72))
    _, _, _, back = parse(of_user(m, 'ann', 'Your mail could not be delivered'))
    assert 4800 < len(back) <= 5000 and back.endswith('v' * 90 + '\n'), back[-200:]
    m.stop()


def test_odd_addresses(make):
    """Names with spaces, with what looks like a delimiter, and long ones."""
    m = make(**TAKE_ALL).start()
    names = [f'"no body"@{HOST}', f'"--=_x"@{HOST}', f'"a>b<c"@{HOST}', 'x' * 64 + f'@{HOST}']
    m.send(names, sender=f'ann@{HOST}')
    _, text, status, _ = parse(of_user(m, 'ann', 'Your mail could not be delivered'))
    assert sorted(s['Final-Recipient'] for s in status[1:]) == sorted(
        'rfc822; ' + (n if not re.fullmatch(r'"[\w=-]+"@.*', n) else n.replace('"', '')) for n in names)
    m.stop()
