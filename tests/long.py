#!/usr/bin/env python3
"""long.py BUILD [PART...] - the long test run: `make check-long [PARTS="..."]'.

Says what it does and how long that takes, and runs the parts one after the
other, each also when an earlier one failed.  What a part prints goes to
BUILD/long-results/PART/out; at its end come its failures and a line of counts,
at the end of all those lines once more.  Exits with 0 if nothing failed.
"""
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import count


def unit(below):
    return lambda build, _results: (*count.unit(build / below), 0)


def e2e(_build, results):
    return count.e2e(results)


def lines(good, bad):
    """Counts the lines of the output that fit, and shows the bad ones."""
    def counted(_build, results):
        text = (results / 'out').read_text(errors='replace')
        wrong = re.findall(f'^(?:{bad}).*', text, re.M)
        for line in wrong:
            print(f'failed: {line}')
        return len(re.findall(f'^(?:{good})', text, re.M)), len(wrong), 0
    return counted


class Part:
    """A target of make with variables, how what it did is counted, and the
    minutes it takes on two cores that have nothing else to do."""

    def __init__(self, minutes, what, target, counted, **env):
        self.minutes, self.what, self.target, self.counted, self.env = minutes, what, target, counted, env

    def run(self, build, results):
        """(passed, failed, skipped); that make itself fails counts, too."""
        with open(results / 'out', 'wb') as out:
            code = subprocess.run(['make', '-k', '-j2', self.target, f'E2E=-n 2 --junitxml={results}/e2e.xml'],
                                  cwd=build, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  env=dict(os.environ, **self.env), check=False).returncode
        passed, failed, skipped = self.counted(build, results)
        if failed == 0 and (code != 0 or passed == 0):
            print(f'failed: make {self.target} ended with {code} after {passed} tests:')
            print(*(results / 'out').read_text(errors='replace').splitlines()[-20:], sep='\n')
            failed = 1
        return passed, failed, skipped


PARTS = {
    'unit': Part(15, 'unit tests with more seeds and every crash point', 'check', unit('.'), VEREDUS_LONG='1',
                 VEREDUS_PATIENCE='120'),
    'e2e': Part(45, 'end to end: 10,000 kills, 240 power cuts, a million messages, the peers', 'check-e2e', e2e,
                VEREDUS_LONG='1', VEREDUS_VOLUME='20000'),
    'asan': Part(15, 'unit tests with ASan, UBSan and LSan', 'check-asan', unit('asan')),
    'valgrind': Part(15, 'unit tests under valgrind', 'check-valgrind', lines('valgrind: ok', 'valgrind: FAILED')),
    'fuzz': Part(10, 'each fuzz target for a while (clang)', 'check-fuzz', lines('fuzz: ok', 'fuzz: FAILED')),
    'asan-e2e': Part(20, 'end to end with ASan and UBSan', 'check-asan-e2e', e2e),
    'mutants': Part(30, 'planted faults, each of which must turn a test red', 'check-mutants',
                    lines('caught', 'MISSED|ERROR')),
}


def counts(name, passed, failed, skipped, seconds):
    return f'{name + ":":10} {passed} passed, {failed} failed, {skipped} skipped ({seconds / 60:.0f} min)'


def main():
    build, names = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(PARTS)
    unknown = [n for n in names if n not in PARTS]
    if unknown:
        sys.exit(f'long: no part {" ".join(unknown)}; there are: {" ".join(PARTS)}')
    print(f'{len(names)} parts, about {sum(PARTS[n].minutes for n in names)} minutes on two idle cores:')
    for n in names:
        print(f'  {n:10}{PARTS[n].minutes:3} min  {PARTS[n].what}')
    said, total, begin = [], [0, 0, 0], time.monotonic()
    for n in names:
        results, t0 = build / 'long-results' / n, time.monotonic()
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir(parents=True)
        print(f'\n== {n}, about {PARTS[n].minutes} min: {results}/out', flush=True)
        got = PARTS[n].run(build, results)
        total = [a + b for a, b in zip(total, got)]
        said.append(counts(n, *got, time.monotonic() - t0))
        print(said[-1], flush=True)
    print('', *said, counts('all', *total, time.monotonic() - begin), sep='\n')
    return 1 if total[1] else 0


if __name__ == '__main__':
    sys.exit(main())
