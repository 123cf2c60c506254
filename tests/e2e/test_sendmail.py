"""sendmail(8): called as real programs call it, with and without the system."""
import os
import re
import signal
import stat
import subprocess

import pytest

from harness import ROOT, tool, wait_until

CALLS = {  # facts, section 4: who calls it how
    'cron': (['-FCronDaemon', '-i', '-B8BITMIME', '-oem', 'ann'], b'From: root (Cron Daemon)\nTo: ann\n\nout\n'),
    'at': (['-i', 'ann'], b'Subject: at\n\nout\n'),
    'php': (['-t', '-i', '-fweb@client.test'], b'To: ann@mx.veredus.test\r\nSubject: php\r\n\r\nout\r\n'),
    'git': (['-f', 'dev@client.test', '-i', 'ann@mx.veredus.test'], b'Subject: git\n\nout\n'),
    'mutt': (['-oem', '-oi', '--', 'ann@mx.veredus.test'], b'Subject: mutt\n\nout\n'),
    'logwatch': (['-t'], b'To: "Ann" <ann@mx.veredus.test>\nSubject: log\n\nout\n.\nnot this\n'),
    'unknown -o': (['-oQ/x', '-odb', '-o7', 'ann'], b'Subject: o\n\nout\n'),
}


@pytest.mark.parametrize('who', CALLS)
def test_calls_of_real_programs(mta, who):
    args, text = CALLS[who]
    r = mta.tool('sendmail', *args, input=text)
    assert (r.returncode, r.stderr) == (0, b'')
    [m] = mta.mail('ann')
    assert m.endswith(b'\n\nout\n'), m
    assert re.search(rb'^Message-I[dD]: <.+@mx\.veredus\.test>$', m, re.M)
    assert re.search(rb'^Date: ', m, re.M)
    assert re.search(rb'^From: ', m, re.M)


def test_bcc_goes_and_its_recipient_gets_the_mail(mta):
    r = mta.tool('sendmail', '-t', input=b'To: ann\nBcc: ben\nSubject: b\n\nx\n')
    assert r.returncode == 0, r.stderr
    for u in ('ann', 'ben'):
        assert b'Bcc' not in mta.mail(u)[0]


def test_a_lone_dot_ends_the_message_unless_told(mta):
    text = b'Subject: d\n\none\n.\ntwo\n'
    assert mta.tool('sendmail', 'ann', input=text).returncode == 0
    assert mta.tool('sendmail', '-i', 'ben', input=text).returncode == 0
    assert mta.mail('ann')[0].endswith(b'\n\none\n')
    assert mta.mail('ben')[0].endswith(b'\n\none\n.\ntwo\n')


def test_an_unknown_recipient_is_told_and_the_others_get_it(mta):
    r = mta.tool('sendmail', 'nobody-here', 'ann', input=b'Subject: u\n\nx\n')
    assert r.returncode == 67
    assert b'nobody-here@' in r.stderr and b'5.1.1' in r.stderr
    mta.mail('ann')


def test_no_recipient_and_bad_calls_say_why(mta):
    for args, code, words in (([], 64, b'no recipient'), (['-t'], 64, b'no recipient'),
                              (['-bd'], 64, b'-bd is not supported'), (['a@@b'], 65, b'bad recipient')):
        r = mta.tool('sendmail', *args, input=b'Subject: x\n\nx\n')
        assert r.returncode == code and words in r.stderr, (args, r)
    assert mta.queue() == []


def test_what_a_stranger_wrote_does_not_reach_the_terminal(mta):
    """-t reads text of others (forwarders, list robots): no escapes of theirs."""
    for to in (b'\x1b[31m@@x', b'a@@\x9b31m', b'"\x07'):
        r = mta.tool('sendmail', '-t', input=b'To: ' + to + b'\n\nx\n')
        assert r.returncode == 65 and b'bad recipient' in r.stderr, r
        assert all(32 <= c < 127 for c in r.stderr[:-1]), r.stderr


def test_a_mailbox_line_in_front_is_no_part_of_the_header(mta):
    """formail and procmail pipe messages as they stand in an mbox."""
    text = b'From joe Mon Jan  1 00:00:00 2024\nTo: ann\nBcc: ben\nSubject: m\n\nx\n'
    r = mta.tool('sendmail', '-t', '-F', 'Joe', input=text)
    assert (r.returncode, r.stderr) == (0, b'')
    for u in ('ann', 'ben'):
        head = mta.mail(u)[0].split(b'\n\n')[0]
        assert b'\nSubject: m' in head and b'Bcc' not in head and b'\nFrom: "Joe" <' in head, head


def test_an_empty_name_is_no_name(mta):
    assert mta.tool('sendmail', '-F', '', 'ann', input=b'Subject: n\n\nx\n').returncode == 0
    assert re.search(rb'^From: [^ "<]+@mx\.veredus\.test$', mta.mail('ann')[0], re.M)


def test_null_reverse_path(mta):
    assert mta.tool('sendmail', '-f', '<>', 'ann', input=b'Subject: n\n\nx\n').returncode == 0
    assert mta.mail('ann')[0].startswith(b'Return-Path: <>\n')


def test_message_above_the_limit_is_refused(make):
    m = make(message_size_limit='20k')
    m.start()
    r = m.tool('sendmail', 'ann', input=b'Subject: x\n\n' + b'x' * 30000)
    assert r.returncode == 65 and b'message_size_limit' in r.stderr
    m.stop()


def test_bs_speaks_smtp(mta):
    text = ('EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@mx.veredus.test>\r\nDATA\r\n'
            'Subject: bs\r\n\r\nx\r\n.\r\nQUIT\r\n')
    r = mta.tool('sendmail', '-bs', input=text.encode())
    assert r.returncode == 0
    assert [x[:3] for x in r.stdout.split(b'\r\n') if x[3:4] != b'-' and x] == \
        [b'220', b'250', b'250', b'250', b'354', b'250', b'221']
    mta.mail('ann')


def test_bp_bi_are_mailq_and_newaliases(mta):
    r = mta.tool('sendmail', '-bp')
    assert r.returncode == 0 and 'empty' in r.stdout
    mta.aliases_path.write_text('crew: ben\n')
    assert mta.tool('sendmail', '-bi').returncode == 0
    with mta.client() as c:         # a replaced map is seen within a second or two
        c.hello()
        c.cmd('MAIL FROM:<a@b.test>')
        wait_until(lambda: c.cmd('RCPT TO:<crew@mx.veredus.test>').code == 250, 'the alias is known')
        c.cmd('DATA')
        c.dot(b'Subject: x\r\n\r\nx\r\n')
    mta.mail('ben')


def test_drop_directory_keeps_mail_while_nothing_runs(make):
    m = make()
    m.start()
    m.stop()
    r = m.tool('sendmail', '-i', 'ann', 'ben', input=b'Subject: kept\n\nheld\n.\nback\n')
    assert r.returncode == 0, r.stderr
    [f] = (m.spool / 'drop').iterdir()
    assert f.stat().st_mode & 0o777 == 0o640 and not f.name.startswith('.')
    m.start()
    for u in ('ann', 'ben'):
        assert m.mail(u)[0].endswith(b'\n\nheld\n.\nback\n')
    wait_until(lambda: not list((m.spool / 'drop').iterdir()), 'the drop file is gone')
    m.wait_empty()
    m.stop()


def test_drop_directory_is_watched_while_the_system_runs(mta):
    """smtpd does not answer, the rest runs: picked up without a restart."""
    os.rename(mta.run / 'public' / 'submit', mta.run / 'public' / 'away')
    assert mta.tool('sendmail', 'ann', input=b'Subject: w\n\nx\n').returncode == 0
    mta.mail('ann')


def test_nothing_is_kept_nothing_is_promised(make):
    m = make()                      # never started: there is no spool yet
    r = m.tool('sendmail', 'ann', input=b'Subject: x\n\nx\n')
    assert r.returncode == 75 and b'could not be kept' in r.stderr
    assert b'nobody answers' in r.stderr


def test_the_reason_of_a_refusal_for_now_is_told_when_nothing_is_kept(make):
    m = make(queue_minfree='1000T')
    m.start()
    os.rename(m.spool / 'drop', m.spool / 'away')
    r = m.tool('sendmail', 'ann', input=b'Subject: x\n\nx\n')
    assert r.returncode == 75 and b'452 4.3.1' in r.stderr, r.stderr
    assert b'could not be kept' in r.stderr and b'nobody answers' not in r.stderr, r.stderr
    m.stop()


def garbage(drop):
    """Whatever a user of this host can put there, under names of drop files."""
    (drop / ('0' * 32)).write_bytes(b'VRDSD\0\0\1' + os.urandom(300))
    (drop / ('1' * 32)).write_bytes(b'')
    os.symlink('/etc/passwd', drop / ('2' * 32))
    os.symlink('/nonexistent', drop / ('3' * 32))
    os.mkfifo(drop / ('4' * 32))
    (drop / ('5' * 32)).mkdir()
    os.mknod(drop / ('6' * 32), 0o666 | stat.S_IFSOCK)
    with open(drop / ('7' * 32), 'wb') as f:
        f.truncate(1 << 36)
    for i in range(1100):               # more than one look takes
        os.symlink('/etc/passwd', drop / f'{i:016x}{"a" * 16}')


@pytest.mark.parametrize('running', [True, False])
def test_garbage_in_the_drop_directory_stops_nothing(make, running):
    m = make()
    m.start()
    m.stop()
    drop = m.spool / 'drop'
    if ROOT:                            # as somebody else, whom the directory's owner is not
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            garbage(drop)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    else:
        garbage(drop)
    if running:
        m.start()
        m.stop()
    assert m.tool('sendmail', 'ann', input=b'Subject: ok\n\nx\n').returncode == 0
    m.start()
    m.mail('ann')
    # regular files and directories stay, aside; what has no content goes
    wait_until(lambda: sorted(os.listdir(drop)) == [c * 32 + '.bad' for c in '0157'],
               f'all of it was looked at: {sorted(os.listdir(drop))[:9]}')
    assert 'nor can it be' not in m.log()
    m.stop()


@pytest.mark.skipif(not ROOT, reason='needs other users')
def test_other_users_may_submit_and_are_named(mta):
    r = mta.tool('sendmail', 'ann', input=b'Subject: u\n\nx\n', user=65534)
    assert r.returncode == 0, r.stderr
    [m] = mta.mail('ann')
    assert m.startswith(b'Return-Path: <nobody@mx.veredus.test>\n')
    assert b'65534' in re.search(rb'^Received: (.*\n(?:[ \t].*\n)*)', m, re.M).group(0)


def test_sendmail_killed_at_any_time_loses_nothing_it_promised(mta):
    """Exit 0 is the promise; a killed sendmail promised nothing."""
    kept = 0
    for i in range(30):
        p = subprocess.Popen([tool('sendmail'), '-i', 'ann'], stdin=subprocess.PIPE, env=mta.env())
        p.stdin.write(b'Subject: k\nX-Number: %d\n\nx\n' % i)
        p.stdin.close()
        try:
            p.wait(0.0005 * i)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
        kept += p.wait() == 0
    wait_until(lambda: len(mta.maildir('ann')) >= kept, 'all kept messages arrive')
    mta.wait_empty()
