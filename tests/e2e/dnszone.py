"""Real DNS on loopback: an authoritative nsd with zones given as text, and an
unbound that resolves by it.  Both come out of their packages ($VEREDUS_LOAD,
which ./quickstart test fills); they are not installed, and run below a directory
of their own as whoever runs the test.

    with Nsd('@ MX 10 mx\\nmx A 127.0.0.1\\n') as dns:      # the zone "test"
        make(dns_servers=dns.address)
        dns.zone('test', '@ MX 10 other\\nother A 127.0.0.1\\n')
"""
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

from harness import free_port, wait_until
from load import LOAD

TYPES = {'A': 1, 'SOA': 6, 'MX': 15, 'AAAA': 28, 'CNAME': 5}


def ask(port, name, rtype='SOA', timeout=1.0):
    """One question by UDP: (rcode, number of answers, the packet), or None."""
    ident = random.randrange(65536)
    labels = b''.join(bytes([len(x)]) + x for x in name.encode().strip(b'.').split(b'.') if x)
    q = struct.pack('>6H', ident, 0x0100, 1, 0, 0, 0) + labels + b'\0' + struct.pack('>2H', TYPES[rtype], 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect(('127.0.0.1', port))
        try:
            s.send(q)
            p = s.recv(65535)
        except OSError:
            return None
    got, flags, _, an, _, _ = struct.unpack('>6H', p[:12])
    return (flags & 15, an, p) if got == ident else None


class Server:
    """A DNS server in the foreground, in a directory of its own."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix='vdns', dir=os.environ.get('VEREDUS_TMP')))
        self.port = free_port()
        self.address = f'127.0.0.1:{self.port}'
        self.proc = None

    def run(self, *cmd):
        libs = [str(p) for p in LOAD.glob('usr/lib/*-linux-gnu')]
        self.out = open(self.dir / 'out', 'ab')
        self.proc = subprocess.Popen([str(LOAD / 'usr/sbin' / cmd[0]), *map(str, cmd[1:])],
                                     cwd=self.dir, start_new_session=True, stdin=subprocess.DEVNULL,
                                     stdout=self.out, stderr=self.out,
                                     env=dict(os.environ, LD_LIBRARY_PATH=':'.join(libs)))

    def wait_answer(self, name, rcode=0):
        def answers():
            assert self.proc.poll() is None, (self.dir / 'out').read_text(errors='replace')
            got = ask(self.port, name)
            return got is not None and got[0] == rcode
        wait_until(answers, f'the server at {self.address} answers for {name}')

    def pause(self):
        """It says nothing from now on, though its port is there."""
        os.killpg(self.proc.pid, signal.SIGSTOP)

    def go_on(self):
        os.killpg(self.proc.pid, signal.SIGCONT)

    def stop(self):
        if self.proc is not None:
            self.go_on()
            self.proc.terminate()
            self.proc.wait(20)
            self.out.close()
            self.proc = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Nsd(Server):
    """Authoritative for its zones, REFUSED for everything else."""

    def __init__(self, text='', name='test', zones=None):
        super().__init__()
        self.serial = 0
        self.zones = dict(zones) if zones is not None else {name: text}
        self.start()

    def start(self):
        for name, text in self.zones.items():
            self.write(name, text)
        conf = [f'server:\n ip-address: 127.0.0.1@{self.port}\n username: ""\n chroot: ""\n'
                f' zonesdir: "{self.dir}"\n database: ""\n pidfile: "{self.dir}/pid"\n'
                f' xfrdfile: "{self.dir}/xfrd"\n xfrdir: "{self.dir}"\n zonelistfile: "{self.dir}/list"\n'
                f' server-count: 1\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n'
                f'remote-control:\n control-enable: no\n']
        conf += [f'zone:\n name: "{n}"\n zonefile: "{n}.zone"\n' for n in self.zones]
        (self.dir / 'nsd.conf').write_text(''.join(conf))
        self.run('nsd', '-d', '-c', self.dir / 'nsd.conf')
        for name in self.zones:
            self.wait_answer(name)

    def write(self, name, text):
        """`text' without SOA and NS gets them, with a TTL of 5 s."""
        self.zones[name] = text
        self.serial += 1
        head = f'$ORIGIN {name}.\n$TTL 5\n'
        if ' SOA ' not in text:
            head += f'@ SOA ns hostmaster {self.serial} 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n'
        tmp = self.dir / f'{name}.new'
        tmp.write_text(head + text)
        tmp.rename(self.dir / f'{name}.zone')

    def zone(self, name, text):
        """Another text for a zone that is served; returns when it is in force."""
        self.write(name, text)
        os.kill(self.proc.pid, signal.SIGHUP)
        serial = struct.pack('>I', self.serial)

        def fresh():
            got = ask(self.port, name)
            return got is not None and got[0] == 0 and serial + struct.pack('>I', 3600) in got[2]
        wait_until(fresh, f'the new zone {name} is served')


class Unbound(Server):
    """A resolver that knows the zones of an Nsd, and nothing beyond."""

    def __init__(self, nsd):
        super().__init__()
        self.nsd = nsd
        stubs = ''.join(f'stub-zone:\n name: "{z}"\n stub-addr: 127.0.0.1@{nsd.port}\n' for z in nsd.zones)
        local = ''.join(f' local-zone: "{z}." nodefault\n' for z in nsd.zones)
        (self.dir / 'unbound.conf').write_text(
            f'server:\n interface: 127.0.0.1\n port: {self.port}\n username: ""\n chroot: ""\n'
            f' directory: "{self.dir}"\n pidfile: ""\n use-syslog: no\n do-daemonize: no\n num-threads: 1\n'
            f' do-not-query-localhost: no\n module-config: "iterator"\n do-ip6: no\n'
            f' root-hints: ""\n{local}remote-control:\n control-enable: no\n{stubs}')
        self.run('unbound', '-d', '-c', self.dir / 'unbound.conf')
        for z in nsd.zones:
            self.wait_answer(z)
