"""Load: Postfix's smtp-source (from $VEREDUS_LOAD), and an accounting client
that knows which of its messages were answered 250, by queue id."""
import os
import re
import smtplib
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from harness import PATIENCE, SLOW, SRC

LOAD = Path(os.environ.get('VEREDUS_LOAD', SRC / 'build' / 'load-tools'))


def load_env():
    """The environment in which Postfix's tools find their libraries."""
    libs = [str(LOAD / 'usr/lib/postfix')] + [str(p) for p in LOAD.glob('usr/lib/*-linux-gnu')]
    return dict(os.environ, LD_LIBRARY_PATH=':'.join(libs))


def source_limit(messages):
    """Seconds that many may take: 20 a second."""
    return (100 + messages / 20) * SLOW


def smtp_source(port, messages, sessions, rcpt, kept=False, size=1024):
    """Runs smtp-source to its end; raises when any message was refused."""
    cmd = [str(LOAD / 'usr/sbin/smtp-source'), '-s', str(sessions), '-m', str(messages), '-l', str(size),
           '-f', 'sender@client.test', '-t', rcpt, '-M', 'client.test'] + (['-d'] if kept else [])
    subprocess.run(cmd + [f'127.0.0.1:{port}'], env=load_env(), check=True, timeout=source_limit(messages), stdout=subprocess.DEVNULL)


class Accountant:
    """Sends numbered messages from several threads for as long as it is told,
    coming back after every broken connection.  Afterwards `promised' maps the
    queue id of each 250 to the message's number, from first + 1 on."""

    def __init__(self, port, rcpts, threads=8, body=b'x' * 500, sender='sender@client.test', first=0, kept=True):
        self.port, self.rcpts, self.body, self.sender = port, rcpts, body, sender
        self.kept = kept                # else a connection for each message
        self.promised, self.lock = {}, threading.Lock()
        self.next, self.refused, self.broken = first, 0, 0
        self.codes = Counter()          # of all replies to MAIL, RCPT, content, and a refused greeting
        self.sent_250 = Counter()
        self.go = True
        self.in_hand = 0                # transactions begun and not answered
        self.cut_off = 0                # of which the connection broke
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]
        for t in self.threads:
            t.start()

    def number(self):
        with self.lock:
            self.next += 1
            return self.next

    def begin(self, d):
        with self.lock:
            self.in_hand += d

    def one(self, s, n):
        code, text = s.mail(self.sender)
        self.codes[code] += 1
        if code != 250:
            self.refused += 1
            s.rset()
            return
        for r in self.rcpts:
            code, text = s.rcpt(r)
            self.codes[code] += 1
            if code != 250:
                self.refused += 1
                s.rset()
                return
        code, text = s.data(b'Subject: n%d\r\nX-Number: %d\r\n\r\n%s\r\n' % (n, n, self.body))
        self.codes[code] += 1
        if code == 250:
            with self.lock:
                self.promised[text.decode().split()[-1]] = n
        else:
            self.refused += 1

    def work(self):
        while self.go:
            try:
                with smtplib.SMTP('127.0.0.1', self.port, local_hostname='client.test', timeout=PATIENCE) as s:
                    s.ehlo()
                    first = True
                    while self.go and (self.kept or first):
                        first = False
                        self.begin(1)
                        try:
                            self.one(s, self.number())
                        except Exception:
                            self.cut_off += 1
                            raise
                        finally:
                            self.begin(-1)
            except (OSError, smtplib.SMTPException) as e:
                self.codes[getattr(e, 'smtp_code', 0)] += 1
                self.broken += 1
                time.sleep(0.02)

    def stop(self):
        self.go = False
        for t in self.threads:
            t.join(60 * SLOW)
            assert not t.is_alive()


def numbers(mailbox_files):
    """How often each X-Number stands in these files."""
    out = Counter()
    for f in mailbox_files:
        m = re.search(rb'^X-Number: (\d+)$', f.read_bytes(), re.M)
        out[int(m.group(1)) if m else None] += 1
    return out
