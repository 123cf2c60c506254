"""The manuals against the programs."""
import json
import re

from harness import SRC


def test_every_setting_stands_in_the_manual(make):
    """With the default that it has; defaults that the build chooses are named otherwise."""
    text = (SRC / 'man' / 'veredus.conf.5').read_text()
    manual = dict(re.findall(r'^\.It Va (\S+) Bq (.+)$', text, re.M))
    rows = {r['name']: r['default'] for r in
            map(json.loads, make().veredus('config', '-j').stdout.splitlines())}
    assert manual.keys() == rows.keys(), manual.keys() ^ rows.keys()
    assert len(re.findall(r'^\.It Va ', text, re.M)) == len(rows)
    for name, default in rows.items():
        if default == '':
            assert manual[name] in ('none', "the system's name", 'myhostname without its first label',
                                    'the addresses of listen', 'those of dns_resolv_conf'), name
        elif not re.match(r'(cdb:)?/(?!var/mail|etc/(resolv|hosts))', default):
            assert manual[name] == default, name
