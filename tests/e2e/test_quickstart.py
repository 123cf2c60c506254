"""./quickstart run, as the README tells a newcomer to call it: from nothing."""
import os
import re
import signal
import socket
import subprocess

import pytest

from harness import PREFIX, SRC, alive, children, free_port, port_is_free, wait_until


def as_below_a_terminal():
    """A shell cannot trap what was ignored when it started, as nohup does."""
    for sig in (signal.SIGINT, signal.SIGHUP):
        signal.signal(sig, signal.SIG_DFL)


class Quickstart:
    """A run in a directory of its own, with the installed programs, in a
    process group of its own as below a terminal."""

    def __init__(self, where, port):
        self.dir, self.port, self.out = where, port, where / 'out'
        where.chmod(0o755)
        self.start()

    def start(self, **env):
        env = dict(os.environ, VEREDUS_PREFIX=str(PREFIX), VEREDUS_RUN=str(self.dir / 'run'),
                   VEREDUS_PORT=str(self.port), **env)
        env.pop('VEREDUS_CONF', None)
        self.proc = subprocess.Popen([SRC / 'quickstart', 'run'], stdin=subprocess.DEVNULL,
                                     stdout=open(self.out, 'wb'), stderr=subprocess.STDOUT,
                                     env=env, start_new_session=True, preexec_fn=as_below_a_terminal)

    def text(self):
        return self.out.read_text(errors='replace')

    def up(self):
        """Returns every process of it, once it says that it runs."""
        wait_until(lambda: 'Ctrl-C stops it' in self.text() or self.proc.poll() is not None,
                   'it runs')
        assert self.proc.poll() is None, self.text()
        todo, pids = [self.proc.pid], []
        while todo:
            pids.append(todo.pop())
            todo += children(pids[-1])
        assert len(pids) >= 8
        return pids

    def stop(self, pids, sig=signal.SIGINT):
        """A signal as the terminal sends it; then nothing is left."""
        os.killpg(self.proc.pid, sig)
        code = self.proc.wait(40)
        wait_until(lambda: not any(map(alive, pids)), f'all ended: {pids}')
        return code


def three_ports():
    """The first of three that are free, one after the other."""
    while True:
        port = free_port()
        if port_is_free(port + 1) and port_is_free(port + 2):
            return port


@pytest.fixture
def quick(tmp_path_factory):
    where = tmp_path_factory.mktemp('quick')
    for d in (where.parent, where.parent.parent):
        d.chmod(0o755)                  # the user `you' must get to its home
    q = Quickstart(where, three_ports())
    yield q
    if q.proc.poll() is None:
        q.proc.terminate()
        q.proc.wait(40)


def test_from_nothing_to_local_mail_relay_and_bounce_and_again(quick):
    for run in (1, 2):
        pids = quick.up()
        text = quick.text()
        assert 'S: 250 2.0.0 Ok: queued as' in text, text
        shown = re.findall(r'^ +&?(Subject: .*)$', text, re.M)
        assert sorted(shown) == ['Subject: Your mail could not be delivered', 'Subject: by SMTP',
                                 'Subject: by sendmail', 'Subject: relayed', 'Subject: to nobody'], text
        assert re.search(r'MX +far.test +found: 10 mail.far.test', text), text
        assert re.search(r'Diagnostic-Code: smtp; 550 5.1.1', text), text
        for user, n in (('run/home/you', 3), ('run/far/home/friend', 1)):
            assert len(list((quick.dir / user / 'Maildir/new').iterdir())) == n * run
        assert 'mailq says' in text
        sig = signal.SIGINT if run == 1 else signal.SIGHUP      # the terminal goes
        assert quick.stop(pids, sig) == 130
        assert 'nothing is left running' in quick.text()
        if run == 1:
            quick.start()


def test_a_taken_port_and_a_second_run_are_refused(quick):
    pids = quick.up()
    conf = quick.dir / 'run/veredus.conf'
    before = conf.read_bytes()
    env = dict(os.environ, VEREDUS_PREFIX=str(PREFIX), VEREDUS_RUN=str(quick.dir / 'run'))
    for port, why in ((quick.port, 'already; set VEREDUS_PORT'), (three_ports(), 'runs below')):
        r = subprocess.run([SRC / 'quickstart', 'run'], env=dict(env, VEREDUS_PORT=str(port)),
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert r.returncode == 1 and why in r.stderr, r.stdout + r.stderr
        assert conf.read_bytes() == before, 'the running one keeps its settings'
    with socket.create_connection(('127.0.0.1', quick.port), 10) as s:
        assert s.recv(100).startswith(b'220'), 'the first runs on'
    quick.stop(pids)


@pytest.mark.parametrize('which', (0, 1))
def test_it_says_so_when_a_system_ends_by_itself(quick, which):
    pids = quick.up()
    masters = [p for p in children(quick.proc.pid)
               if open(f'/proc/{p}/comm').read().strip() == 'master']
    assert len(masters) == 2
    os.kill(masters[which], signal.SIGKILL)
    assert quick.proc.wait(40) == 1
    assert 'it ended by itself' in quick.text()
    wait_until(lambda: not any(map(alive, pids)), f'all ended: {pids}')
