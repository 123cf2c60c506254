#!/bin/bash
# prepare.sh DIR - a root directory with Debian's Postfix, to be measured beside
# Veredus. Needs root, debootstrap and a Debian mirror; nothing is started, and
# the host's own mail system is not touched. Safe to run again.
set -eu
DIR=${1:?where}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
ROOT=$DIR/postfix
[ ! -e "$DIR/postfix.done" ] || exit 0
command -v debootstrap >/dev/null || {
	echo "bench: debootstrap is needed: apt-get install debootstrap" >&2
	exit 1
}
mkdir -p "$DIR"
rm -rf "$ROOT"
debootstrap --variant=minbase bookworm "$ROOT" "$MIRROR" >/dev/null
printf '#!/bin/sh\nexit 101\n' > "$ROOT/usr/sbin/policy-rc.d"
chmod 755 "$ROOT/usr/sbin/policy-rc.d"
echo bench.test > "$ROOT/etc/mailname"
chroot "$ROOT" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends postfix >/dev/null
: > "$ROOT/etc/resolv.conf"
echo '127.0.0.1 localhost bench.test' > "$ROOT/etc/hosts"
echo 'bench:x:2000:2000::/home/bench:/bin/sh' >> "$ROOT/etc/passwd"
echo 'bench:x:2000:' >> "$ROOT/etc/group"
echo 'bench:*:19000:0:99999:7:::' >> "$ROOT/etc/shadow"
mkdir -p "$ROOT/home/bench"
chown 2000:2000 "$ROOT/home/bench"
touch "$ROOT/etc/aliases"
cp "$ROOT/etc/postfix/master.cf" "$ROOT/etc/postfix/master.cf.dist"
chroot "$ROOT" dpkg-query -W -f '${Version}\n' postfix > "$DIR/postfix.version"
touch "$DIR/postfix.done"
