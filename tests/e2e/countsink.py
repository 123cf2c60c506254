"""A fast SMTP server in a process of its own, which can be killed: of each message
that it takes it writes X-Number, a checksum of the body and the recipients to a
file before it says 250.  What is not in the file was not taken.  A connection that
is lost inside a transaction leaves the line "cut".

Recipients that begin with "no" are refused for good, with "later" for now.  The
go-ahead for the content comes after 10 ms, so that a transaction is worth killing.
"""
import asyncio
import os
import re
import signal
import subprocess
import sys
import zlib
from collections import Counter

from harness import free_port, wait_until

BODY = b'x' * 500 + b'\r\n'


class Session(asyncio.Protocol):
    """One connection; octets are cut into lines, content is taken whole."""
    out = -1
    say = {}                    # verb: what is said instead of the usual

    def connection_made(self, transport):
        self.transport, self.buf, self.content = transport, b'', None
        self.rcpts = []
        self.answer('CONNECT', b'220 count.test ESMTP\r\n')

    def connection_lost(self, why):
        if self.rcpts:
            os.write(self.out, b'cut\n')

    def answer(self, verb, usual):
        text = self.say.get(verb, usual)
        self.transport.write(text)
        if text.startswith(b'421'):
            self.transport.close()
        return text is usual

    def data_received(self, data):
        self.buf += data
        while not self.transport.is_closing():
            if self.content:
                content, dot, rest = self.buf.partition(b'\r\n.\r\n')
                if not dot:
                    return
                self.buf, self.content = rest, False
                self.take(content + b'\r\n')
                continue
            line, end, rest = self.buf.partition(b'\r\n')
            if not end:
                return
            self.buf = rest
            self.command(line)

    def take(self, content):
        number = re.search(rb'^X-Number: (\d+)\r$', content, re.M)
        body = content.partition(b'\r\n\r\n')[2]
        os.write(self.out, b'%d %d %s\n' % (int(number.group(1)) if number else -1, zlib.crc32(body),
                                            b','.join(self.rcpts)))
        self.rcpts = []
        self.answer('DOT', b'250 2.0.0 counted\r\n')

    def go_ahead(self):
        self.content = self.answer('DATA', b'354 go on\r\n')

    def command(self, line):
        verb, _, rest = line.partition(b' ')
        verb = verb.upper().decode('latin-1')
        if verb == 'EHLO':
            self.answer(verb, b'250-count.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n')
        elif verb == 'RCPT':
            who = rest[4:rest.find(b'>')]
            if who.startswith(b'no'):
                self.transport.write(b'550 5.1.1 <%s> is not here\r\n' % who)
            elif who.startswith(b'later'):
                self.transport.write(b'450 4.2.1 <%s> is busy\r\n' % who)
            elif self.answer(verb, b'250 2.1.5 ok\r\n'):
                self.rcpts.append(who)
        elif verb == 'DATA':
            if not self.rcpts:
                self.transport.write(b'554 5.5.1 no recipients\r\n')
            else:
                asyncio.get_running_loop().call_later(0.01, self.go_ahead)
        elif verb == 'QUIT':
            self.transport.write(b'221 2.0.0 bye\r\n')
            self.transport.close()
        else:
            if verb in ('MAIL', 'RSET'):
                self.rcpts = []
            self.answer(verb, b'250 2.0.0 ok\r\n')


async def serve(port, out, say):
    Session.out, Session.say = out, say
    server = await asyncio.get_running_loop().create_server(Session, '127.0.0.1', port, backlog=2000,
                                                            reuse_address=True)
    async with server:
        await server.serve_forever()


class CountSink:
    """The handle that a test has."""

    def __init__(self, place):
        self.port, self.path, self.proc = free_port(), place / 'counted', None
        self.path.touch()
        self.hop = f'[127.0.0.1]:{self.port}'

    def start(self, **say):
        """say: verb (CONNECT, EHLO, MAIL, RCPT, DATA, DOT) = what is said instead."""
        cmd = [sys.executable, '-B', __file__, str(self.port), str(self.path)]
        cmd += [f'{k}={v}' for k, v in say.items()]
        self.proc = subprocess.Popen(cmd)

        def up():       # it, and not somebody who has had its port meanwhile
            if self.proc.poll() is not None:
                self.proc = subprocess.Popen(cmd)
                return False
            return self.answers() and self.proc.poll() is None
        wait_until(up, 'the sink answers')
        return self

    def answers(self):
        import socket
        try:
            with socket.create_connection(('127.0.0.1', self.port), 5) as s:
                s.settimeout(5)
                return s.recv(10) != b''
        except OSError:
            return False

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.proc = None

    def __enter__(self):
        return self

    def __exit__(self, *a):
        if self.proc is not None:
            self.kill()

    def lines(self):
        return self.path.read_bytes().count(b'\n')

    def cuts(self):
        return self.path.read_bytes().count(b'cut\n')

    def counted(self, rcpt=None):
        """How often each number was taken, for that recipient or for any; the body
        of each is what the Accountant sends."""
        out = Counter()
        for line in self.path.read_text().splitlines():
            if line == 'cut':
                continue
            number, crc, rcpts = line.split(' ', 2)
            assert int(crc) == zlib.crc32(BODY), line
            if rcpt is None or rcpt in rcpts.split(','):
                out[int(number)] += 1
        return out


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
    say = {k: v.encode() + b'\r\n' for k, _, v in (a.partition('=') for a in sys.argv[3:])}
    asyncio.run(serve(int(sys.argv[1]), out, say))


if __name__ == '__main__':
    main()
