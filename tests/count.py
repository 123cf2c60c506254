#!/usr/bin/env python3
"""count.py BUILD OUT - add up what all suites did, and check the skips.

Reads the .trs and .log files of `make check' (cmocka's own counts where there
are any), and pytest's junit files in OUT.  A skip that does not stand in
tests/skips with a reason fails the run.  The last line is the count.
"""
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).resolve().parent


def allowed_skips():
    out = []
    for line in (HERE / 'skips').read_text().splitlines():
        line = line.split('#')[0].strip()
        if line:
            out.append(re.compile(line.split(None, 1)[0]))
    return out


def unit(build):
    passed = failed = 0
    for trs in sorted(Path(build).glob('tests/*/*.trs')):
        log = trs.with_suffix('.log').read_text(errors='replace')
        ok = ':test-result: PASS' in trs.read_text()
        good = sum(map(int, re.findall(r'\[  PASSED  \] (\d+) test', log)))
        bad = sum(map(int, re.findall(r'\[  FAILED  \] (\d+) test', log)))
        if not ok and bad == 0:
            bad = 1                     # it crashed, or is no cmocka test
        if ok and good == 0:
            good = 1
        passed, failed = passed + good, failed + bad
        if bad:
            print(f'failed: {trs.stem}: see {trs.with_suffix(".log")}')
    return passed, failed


def e2e(out):
    passed = failed = skipped = 0
    allowed = allowed_skips()
    for xml in sorted(Path(out).glob('*.xml')):
        for case in ET.parse(xml).getroot().iter('testcase'):
            name = f"{case.get('classname')}::{case.get('name')}"
            if case.find('failure') is not None or case.find('error') is not None:
                failed += 1
                print(f'failed: {name}')
            elif case.find('skipped') is not None:
                skipped += 1
                if not any(a.search(name) for a in allowed):
                    failed += 1
                    print(f'skipped without a reason in tests/skips: {name}')
            else:
                passed += 1
    return passed, failed, skipped


def main():
    build, out = sys.argv[1:3]
    p1, f1 = unit(build)
    p2, f2, s2 = e2e(out)
    if p1 == 0 or p2 == 0:
        print('a whole suite ran no test')
        f1 += 1
    print(f'{p1 + p2} passed, {f1 + f2} failed, {s2} skipped')
    return 1 if f1 + f2 else 0


if __name__ == '__main__':
    sys.exit(main())
