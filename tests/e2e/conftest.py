import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

import harness

REPLIES = Path(__file__).resolve().parents[2] / 'smtpd' / 'replies.txt'


def is_controller(config):
    return not hasattr(config, 'workerinput')


def pytest_configure(config):
    """A place where the clients of all workers note the replies they see."""
    if is_controller(config):
        config.veredus_made = 'VEREDUS_SEEN' not in os.environ
        if config.veredus_made:
            os.environ['VEREDUS_SEEN'] = tempfile.mkdtemp(prefix='vseen')
        config.veredus_seen = os.environ['VEREDUS_SEEN']


def never_seen(place):
    """The (state, command, code, enhanced code) of the documented table that no
    client has seen."""
    seen = set()
    for f in Path(place).iterdir():
        for line in f.read_text().splitlines():
            state, command, code, esc = json.loads(line)
            seen.add((state, command, str(code), esc or '-'))
            seen.add(('*', command, str(code), esc or '-'))
    missing = []
    for line in REPLIES.read_text().splitlines():
        name, code, esc, state, command, _ = line.split()
        if (state, command, code, esc) not in seen:
            missing.append(line)
    return missing


def pytest_sessionfinish(session, exitstatus):
    """A whole run fails when a documented reply was never provoked."""
    place = getattr(session.config, 'veredus_seen', None)
    if place is None:
        return
    missing = never_seen(place)
    if session.config.veredus_made:
        shutil.rmtree(place, ignore_errors=True)
        del os.environ['VEREDUS_SEEN']
    opt = session.config.option
    whole = not opt.keyword and not opt.markexpr and not any(
        a.endswith('.py') or '::' in a for a in session.config.args)
    session.config.veredus_missing = missing if whole else []
    if whole and missing and exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    for line in getattr(config, 'veredus_missing', []):
        terminalreporter.write_line(f'documented, and never seen in this run: {line}')


@pytest.fixture
def make():
    """make(**settings) gives an instance, not started; all are ended after."""
    made = []

    def one(**kw):
        made.append(harness.Instance(**kw))
        return made[-1]
    yield one
    for i in made:
        i.remove()


@pytest.fixture
def mta(make):
    """A started instance with users ann, ben and cat."""
    i = make()
    i.start()
    yield i
    if i.proc is not None:
        i.stop()


@pytest.fixture(scope='session')
def shared():
    """One instance for all tests that only speak to it."""
    i = harness.Instance(aliases='postmaster: ann\nteam: ann, ben\nroot: ann\n')
    i.start()
    yield i
    try:
        i.stop()
    finally:
        i.remove()
