"""Each planted fault of tests/mutants still fits the sources: check-mutants,
which is long, must not be the first to notice. And what tests/PROMISES names is
there."""
import re
import sys

import pytest

from harness import SRC

sys.path.insert(0, str(SRC / 'tests' / 'mutants'))
import run  # noqa: E402


@pytest.mark.parametrize('mutant', run.read_list(SRC / 'tests/mutants/mutants.list'), ids=lambda m: m['name'])
def test_it_fits(mutant):
    texts = run.planted(SRC, mutant)
    assert all(text != path.read_text() for path, text in texts.items())
    for t in mutant['tests']:
        assert (SRC / f'{t}.c').exists()


def test_what_holds_the_promises_is_there():
    rows = (SRC / 'tests/PROMISES').read_text().splitlines()
    faults = {m['name'] for m in run.read_list(SRC / 'tests/mutants/mutants.list')}
    tested, broken = set(), set()
    for line in rows:
        if m := re.fullmatch(r'(\S+) ((?:unit|e2e|fuzz)/\S+)::(\w+)', line):
            text = (SRC / 'tests' / m[2]).read_text()
            assert re.search(rf'^(def )?{m[3]}\(', text, re.M), line
            tested.add(m[1])
        elif m := re.fullmatch(r'(P\d) = (.+)', line):
            assert m[2] in faults, line
            broken.add(m[1])
    assert broken == {f'P{i}' for i in range(1, 7)} and broken < tested
    assert broken <= set(re.findall(r'^P\d', (SRC / 'README').read_text(), re.M))
