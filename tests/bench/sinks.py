"""What stands for the next hop: Postfix's smtp-sink, which counts, and one that
holds the answer to the end of data, to see many connections at a time."""
import os
import re
import selectors
import socket
import subprocess
import tempfile
import time
from collections import Counter

from targets import harness


class Sink:
    """smtp-sink out of Postfix's root, outside the target's cgroup.  Each
    message is dumped, so that a lost or a doubled one is seen."""

    def __init__(self, root, port):
        self.dir = root / 'tmp' / f'sink{port}'
        self.dir.mkdir(mode=0o777)
        os.chmod(self.dir, 0o777)
        self.out = tempfile.TemporaryFile('w+b')
        self.proc = subprocess.Popen(
            ['chroot', str(root), '/usr/sbin/smtp-sink', '-c', '-u', 'nobody', '-h', 'sink.test',
             '-D', f'/tmp/sink{port}/dump', f'127.0.0.1:{port}', '2000'],
            stdout=self.out, stderr=subprocess.DEVNULL)
        harness.wait_until(self.answers(port), f'smtp-sink on port {port}')

    def __enter__(self):
        return self

    def __exit__(self, *x):
        self.close()

    @staticmethod
    def answers(port):
        def probe():
            try:
                socket.create_connection(('127.0.0.1', port), 5).close()
                return True
            except OSError:
                return False
        return probe

    def count(self):
        """Messages so far, by its own counters."""
        size = os.fstat(self.out.fileno()).st_size
        found = re.findall(rb'mesg=(\d+)', os.pread(self.out.fileno(), 200, max(0, size - 200)))
        return int(found[-1]) if found else 0

    def dump(self):
        try:
            return (self.dir / 'dump').read_bytes()
        except FileNotFoundError:
            return b''

    def recipients(self):
        return len(re.findall(rb'^X-Rcpt-Args: ', self.dump(), re.M))

    def wrong(self, messages, recipients):
        """What is wrong with what came, in words, or ''."""
        text = self.dump()
        ids = Counter(re.findall(rb'^Message-Id: (\S+)', text, re.M | re.I))
        rcpts = Counter(re.findall(rb'^X-Rcpt-Args: (\S+)', text, re.M))
        said = []
        if recipients > messages:
            if len(rcpts) != recipients or rcpts.total() != recipients:
                said.append(f'{rcpts.total()} recipients, {len(rcpts)} of them different, not {recipients}')
        elif len(ids) != messages or ids.total() != messages:
            said.append(f'{ids.total()} messages, {len(ids)} of them different, not {messages}')
        return ', '.join(said)

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.out.close()
        for f in self.dir.iterdir():
            f.unlink()
        self.dir.rmdir()


class Holder:
    """Takes everything up to the end of data and answers that only when told."""

    def __init__(self, port):
        self.listener = socket.create_server(('', port), backlog=4096)
        self.listener.setblocking(False)
        self.sel = selectors.DefaultSelector()
        self.sel.register(self.listener, selectors.EVENT_READ)
        self.at, self.holding = {}, set()

    def __enter__(self):
        return self

    def __exit__(self, *x):
        self.close()

    def turn(self, timeout=0.05):
        for key, _ in self.sel.select(timeout):
            if key.fileobj is self.listener:
                try:
                    s = self.listener.accept()[0]
                except OSError:
                    continue
                self.sel.register(s, selectors.EVENT_READ)
                self.at[s] = [b'', False]
                s.sendall(b'220 holder.test\r\n')
            else:
                self.read(key.fileobj)

    def read(self, s):
        data = s.recv(65536)
        if not data:
            self.sel.unregister(s)
            self.at.pop(s)
            self.holding.discard(s)
            s.close()
            return
        state = self.at[s]
        state[0] += data
        if state[1]:
            if state[0].endswith(b'\r\n.\r\n'):
                self.holding.add(s)
                state[:] = [b'', False]
            return
        while b'\r\n' in state[0]:
            line, _, state[0] = state[0].partition(b'\r\n')
            if line[:4].upper() == b'DATA':
                state[1] = True
                s.sendall(b'354 go on\r\n')
                return
            s.sendall(b'221 bye\r\n' if line[:4].upper() == b'QUIT' else b'250 ok\r\n')

    def hold(self, n, seconds):
        """Until n connections are held; returns how many."""
        end = time.monotonic() + seconds
        while len(self.holding) < n and time.monotonic() < end:
            self.turn()
        return len(self.holding)

    def close(self):
        for s in list(self.at):
            s.close()
        self.listener.close()
        self.sel.close()
