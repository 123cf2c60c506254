"""A private Veredus instance for a test, and clients that speak to it.

The programs are the installed ones below $VEREDUS_PREFIX (./quickstart and
`make check-e2e' set it).  Each instance has its own directory, ports, spool and
users; started by root its programs run under their own uids and its users have
real, different uids; started by anyone else all of it is that one user.
Nothing here sleeps for a fixed time: wait_until() waits for a condition.
"""
import grp
import json
import os
import pwd
import random
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
from pathlib import Path

SRC = Path(__file__).resolve().parents[2]
PREFIX = Path(os.environ.get('VEREDUS_PREFIX', SRC / 'build' / 'inst'))
ROOT = os.geteuid() == 0
HOST = 'mx.veredus.test'
PATIENCE = float(os.environ.get('VEREDUS_PATIENCE', '30'))
SLOW = PATIENCE / 30      # how much slower than usual it is all believed to be, at most
FIRST_UID = 61000
LOG_LAG = 0.06            # seconds; the log service looks at busy pipes each 20 ms
MAIL_GID = grp.getgrnam('mail').gr_gid
PROGRAMS = ('log', 'users', 'dns', 'cleanup', 'forker', 'local', 'remote', 'qmgr', 'smtpd')


def tool(name):
    for d in ('sbin', 'bin'):
        p = PREFIX / d / name
        if p.exists():
            return str(p)
    raise FileNotFoundError(f'{name}: not installed below {PREFIX}')


def others_can_enter(path):
    return all(os.stat(p).st_mode & 0o001 for p in [path, *path.parents])


def wait_until(condition, what, timeout=30):
    """Returns the condition's first true value; fails loudly after `timeout', on a
    machine as slow as $VEREDUS_PATIENCE says after more."""
    timeout *= SLOW
    end = time.monotonic() + timeout
    pause = 0.005
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f'after {timeout:.0f} s still not: {what}')
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def port_is_free(port):
    with socket.socket() as s:
        try:
            s.bind(('127.0.0.1', port))
            return True
        except OSError:
            return False


def wait_while_growing(count, n, what, timeout=60):
    """Until count() is n: for as long as it takes, but something has to come in
    each `timeout' seconds."""
    got = count()
    while got < n:
        wait_until(lambda least=got: count() > least, f'more than {got} of {n} {what}', timeout)
        got = count()


def free_port():
    while True:
        port = random.randrange(20000, 32000)
        if port_is_free(port):
            return port


def alive(pid):
    try:
        return open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def children(pid):
    try:
        return [int(x) for t in os.listdir(f'/proc/{pid}/task')
                for x in open(f'/proc/{pid}/task/{t}/children').read().split()]
    except OSError:
        return []


class Instance:
    """One private mail system."""

    def __init__(self, users=('ann', 'ben', 'cat'), aliases='', place=None, **settings):
        """`place': where spool, homes and mail spool are; else in its own directory."""
        self.dir = Path(tempfile.mkdtemp(prefix='vrd', dir=os.environ.get('VEREDUS_TMP')))
        os.chmod(self.dir, 0o755)
        self.place = Path(place) if place else self.dir
        self.port = free_port()
        self.conf = self.dir / 'veredus.conf'
        self.spool = self.place / 'spool'
        self.run = self.dir / 'run'
        self.log_path = self.dir / 'log'
        self.mail_spool = self.make_mail_spool()
        self.proc = None
        self.home = {}
        self.aliases_path = self.dir / 'aliases'
        self.passwd = self.dir / 'passwd'
        self.passwd.write_text('')
        for u in users:
            self.add_user(u)
        self.settings = {
            'myhostname': HOST, 'mydomain': 'veredus.test',
            'mydestination': f'{HOST}, localhost, local.test',
            'listen': f'127.0.0.1:{self.port}',
            'queue_directory': self.spool, 'runtime_directory': self.run,
            'daemon_directory': PREFIX / 'libexec' / 'veredus',
            'local_users': f'file:{self.passwd}',
            'home_mailbox': 'Maildir/', 'mail_spool_directory': self.mail_spool,
            'recipient_delimiter': '+',
            'alias_files': self.aliases_path, 'alias_maps': f'cdb:{self.aliases_path}',
            'log': f'file:{self.log_path}', 'queue_minfree': 0,
            'journal_segment_size': '512K',        # made of zeros at each start
            'dns_servers': '127.0.0.1:1',          # nobody: no test asks the world's DNS
        }
        self.settings.update(settings)
        self.write_conf()
        self.set_aliases(aliases)

    # -- files ---------------------------------------------------------------

    def make_mail_spool(self):
        """A directory like /var/mail, which no test may write to."""
        d = self.place / 'mail'
        d.mkdir()
        if ROOT:
            os.chown(d, 0, MAIL_GID)
            os.chmod(d, 0o2775)
        return d

    def add_user(self, name):
        home = self.place / 'home' / name
        home.mkdir(parents=True)
        n = len(self.home)
        uid = FIRST_UID + n if ROOT else os.getuid()
        gid = FIRST_UID + n if ROOT else os.getgid()
        if ROOT:
            os.chown(home, uid, gid)
        os.chmod(home, 0o700)
        self.home[name] = home
        with open(self.passwd, 'a') as f:
            f.write(f'{name}:x:{uid}:{gid}:{name}:{home}:/bin/sh\n')

    def write_conf(self, **settings):
        self.settings.update(settings)
        text = ''.join(f'{k} = {v}\n' for k, v in self.settings.items() if v is not None)
        self.conf.write_text(text)

    def set_aliases(self, text):
        """Write the alias file and compile it."""
        self.aliases_path.write_text(text)
        r = self.tool('newaliases')
        assert r.returncode == 0, r.stderr
        return r

    # -- life ----------------------------------------------------------------

    def start(self, **popen):
        self.out = open(self.dir / 'out', 'ab')
        self.proc = subprocess.Popen([tool('veredus'), '-c', str(self.conf), 'start', '-f'],
                                     stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out,
                                     start_new_session=True, **popen)
        wait_until(self.is_up, 'the instance answers with 220: ' + self.tail())
        return self

    def is_up(self):
        if self.proc.poll() is not None:
            raise AssertionError(f'veredus start ended with {self.proc.returncode}:\n{self.tail()}')
        try:
            with socket.create_connection(('127.0.0.1', self.port), 5) as s:
                s.settimeout(5)
                return s.recv(100).startswith(b'220')
        except OSError:
            return False

    def pids(self):
        """Every process of the instance: the started one and all below it."""
        todo, out = [self.proc.pid], []
        while todo:
            p = todo.pop()
            out.append(p)
            todo += children(p)
        return out

    def pid(self, program, index=0):
        """The pid of a program, by its name in the process table."""
        found = sorted(p for p in self.pids() if self.comm(p) == program)
        return found[index] if index < len(found) else None

    @staticmethod
    def comm(pid):
        try:
            return open(f'/proc/{pid}/comm').read().strip()
        except OSError:
            return ''

    def kill(self, program, sig=signal.SIGKILL):
        """Kill a program and wait until master has started it again."""
        pid = self.pid(program)
        assert pid, f'{program} does not run'
        os.kill(pid, sig)
        wait_until(lambda: self.pid(program) not in (None, pid), f'{program} is running again')
        return pid

    def stop(self, expect=0):
        """SIGTERM, as a service manager would; then nothing may be left."""
        if self.proc is None:
            return
        pids = self.pids()
        if self.proc.poll() is None:
            self.proc.terminate()
        try:
            rc = self.proc.wait(40 * SLOW)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise AssertionError(f'did not stop in {40 * SLOW:.0f} s:\n' + self.tail())
        finally:
            self.out.close()
        self.proc = None
        wait_until(lambda: not any(map(alive, pids)), f'all processes ended: {pids}')
        assert rc == expect, f'exit code {rc}:\n{self.tail()}'

    def kill_all(self):
        """kill -9 every process of the instance at once."""
        pids = self.pids()
        for p in pids:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.proc.wait()
        self.proc = None
        self.out.close()
        wait_until(lambda: not any(map(alive, pids)), 'all killed')

    def remove(self):
        if self.proc is not None:
            self.kill_all()
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- looking -------------------------------------------------------------

    def log_octets(self):
        """All that was logged until now: lines may be on their way to the file for
        as long as the log service lets a busy pipe rest."""
        time.sleep(LOG_LAG)
        try:
            return self.log_path.read_bytes()
        except OSError:
            return b''

    def log(self):
        return self.log_octets().decode(errors='replace')

    def tail(self, n=60):
        out = ''
        try:
            out = (self.dir / 'out').read_text(errors='replace')
        except OSError:
            pass
        return '\n'.join((self.log() + out).splitlines()[-n:])

    def wait_log(self, pattern, timeout=30):
        return wait_until(lambda: re.search(pattern, self.log()), f'log has {pattern}', timeout)

    def maildir(self, user, sub='new'):
        d = self.home[user] / 'Maildir' / sub
        try:
            return sorted(d.iterdir())
        except FileNotFoundError:
            return []

    def mail(self, user, count=1, timeout=30):
        """Wait for exactly `count' messages of a user; returns their octets."""
        wait_until(lambda: len(self.maildir(user)) >= count, f'{count} messages for {user}\n{self.tail()}', timeout)
        files = self.maildir(user)
        assert len(files) == count, f'{len(files)} messages for {user}, not {count}'
        return [f.read_bytes() for f in files]

    def queue(self):
        """Rows of `mailq -j'."""
        r = self.tool('mailq', '-j')
        assert r.returncode == 0, r.stderr
        return [json.loads(line) for line in r.stdout.splitlines()]

    def wait_empty(self, timeout=30):
        """qmgr lists nothing, and nothing lies in the spool: what was answered
        250 a moment ago is there before qmgr has heard of it."""
        def files():
            return [p for p in self.queue_files() if p.suffix != '.corrupt']
        try:
            wait_until(lambda: self.queue() == [] and self.in_spool() == 0 and not files(), 'the queue is empty', timeout)
        except AssertionError as e:
            rows = self.queue()
            raise AssertionError(f'{e}: {len(rows)} rows, {self.in_spool()} in the spool, files {files()[:5]}\n'
                                 f'{rows[:3]}\n{self.veredus("queue", "-d", "-j").stdout}{self.tail()}') from e

    def in_spool(self):
        """Messages that cleanup has, known to qmgr or not."""
        r = self.tool('veredus', 'spool', '-j', 'status')
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)['messages']

    def queue_files(self):
        return [p for p in (self.spool / 'queue').glob('?/*')]

    # -- speaking ------------------------------------------------------------

    def env(self):
        return dict(os.environ, VEREDUS_CONF=str(self.conf))

    def tool_path(self, name, user=None):
        """The installed tool; for another user a copy, when what is installed
        lies below a home directory that others cannot enter."""
        path = Path(tool(name))
        if user is None or not ROOT or others_can_enter(path.parent):
            return str(path)
        copy = self.dir / 'tools' / name
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True, mode=0o755)
            shutil.copy2(path, copy)
        return str(copy)

    def tool(self, name, *args, input=None, timeout=60, user=None):
        cmd = [self.tool_path(name, user), *map(str, args)]
        kw = {}
        if user is not None and ROOT:
            try:
                pw = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
                kw = dict(user=pw.pw_uid, group=pw.pw_gid, extra_groups=[])
            except KeyError:               # a uid without an account
                kw = dict(user=user, group=user, extra_groups=[])
        return subprocess.run(cmd, input=input, env=self.env(), timeout=timeout * SLOW, capture_output=True,
                              text=not isinstance(input, bytes), **kw)

    def veredus(self, *args, **kw):
        return self.tool('veredus', *args, **kw)

    def smtp(self):
        return smtplib.SMTP('127.0.0.1', self.port, local_hostname='client.test', timeout=PATIENCE)

    def send(self, rcpts, body='Subject: test\r\n\r\nhello\r\n', sender='sender@client.test'):
        """One message by smtplib; returns the queue id."""
        rcpts = [rcpts] if isinstance(rcpts, str) else rcpts
        with self.smtp() as s:
            s.ehlo()
            assert s.mail(sender)[0] == 250
            for r in rcpts:
                code, text = s.rcpt(r)
                assert code in (250, 251), text
            code, text = s.data(body)
            assert code == 250, text
        return text.decode().split()[-1]

    def client(self):
        return Client(self.port)


class Reply:
    def __init__(self, lines):
        self.lines = lines
        self.code = int(lines[0][:3])
        m = re.match(r'(\d\.\d{1,3}\.\d{1,3})(?: |$)', lines[-1][4:])
        self.esc = m.group(1) if m else ''

    def __repr__(self):
        return ' / '.join(self.lines)


class Client:
    """A raw SMTP client.  Records (state, command, code, enhanced code) of every
    reply below $VEREDUS_SEEN in the words of smtpd/replies.txt, so that the run
    can tell which replies of the documented table were never seen (conftest.py)."""

    VERBS = set('HELO EHLO MAIL RCPT DATA RSET NOOP QUIT VRFY EXPN HELP SEND SOML SAML TURN '
                'STARTTLS AUTH BDAT ETRN'.split())
    LABELS = {'CONNECT': '(connect)', 'DOT': '(content)', 'GET': '(http)', 'POST': '(http)'}

    def __init__(self, port=None, sock=None, greet=True):
        self.sock = sock or socket.create_connection(('127.0.0.1', port), PATIENCE)
        self.sock.settimeout(PATIENCE)
        self.buf = b''
        self.state = 'CONNECTED'
        self.greeting = self.reply('CONNECT') if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.sock.close()

    def line(self):
        while b'\n' not in self.buf:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError('the server closed the connection')
            self.buf += got
        line, self.buf = self.buf.split(b'\n', 1)
        assert line.endswith(b'\r'), f'a reply line must end with CRLF: {line!r}'
        return line[:-1].decode('ascii')

    def reply(self, verb):
        lines = []
        while True:
            line = self.line()
            assert re.match(r'[2-5]\d\d[ -]', line) and len(line) <= 510, f'not a reply line: {line!r}'
            lines.append(line)
            if line[3] == ' ':
                break
        assert len({x[:3] for x in lines}) == 1, lines
        r = Reply(lines)
        self.record(verb, r)
        self.step(verb, r)
        return r

    def step(self, verb, r):
        good = r.code < 400
        if verb in ('HELO', 'EHLO') and good:
            self.state = 'READY'
        elif verb == 'MAIL' and good:
            self.state = 'MAIL'
        elif verb == 'RCPT' and good:
            self.state = 'RCPT'
        elif verb == 'RCPT' and self.state == 'MAIL' and r.code != 503:
            # without an argument nothing was offered
            self.state = 'REFUSED' if 'argument' not in r.lines[0] else 'MAIL'
        elif verb == 'DATA' and r.code == 354:
            self.state = 'CONTENT'
        elif verb == 'DATA' and r.code == 451:
            self.state = 'READY'
        elif verb in ('DOT', '(content)') or (verb == 'RSET' and good and self.state != 'CONNECTED'):
            self.state = 'READY'

    def record(self, verb, r):
        seen = os.environ.get('VEREDUS_SEEN')
        if seen:
            label = self.LABELS.get(verb, verb)
            if label not in self.VERBS and not label.startswith('('):
                label = '(unknown)'
            with open(f'{seen}/{os.getpid()}', 'a') as f:
                f.write(json.dumps([self.state, label, r.code, r.esc]) + '\n')

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def cmd(self, line, verb=None):
        """Send a command line, return its reply."""
        self.send(line if isinstance(line, bytes) else line + '\r\n')
        text = line.decode('latin-1') if isinstance(line, bytes) else line
        return self.reply(verb or (text.split() or [''])[0].upper())

    def closed(self):
        """True when the server closes now (without a further reply)."""
        try:
            return self.buf == b'' and self.sock.recv(1) == b''
        except ConnectionError:
            return True

    def hello(self):
        r = self.cmd('EHLO client.test')
        assert r.code == 250, r
        return r

    def open(self, rcpt, sender='sender@client.test'):
        """MAIL and RCPT up to DATA's 354."""
        assert self.cmd(f'MAIL FROM:<{sender}>').code == 250
        assert self.cmd(f'RCPT TO:<{rcpt}>').code == 250
        assert self.cmd('DATA').code == 354

    def dot(self, content=b''):
        """Content as it goes on the wire, then the end of data."""
        self.send(content + b'.\r\n')
        return self.reply('DOT')
