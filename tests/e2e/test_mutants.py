"""Each planted fault of tests/mutants still fits the sources: check-mutants,
which is long, must not be the first to notice."""
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
