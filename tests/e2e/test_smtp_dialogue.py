"""Dialogues one can read, spoken with the real system.

dialogues/*.smtp, line by line:
    # ...            a comment
    ! name = value   a setting (or aliases) of an instance of its own
    C: text          the client sends text and CRLF; several without an S: between
                     them leave in one segment.  \\xHH \\r \\n \\\\ are escapes
    C*N: text        the same line N times
    C= text          the octets as they are, without CRLF
    C=*N text        the same octets N times
    S: CODE [ESC]    the next reply; or words that one of its lines must have
    S*N: ...         N of them
    S(label): ...    the reply of something that is no command (smtpd/replies.h)
    X:               the server closes
"""
import os
import re
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from harness import Client, wait_until

DIALOGUES = sorted((Path(__file__).parent / 'dialogues').glob('*.smtp'))


def unescape(text):
    def one(m):
        c = m.group(1)
        return bytes([int(c[1:], 16)]) if c[0] == 'x' else {'r': b'\r', 'n': b'\n', '\\': b'\\'}[c]
    out, at = b'', 0
    for m in re.finditer(r'\\(x[0-9a-f]{2}|r|n|\\)', text):
        out += text[at:m.start()].encode() + one(m)
        at = m.end()
    return out + text[at:].encode()


def parse(path):
    settings, steps = {}, []
    for n, line in enumerate(path.read_text().splitlines(), 1):
        m = re.fullmatch(r'! *(\w+) *= *(.*)', line)
        if m:
            settings[m.group(1)] = m.group(2)
            continue
        if not line or line.startswith('#'):
            continue
        m = re.fullmatch(r'(C=|[CSX])(?:\((\w+)\))?(?:\*(\d+))?(:?)(?: (.*))?', line)
        assert m and (m.group(4) == ':') == (m.group(1) != 'C='), f'{path.name}:{n}: {line!r}'
        steps.append((f'{path.name}:{n}', m.group(1), m.group(2), int(m.group(3) or 1), m.group(5) or ''))
    return settings, steps


class Player:
    def __init__(self, client):
        self.client = client
        self.out = b''
        self.pending = []        # labels of the commands that wait for a reply
        self.greeted = False

    def say(self, text):
        self.out += text + b'\r\n'
        if self.client.state == 'CONTENT' and not self.pending:
            if text == b'.':
                self.pending.append('DOT')
        else:
            words = text.decode('latin-1').split()
            self.pending.append(words[0].upper() if words else '')

    def flush(self):
        self.client.send(self.out)
        self.out = b''

    def expect(self, where, label, want):
        self.flush()
        if not self.greeted:
            self.greeted, verb = True, 'CONNECT'
        elif label:
            verb = f'({label})'
            if label == 'line' and self.pending:
                self.pending.pop(0)
        else:
            assert self.pending, f'{where}: nothing was asked'
            verb = self.pending.pop(0)
        r = self.client.reply(verb)
        code, _, rest = want.partition(' ')
        assert r.code == int(code), f'{where}: wanted {want}, got {r}'
        if re.fullmatch(r'\d\.\d+\.\d+', rest):
            assert r.esc == rest, f'{where}: wanted {want}, got {r}'
        elif rest:
            assert any(x[4:] == rest for x in r.lines), f'{where}: wanted {want}, got {r}'

    def play(self, steps):
        for where, kind, label, times, text in steps:
            for _ in range(times):
                if kind == 'C':
                    self.say(unescape(text))
                elif kind == 'S':
                    self.expect(where, label, text)
            if kind == 'C=':
                self.out += unescape(text) * times
            elif kind == 'X':
                self.flush()
                assert self.client.closed(), f'{where}: the server did not close'


def play(mta, path):
    with Client(mta.port, greet=False) as c:
        Player(c).play(parse(path)[1])


@pytest.mark.parametrize('path', DIALOGUES, ids=lambda p: p.stem)
def test_dialogue(path, request):
    settings, _ = parse(path)
    if settings:
        kw = {}
        if 'aliases' in settings:
            kw['aliases'] = unescape(settings.pop('aliases')).decode()
        mta = request.getfixturevalue('make')(**kw, **settings)
        mta.start()
    else:
        mta = request.getfixturevalue('shared')
    play(mta, path)


@pytest.mark.parametrize('path', [p for p in DIALOGUES if p.stem in ('rfc821', 'order', 'mail', 'rcpt', 'verbs')],
                         ids=lambda p: p.stem)
def test_dialogue_octet_by_octet(path, shared, monkeypatch):
    """The same answers however the octets are cut."""
    def slowly(self, data):
        for i in range(len(data)):
            self.sock.sendall(data[i:i + 1])
    with Client(shared.port, greet=False) as c:
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        monkeypatch.setattr(Client, 'send', slowly)
        Player(c).play(parse(path)[1])


def test_too_many_sessions_are_turned_away(make):
    mta = make(smtpd_max_sessions=2)
    mta.start()
    wait_until(lambda: 'disconnect from' in mta.log(), 'the first client has gone')
    with mta.client() as a, mta.client() as b:
        with Client(mta.port) as c:
            assert (c.greeting.code, c.greeting.esc) == (421, '4.3.2')
            assert c.closed()
        a.hello()
        assert b.cmd('QUIT').code == 221
    with mta.client() as d:
        d.hello()


def test_fewer_descriptors_than_sessions(make):
    """A small hard limit: clients are turned away, not left without a word, and
    sendmail, which would wait for one, keeps its mail."""
    mta = make()
    mta.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))
    clients, turned_away = [], 0
    for _ in range(210):
        c = Client(mta.port)
        clients.append(c)
        turned_away += c.greeting.code == 421
    assert 10 <= turned_away <= 100
    r = mta.tool('sendmail', 'ann', input=b'Subject: x\n\nx\n', timeout=10)
    assert r.returncode == 0, r.stderr
    for c in clients:
        c.sock.close()
    mta.mail('ann')
    assert 'only 200 descriptors' in mta.log()


def test_stop_tells_the_idle_and_waits_for_the_busy(make):
    mta = make()
    mta.start()
    with mta.client() as idle, mta.client() as busy:
        idle.hello()
        busy.hello()
        busy.open('ann@mx.veredus.test')
        mta.proc.terminate()
        r = idle.reply('(stop)')
        assert (r.code, r.esc) == (421, '4.3.2')
        assert idle.closed()
        assert busy.dot(b'Subject: at the last moment\r\n\r\n').code == 250
        assert busy.reply('(stop)').code == 421
    mta.stop()
    mta.start()
    mta.mail('ann')


def test_endless_content_is_cut_off(make):
    mta = make(message_size_limit=2048)
    mta.start()
    block = b'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n' * 16384
    with mta.client() as c:
        c.hello()
        c.open('ann@mx.veredus.test')
        for _ in range(70):
            try:
                c.send(block)
            except (BrokenPipeError, ConnectionResetError):
                break
        r = c.reply('(content)')
        assert (r.code, r.esc) == (421, '4.7.0')


def test_cleanup_lost_is_451_and_the_session_goes_on(make):
    mta = make(smtpd_command_limit=1000000)
    mta.start()
    with mta.client() as mail, mta.client() as data, mta.client() as content:
        for c in (mail, data, content):
            c.hello()
        assert data.cmd('MAIL FROM:<a@b.test>').code == 250
        assert data.cmd('RCPT TO:<ann@mx.veredus.test>').code == 250
        content.open('ann@mx.veredus.test')

        def refused():
            """Between the end of cleanup and its new start MAIL is refused
            (the first start comes at once, the second a tenth of a second later)."""
            os.kill(wait_until(lambda: mta.pid('cleanup'), 'cleanup runs'), signal.SIGKILL)
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                r = mail.cmd('MAIL FROM:<a@b.test>')
                if r.code == 451:
                    return r
                mail.cmd('RSET')
        r = wait_until(refused, 'MAIL is refused while cleanup is away')
        assert r.esc == '4.3.0'
        wait_until(lambda: mta.pid('cleanup'), 'cleanup is running again')
        r = data.cmd('DATA')
        assert (r.code, r.esc) == (451, '4.3.0')
        r = content.dot(b'Subject: lost\r\n\r\n')
        assert (r.code, r.esc) == (451, '4.3.0')

        def sends():
            if content.cmd('MAIL FROM:<a@b.test>').code != 250:
                return False
            if content.cmd('RCPT TO:<ann@mx.veredus.test>').code != 250:
                content.cmd('RSET')
                return False
            assert content.cmd('DATA').code == 354
            return content.dot(b'Subject: found\r\n\r\n').code == 250
        wait_until(sends, 'the same session sends mail again')
    [m] = mta.mail('ann')
    assert b'Subject: found' in m


def test_cleanup_silent_is_451_to_rcpt(make):
    """A question that is not answered in time is a temporary refusal."""
    mta = make(ipc_timeout=1, watchdog_timeout='60s')
    mta.start()
    with mta.client() as c:
        c.hello()
        assert c.cmd('MAIL FROM:<a@b.test>').code == 250
        pid = mta.pid('cleanup')
        os.kill(pid, signal.SIGSTOP)
        try:
            r = c.cmd('RCPT TO:<ann@mx.veredus.test>')
        finally:
            os.kill(pid, signal.SIGCONT)
        assert (r.code, r.esc) == (451, '4.3.0')
        assert c.cmd('RSET').code == 250
        c.open('ann@mx.veredus.test')
        assert c.dot(b'Subject: again\r\n\r\n').code == 250
    mta.mail('ann')


BREAKS = [b'\r\n', b'\n', b'\r', b'\r\r\n', b'\n\r\n', b'\n\r', b'\0\r\n', b'\r\0\n']


@pytest.mark.parametrize('forbid', ['yes', 'no'])
def test_no_form_of_smuggling(make, forbid):
    """lessons.md, C1: whatever stands around the dot, only CRLF.CRLF ends."""
    mta = make(smtpd_forbid_bare_newline=forbid)
    mta.start()
    taken = 0
    for before in BREAKS:
        for after in BREAKS:
            if before.endswith(b'\r\n') and after == b'\r\n':
                continue             # a true end
            with mta.client() as c:
                c.hello()
                c.open('ann@mx.veredus.test')
                r = c.dot(b'Subject: outer\r\n\r\nbody' + before + b'.' + after +
                          b'MAIL FROM:<evil@x.test>\r\nRCPT TO:<ben@mx.veredus.test>\r\nDATA\r\n'
                          b'Subject: inner\r\n\r\n')
                if b'\0' in before + after:
                    assert r.code == 550 and r.esc in ('5.6.0', '5.5.2'), (before, after, r)
                elif forbid == 'yes':
                    assert (r.code, r.esc) == (550, '5.5.2'), (before, after, r)
                else:
                    assert r.code == 250, (before, after, r)
                    taken += 1
                r = c.cmd('NOOP')    # no second reply was waiting
                assert (r.code, r.esc) == (250, '2.0.0'), (before, after, r)
    mta.wait_empty()
    assert len(mta.maildir('ann')) == taken
    assert mta.maildir('ben') == []
