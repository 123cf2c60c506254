"""File systems of their own on loop devices: small ones, and such as lose power."""
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import ROOT, wait_until

SHUTDOWN = 0x8004587d           # FS_IOC_SHUTDOWN: _IOR('X', 125, u32)
NOLOGFLUSH = 2                  # all that is not flushed is gone, the log's end, too

MKFS = {'ext4': ['mkfs.ext4', '-q', '-m', '0'], 'quota': ['mkfs.btrfs', '-q'],
        'xfs': ['mkfs.xfs', '-q']}
LEAST = {'ext4': 8 << 20, 'quota': 120 << 20, 'xfs': 300 << 20}


class Disk:
    """An image file with a file system, mounted at `top'."""

    def __init__(self, kind, octets=None, options=''):
        self.dir = Path(tempfile.mkdtemp(prefix='vdk', dir=os.environ.get('VEREDUS_TMP')))
        os.chmod(self.dir, 0o755)
        self.image, self.top = self.dir / 'image', self.dir / 'top'
        # nouuid: a copy may lie beside its dead original, see again()
        self.options = ','.join(filter(None, ['loop', kind == 'xfs' and 'nouuid', options]))
        self.mounted = False
        self.top.mkdir()
        with open(self.image, 'wb') as f:
            f.truncate(max(octets or 0, LEAST[kind]))
        subprocess.run(MKFS[kind] + [str(self.image)], check=True, stdout=subprocess.DEVNULL)
        self.mount()
        os.chmod(self.top, 0o755)
        if kind == 'quota':
            subprocess.run(['btrfs', 'quota', 'enable', str(self.top)], check=True)

    def mount(self):
        subprocess.run(['mount', '-o', self.options, str(self.image), str(self.top)], check=True)
        self.mounted = True

    def fill(self, leave=0):
        """No room but for some octets; a few blocks of metadata may be found yet."""
        with open(self.top / 'fill', 'ab') as f:
            more = True
            while more:             # what was kept back for blocks to come is free after a flush
                more = False
                for piece in (1 << 20, 4096, 512):
                    try:
                        while os.write(f.fileno(), b'x' * piece):
                            more = True
                    except OSError as e:
                        assert e.errno == errno.ENOSPC
                os.fsync(f.fileno())
                os.sync()
            os.ftruncate(f.fileno(), max(os.fstat(f.fileno()).st_size - leave, 0))
        os.sync()

    def make_room(self):
        os.unlink(self.top / 'fill')
        os.sync()

    def limit(self, more):
        """A quota of what is used and `more' octets; None: no quotas any more."""
        def btrfs(*args):
            return subprocess.run(['btrfs', *args, str(self.top)], check=True, capture_output=True, text=True).stdout
        os.sync()
        if more is None:
            btrfs('quota', 'disable')   # another limit would be a change for which there is no room
        else:
            used = int(btrfs('qgroup', 'show', '--raw', '-r').splitlines()[2].split()[1])
            btrfs('qgroup', 'limit', str(used + more))

    def cut(self):
        """No power from now on: nothing more reaches the image."""
        fd = os.open(self.top, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack('I', NOLOGFLUSH))
        finally:
            os.close(fd)

    def umount(self):
        wait_until(lambda: subprocess.run(['umount', str(self.top)], capture_output=True).returncode == 0,
                   'it can be unmounted')
        self.mounted = False

    def attached(self):
        return subprocess.run(['losetup', '-j', str(self.image)], capture_output=True).stdout != b''

    def again(self):
        """The power is back. A mount namespace that somebody made meanwhile keeps
        the old, dead file system; then a copy of the image is mounted."""
        self.umount()
        try:
            wait_until(lambda: not self.attached(), 'the loop device is free', 3)
        except AssertionError:
            fresh = self.image.with_name(self.image.name + '+')
            subprocess.run(['cp', '--sparse=always', str(self.image), str(fresh)], check=True)
            self.image.unlink()
            self.image = fresh
        self.mount()

    def remove(self):
        if self.mounted:
            self.umount()
        shutil.rmtree(self.dir, ignore_errors=True)


def disk_or_skip(kind, octets=None, options=''):
    """A Disk; where there cannot be one the test is skipped, and says so."""
    if not ROOT:
        pytest.skip('only root can mount a disk')
    if shutil.which(MKFS[kind][0]) is None:
        pytest.skip(f'no {MKFS[kind][0]}')
    try:
        return Disk(kind, octets, options)
    except subprocess.CalledProcessError as e:
        pytest.skip(f'no {kind} on a loop device here: {e}')
