import pytest

import harness


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
