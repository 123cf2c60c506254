"""What another host refuses comes back: once, in its own words, and with nothing
in it that it could forge."""
import re
from collections import Counter

import pytest

from countsink import CountSink
from harness import wait_until
from sink import Drop, Sink
from test_notices import parse

AGAIN = dict(minimal_backoff_time='1s', maximal_backoff_time='1s')
ANN, BEN, OUT = 'ann@mx.veredus.test', 'ben@mx.veredus.test', 'x@far.test'
POSTMASTER = dict(aliases='postmaster: cat\n')


@pytest.fixture(scope='module')
def sink():
    with Sink() as s:
        yield s


@pytest.fixture
def out(make, sink):
    """An instance that relays to the sink, whose script is empty again after."""
    def start(**settings):
        m = make(relayhost=sink.hop, **{**AGAIN, **POSTMASTER, **settings})
        return m.start()
    yield start
    sink.clear()


def refuse(sink, reply=b'550 5.1.1 no such user here\r\n', only=None):
    sink.script['rcpt'] = lambda s, path: reply if only is None or path in only else None


def held(m, qid=None):
    return wait_until(lambda: [r for r in m.queue() if r['status'] == 'hold' and r['hold_reason']
                       and qid in (None, r['queue_id'])],
                      'it is on hold\n' + m.tail())


def test_in_the_words_of_the_other_host(out, sink):
    m = out()
    refuse(sink, b'550-5.7.1 The first line\r\n550-5.7.1 and 100% of the\r\n550 5.7.1 rest.\r\n', [OUT])
    qid = m.send([OUT, 'y@far.test'], sender=ANN, body='Subject: hello\r\nFrom: ann\r\n\r\nsecret\r\n')
    [octets] = m.mail('ann')
    got, text, status, header = parse(octets)
    assert str(got['To']) == ANN and got['Message-ID'] and got['Date']
    assert len(status) == 2 and status[0]['Reporting-MTA'] == 'dns; mx.veredus.test'
    assert status[1]['Final-Recipient'] == f'rfc822; {OUT}' and status[1]['Action'] == 'failed'
    assert (status[1]['Status'], status[1]['Remote-MTA']) == ('5.7.1', 'dns; [127.0.0.1]')
    assert status[1]['Diagnostic-Code'] == 'smtp; 550 5.7.1 The first line and 100% of the rest.'
    assert 'The first line and 100% of the rest' in text.replace('\n', ' ') and 'y@far.test' not in text
    assert 'Subject: hello' in header and 'secret' not in octets.decode()
    assert sink.wait(1)[0].rcpts == ['y@far.test']
    m.wait_empty()
    assert re.search(rf'{qid}: to=<{OUT}>.*status=bounced \(550 5\.7\.1 The first line', m.log())
    m.stop()


def test_to_a_sender_elsewhere(out, sink):
    m = out()
    refuse(sink, only=[OUT])
    m.send(OUT, sender='them@other.test')
    b = sink.wait(1)[0]
    assert b.reverse_path == '' and b.rcpts == ['them@other.test']
    octets = b'Return-Path: <>\n' + b.content.replace(b'\r\n', b'\n')
    assert b'\nX-' not in octets.partition(b'\n\n')[0]
    _, _, status, _ = parse(octets)
    assert status[1]['Status'] == '5.1.1' and status[1]['Diagnostic-Code'].endswith('no such user here')
    m.wait_empty()
    m.stop()


def test_a_bounce_that_is_refused_goes_to_postmaster(out, sink):
    m = out()
    refuse(sink)
    m.send(OUT, sender='them@other.test')
    [octets] = m.mail('cat')
    got, _, status, header = parse(octets)
    assert got['Subject'] == 'A notice could not be delivered'
    assert status[1]['Final-Recipient'] == 'rfc822; them@other.test'
    assert 'Your mail could not be delivered' in header
    m.wait_empty()
    assert m.maildir('ann') == [] and len(m.maildir('cat')) == 1
    m.stop()


def test_a_double_bounce_that_is_refused_is_held(out, sink):
    """... for all to see: nothing is dropped, nothing goes round for ever."""
    m = out(notice_recipient='them@other.test')
    refuse(sink)
    m.send(OUT, sender='them@other.test')
    [row] = held(m)
    assert row['sender'] == '' and row['recipient'] == 'them@other.test'
    assert '5.1.1' in row['reply'] and 'no such user here' in row['hold_reason']
    shown = m.tool('mailq').stdout
    assert f"{row['queue_id']}!" in shown and 'no such user here' in shown
    tries = [s.stages.count('rcpt') for s in sink.sessions]
    assert sum(tries) == 3              # the mail, its bounce, and the notice about that
    sink.script = {}
    assert m.veredus('release', row['queue_id']).returncode == 0
    assert sink.wait(1)[0].reverse_path == ''
    m.wait_empty()
    m.stop()


def test_what_has_no_sender_and_fails_is_held(out, sink):
    m = out()
    refuse(sink)
    qid = m.send(OUT, sender='')
    [row] = held(m, qid)
    assert 'no such user here' in row['hold_reason']
    assert sink.messages == [] and not any(m.maildir(u) for u in ('ann', 'ben', 'cat'))
    m.stop()
    m.start()                           # it is on hold still
    held(m, qid)
    m.stop()


def test_soft_bounce_makes_nothing_final(out, sink):
    m = out(soft_bounce='yes')
    refuse(sink)
    qid = m.send(OUT, sender=ANN)
    wait_until(lambda: [r for r in m.queue() if r['attempts'] >= 2], 'tried again')
    row, = m.queue()
    assert row['queue_id'] == qid and row['status'] in ('deferred', 'active') and '550 5.1.1' in row['reply']
    assert m.maildir('ann') == [] and 'status=bounced' not in m.log()
    sink.script = {}
    sink.wait(1)
    m.wait_empty()
    m.stop()


def test_expired_after_its_lifetime(out, sink):
    """With what the other host said last; one who did arrive is not told of."""
    m = out(maximal_queue_lifetime='3s')
    refuse(sink, b'451 4.7.1 come back tomorrow\r\n', [OUT])
    m.send([OUT, 'y@far.test'], sender=ANN)
    [octets] = m.mail('ann')
    _, text, status, _ = parse(octets)
    assert status[1]['Status'] == '5.4.7' and status[1]['Action'] == 'failed' and len(status) == 2
    assert 'come back tomorrow' in status[1]['Diagnostic-Code'] and 'expired after 3s' in text.replace('\n', ' ')
    m.wait_empty()
    assert len(m.maildir('ann')) == 1
    m.stop()


@pytest.mark.parametrize('classes,subjects', [
    ('bounce', ['Copy: mail could not be delivered']), ('delay', ['Copy: mail is delayed']), ('resource', [])])
def test_notify_classes(out, sink, classes, subjects):
    m = out(notify_classes=classes, delay_warning_time='1s')
    refuse(sink, only=['no@far.test'])
    later = sink.script['rcpt']
    sink.script['rcpt'] = lambda s, path: b'450 4.2.1 busy\r\n' if path == OUT else later(s, path)
    m.send([OUT, 'no@far.test'], sender=ANN)
    got = [parse(b)[0]['Subject'] for b in m.mail('ann', 2)]
    assert sorted(got) == ['Your mail could not be delivered', 'Your mail is delayed']
    assert sorted(parse(b)[0]['Subject'] for b in m.mail('cat', len(subjects))) == subjects
    assert m.veredus('delete', 'all').returncode == 0
    m.wait_empty()
    assert len(m.maildir('cat')) == len(subjects)
    m.stop()


def test_a_flood_of_failing_recipients_gives_one_bounce(out, sink):
    m = out()
    refuse(sink)
    rcpts = [f'x{i}@far.test' for i in range(600)]
    m.send(rcpts, sender=ANN)
    [octets] = m.mail('ann', timeout=60)
    _, _, status, _ = parse(octets)
    assert Counter(s['Final-Recipient'] for s in status[1:]) == Counter(f'rfc822; {r}' for r in rcpts)
    m.wait_empty()
    assert len(m.maildir('ann')) == 1
    m.stop()


def test_many_messages_fail_at_once(make, tmp_path):
    """Each has its bounce, and only one."""
    with CountSink(tmp_path) as sink:
        sink.start()
        m = make(relayhost=sink.hop, **AGAIN)
        m.start()
        n = 200
        with m.smtp() as s:
            for i in range(n):
                s.sendmail(ANN, ['no@far.test', 'yes@far.test'], f'X-Number: {i}\r\n\r\n' + 'x' * 500 + '\r\n')
        octets = m.mail('ann', n, 60)
        m.wait_empty()
        got = Counter(int(re.search(rb'^X-Number: (\d+)$', b, re.M).group(1)) for b in octets)
        assert set(got) == set(range(n)) and set(got.values()) == {1}
        assert sink.counted() == got
        m.stop()


# -- replies that would forge (lessons 3: CVE-2020-8794, CVE-2026-43964, CVE-2011-1764) --------

HOSTILE = {
    'lines': b'550-5.1.1 a\r\n550-Bcc: victim@far.test\r\n550-\r\n550-.\r\n550 MAIL FROM:<x@y>\r\n',
    'mime': b'550-5.1.1 --=_a\r\n550-Content-Type: text/html\r\n550-\r\n550 --=_a--\r\n',
    'fields': b'550-5.1.1 x\r\n550-Final-Recipient: rfc822; other@far.test\r\n550 Action: delivered\r\n',
    'control': b'550 5.1.1 \x1b[2J\x07\x00\x7f\x0b\x0c\xc2\x85\xe2\x80\xa8 end\r\n',
    'format': b'550 5.1.1 %s%n%x%p ${run{id}} $(id) `id`\r\n',
    '8bit': b'550 5.1.1 \xc3\xa4\xff\xfe\r\n',
    'wide': b'550-5.1.1 ' + b'w' * 480 + b'\r\n' + b'550-5.1.1 ' + b'W' * 480 + b'\r\n550 5.1.1 end\r\n',
    'no text': b'550 5.7.2\r\n',
    'no code': b'550\r\n',
    'empty': b'550 \r\n',
    'odd code': b'550 5.7.99999 x\r\n',
    'wrong class': b'550 2.0.0 all is well\r\n',
    'shell': b"550 5.1.1 '; touch /tmp/x; #\" | id\r\n",
}


@pytest.mark.parametrize('name', HOSTILE)
def test_cve_2020_8794_reply_lines(out, sink, name):
    """Whatever the other host says: the bounce has the parts and fields that we
    give it, the log its lines, the queue its rows."""
    m = out()
    refuse(sink, HOSTILE[name])
    qid = m.send(OUT, sender=ANN)
    [octets] = m.mail('ann')
    got, text, status, header = parse(octets)
    assert [p.get_content_type() for p in got.iter_parts()] == [
        'text/plain', 'message/delivery-status', 'text/rfc822-headers']
    assert sorted(k for k in got.keys() if k in ('Bcc', 'Cc', 'To')) == ['To'] and str(got['To']) == ANN
    assert len(status) == 2 and status[1].get_all('Final-Recipient') == [f'rfc822; {OUT}']
    assert status[1].get_all('Action') == ['failed'] and re.fullmatch(r'5\.\d{1,3}\.\d{1,3}', status[1]['Status'])
    assert status[1]['Diagnostic-Code'].startswith('smtp; 550')
    assert max(map(len, octets.split(b'\n'))) < 998
    assert all(c in b'\n\t' or 32 <= c < 127 for c in octets.replace(b'\r\n', b'\n'))
    m.wait_empty()
    log = m.log_octets()
    assert all(c == 10 or 32 <= c < 127 for c in log)
    assert all(re.match(rb'\w{3} [ \d]\d [\d:]{8} \S+ veredus/\w+\[\d+\]: ', x) for x in log.splitlines())
    assert len([x for x in log.splitlines() if f'{qid}: to=<'.encode() in x]) == 1
    m.stop()


def test_cve_2020_8794_reply_lines_in_the_queue(out, sink):
    """The same words on a message that stays: one row, in the spool as on screen."""
    m = out()
    refuse(sink, b'450-4.2.1 a\r\n450-\r\n450-D far\r\n450 4.2.1 \x00\x1b]0;x\x07 end\r\n')
    qid = m.send(OUT, sender=ANN)
    wait_until(lambda: [r for r in m.queue() if r['reply']], 'deferred')
    [row] = m.queue()
    assert row['queue_id'] == qid and row['recipient'] == OUT and '450 4.2.1 a' in row['reply']
    for text in (m.tool('mailq').stdout, m.veredus('cat', qid).stdout):
        assert all(c in '\n\r\t' or 32 <= ord(c) < 127 for c in text), text
    m.kill_all()                        # what was stored is read again
    m.start()
    sink.script = {}
    assert m.veredus('flush').returncode == 0
    assert sink.wait(1)[0].rcpts == [OUT]
    m.wait_empty()
    m.stop()


def test_a_host_that_drops_after_its_refusal_has_refused(out, sink):
    """550 to RCPT and gone: that recipient failed, the other is tried again."""
    m = out()
    seen = []

    def rcpt(session, path):
        if path == OUT and not seen:
            seen.append(1)
            return Drop(b'550 5.1.1 not here, and bye\r\n')
        return None
    sink.script['rcpt'] = rcpt
    m.send([OUT, 'y@far.test'], sender=ANN)
    sink.wait(1)
    m.wait_empty()
    assert sorted(r for x in sink.messages for r in x.rcpts) == ['y@far.test']
    [octets] = m.mail('ann')
    assert b'not here, and bye' in octets
    m.stop()
