"""A scriptable SMTP or LMTP server that records what it gets and misbehaves where
it is told to.  Runs its own asyncio loop in a thread.

    with Sink() as sink:                        # 127.0.0.1, a free port
        sink.script['rcpt'] = b'550 5.1.1 no\\r\\n'
        ...
        sink.wait(1)[0].content                 # un-stuffed, without the dot

`script' maps a stage to what is done there instead of the normal answer: octets
that are sent, one of the actions below, or a function(session, argument) that
returns one of these (None: the normal answer).  Stages: connect, ehlo (also HELO,
LHLO), mail, rcpt, data, content (after the first octets of it), dot, rset, quit.
"""
import asyncio
import os
import re
import threading
import time

PATIENCE = float(os.environ.get('VEREDUS_PATIENCE', '30'))
OK = b'250 2.0.0 ok\r\n'


class Action:
    """What to do instead of a plain answer; run() returns what was answered, or None."""
    async def run(self, session):
        raise NotImplementedError


class Drop(Action):
    """Say the first octets of something, then close (or reset) the connection."""
    def __init__(self, said=b'', reset=False):
        self.said, self.reset = said, reset

    async def run(self, session):
        await session.say(self.said)
        session.drop(self.reset)


class Hang(Action):
    """Never answer; what comes is read."""
    def __init__(self, said=b''):
        self.said = said

    async def run(self, session):
        await session.say(self.said)
        while await session.reader.read(65536):
            pass
        session.drop()


class Endless(Action):
    """The same octets for ever: an endless line, or endless lines."""
    def __init__(self, octets, first=b''):
        self.octets, self.first = octets, first

    async def run(self, session):
        await session.say(self.first)
        while session.open:
            await session.say(self.octets)


class Slow(Action):
    """An answer, octet by octet."""
    def __init__(self, octets, pause=0.02):
        self.octets, self.pause = octets, pause

    async def run(self, session):
        for i in range(len(self.octets)):
            await session.say(self.octets[i:i + 1])
            await asyncio.sleep(self.pause)
        return self.octets


class Then(Action):
    """Answers that come before their questions: all of this at once."""
    def __init__(self, octets):
        self.octets = octets

    async def run(self, session):
        await session.say(self.octets)
        while await session.reader.read(65536):
            pass
        session.drop()


class Message:
    def __init__(self, session, reverse_path):
        self.session, self.reverse_path = session, reverse_path
        self.rcpts, self.content = [], b''
        self.parameters = ''


class Session:
    def __init__(self, sink, reader, writer):
        self.sink, self.reader, self.writer = sink, reader, writer
        self.raw = bytearray()       # all that the client sent
        self.stages = []             # what it said, in order
        self.open = True
        self.message = None

    async def say(self, octets):
        try:
            self.writer.write(octets)
            await self.writer.drain()
        except (ConnectionError, RuntimeError):
            self.open = False

    def drop(self, reset=False):
        self.open = False
        if reset:
            self.writer.transport.abort()
        else:
            self.writer.close()

    async def act(self, stage, argument, normal):
        """True when the normal answer was given, or one that means the same."""
        self.stages.append(stage)
        what = self.sink.script.get(stage)
        if callable(what):
            what = what(self, argument)
        if what is None:
            await self.say(normal)
            return True
        if isinstance(what, Action):
            what = await what.run(self)
        else:
            await self.say(what)
        return re.fullmatch(normal[:1] + rb'\d\d [ -~]{0,500}\r\n', what or b'') is not None

    async def line(self):
        got = await self.reader.readline()
        self.raw += got
        return got

    async def content(self):
        """Up to the dot; None when the connection ended before."""
        got, first = [], True
        while True:
            line = await self.line()
            if first and 'content' in self.sink.script:
                await self.act('content', '', b'')
            first = False
            if not line.endswith(b'\n') or not self.open:
                return None
            if line == b'.\r\n':
                return b''.join(got)
            got.append(line[1:] if line.startswith(b'.') else line)

    async def dot(self):
        content = await self.content()
        if content is None:
            self.drop()
            return
        m, self.message = self.message, None
        m.content = content
        answers = len(m.rcpts) if self.sink.lmtp else 1
        taken = [await self.act('dot', r, OK) for r in m.rcpts[:answers]]
        if any(taken):
            if self.sink.lmtp:
                m.rcpts = [r for r, t in zip(m.rcpts, taken) if t]
            self.sink.take(m)

    async def command(self, line):
        verb, _, rest = line.decode('latin-1').rstrip('\r\n').partition(' ')
        verb = verb.upper()
        if verb in ('EHLO', 'LHLO'):
            await self.act('ehlo', rest, self.sink.ehlo)
        elif verb == 'HELO':
            await self.act('ehlo', rest, b'250 sink.test\r\n')
        elif verb == 'MAIL':
            path, _, parameters = rest[len('FROM:<'):].partition('>')
            if await self.act('mail', path, OK):
                self.message = Message(self, path)
                self.message.parameters = parameters.strip()
        elif verb == 'RCPT':
            path = rest[len('TO:<'):].partition('>')[0]
            if self.message is None:
                await self.say(b'503 5.5.1 MAIL first\r\n')
            elif await self.act('rcpt', path, OK):
                self.message.rcpts.append(path)
        elif verb == 'DATA':
            if self.message is None or not self.message.rcpts:
                await self.say(b'554 5.5.1 no recipients\r\n')
            elif await self.act('data', '', b'354 go on\r\n'):
                await self.dot()
        elif verb == 'RSET':
            self.message = None
            await self.act('rset', '', OK)
        elif verb == 'QUIT':
            await self.act('quit', '', b'221 2.0.0 bye\r\n')
            self.drop()
        else:
            await self.say(b'500 5.5.1 what\r\n')

    async def serve(self):
        if not await self.act('connect', '', b'220 sink.test ESMTP\r\n'):
            if not self.open:
                return
        while self.open:
            line = await self.line()
            if not line.endswith(b'\n'):
                break
            await self.command(line)
        self.drop()


class Sink:
    def __init__(self, address='127.0.0.1', port=0, path=None, lmtp=False,
                 offers=('PIPELINING', 'SIZE 10000000', '8BITMIME', 'ENHANCEDSTATUSCODES')):
        self.address, self.port, self.path, self.lmtp = address, port, path, lmtp
        lines = ['sink.test', *offers]
        self.ehlo = ''.join(f'250{" " if i == len(lines) - 1 else "-"}{x}\r\n'
                            for i, x in enumerate(lines)).encode()
        self.script = {}
        self.messages, self.sessions = [], []
        self.changed = threading.Condition()
        self.loop = self.server = self.thread = None

    # -- life ------------------------------------------------------------------

    def __enter__(self):
        return self.start()

    def __exit__(self, *a):
        self.stop()

    def start(self):
        """Listen; a sink that was stopped comes back at the same place."""
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.call(self.listen())
        return self

    def stop(self):
        if self.loop is None:
            return
        self.call(self.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.loop = None

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    async def listen(self):
        if self.path is not None:
            if os.path.exists(self.path):
                os.unlink(self.path)
            self.server = await asyncio.start_unix_server(self.accept, self.path, limit=1 << 20)
            os.chmod(self.path, 0o666)
            return
        self.server = await asyncio.start_server(self.accept, self.address, self.port,
                                                 limit=1 << 20, backlog=4096, reuse_address=True)
        self.port = self.server.sockets[0].getsockname()[1]

    async def close(self):
        self.server.close()
        for _ in range(5):              # also of those that are accepted just now
            for s in list(self.sessions):
                if s.open:
                    s.drop(reset=True)
            await asyncio.sleep(0)
        for t in asyncio.all_tasks():
            if t is not asyncio.current_task():
                t.cancel()
        await asyncio.sleep(0)

    async def accept(self, reader, writer):
        session = Session(self, reader, writer)
        with self.changed:
            self.sessions.append(session)
            self.changed.notify_all()
        try:
            await session.serve()
        except (ConnectionError, asyncio.CancelledError, asyncio.LimitOverrunError, ValueError):
            session.drop(reset=True)

    def take(self, message):
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    # -- looking -----------------------------------------------------------------

    def wait_for(self, condition, what, timeout=30):
        timeout *= PATIENCE / 30
        end = time.monotonic() + timeout
        with self.changed:
            while not condition():
                left = end - time.monotonic()
                assert left > 0, f'after {timeout:.0f} s still not: {what}'
                self.changed.wait(min(left, 0.5))

    def wait(self, count, timeout=30):
        """Wait for `count' messages; returns all."""
        self.wait_for(lambda: len(self.messages) >= count, f'{count} messages at the sink', timeout)
        return list(self.messages)

    def clear(self):
        """Forget the script and what came."""
        self.script = {}
        self.messages, self.sessions = [], [s for s in self.sessions if s.open]

    @property
    def hop(self):
        return f'unix:{self.path}' if self.path else f'[{self.address}]:{self.port}'
