#!/bin/bash
# prepare.sh DIR [PEER...] - a root directory below DIR for each peer: Debian's
# postfix (if none is named), exim or opensmtpd, to be measured beside Veredus or to
# exchange mail with it. Needs root, debootstrap and a Debian mirror; nothing is
# started, and the host's own mail system is not touched. Safe to run again.
set -eu
DIR=${1:?where}
shift
MIRROR=${MIRROR:-http://deb.debian.org/debian}
command -v debootstrap >/dev/null || {
	echo "peers: debootstrap is needed: apt-get install debootstrap" >&2
	exit 1
}
mkdir -p "$DIR"
exec 9> "$DIR/lock"
flock 9 # tests that run beside each other make them once

# What all of them begin with.
base() {
	[ ! -e "$DIR/base.done" ] || return 0
	rm -rf "$DIR/base"
	debootstrap --variant=minbase bookworm "$DIR/base" "$MIRROR" >/dev/null
	printf '#!/bin/sh\nexit 101\n' > "$DIR/base/usr/sbin/policy-rc.d"
	chmod 755 "$DIR/base/usr/sbin/policy-rc.d"
	touch "$DIR/base.done"
}

# peer NAME PACKAGE - one user, "bench", whose Maildir can be counted.
peer() {
	local root=$DIR/$1
	[ ! -e "$root.done" ] || return 0
	base
	rm -rf "$root"
	cp -a "$DIR/base" "$root"
	echo bench.test > "$root/etc/mailname"
	chroot "$root" env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -q -y --no-install-recommends "$2" >/dev/null
	: > "$root/etc/resolv.conf"
	echo '127.0.0.1 localhost bench.test' > "$root/etc/hosts"
	echo 'bench:x:2000:2000::/home/bench:/bin/sh' >> "$root/etc/passwd"
	echo 'bench:x:2000:' >> "$root/etc/group"
	echo 'bench:*:19000:0:99999:7:::' >> "$root/etc/shadow"
	mkdir -p "$root/home/bench"
	chown 2000:2000 "$root/home/bench"
	touch "$root/etc/aliases"
	[ "$1" != postfix ] ||
	    cp "$root/etc/postfix/master.cf" "$root/etc/postfix/master.cf.dist"
	chroot "$root" dpkg-query -W -f '${Version}\n' "$2" > "$root.version"
	touch "$root.done"
}

for p in "${@:-postfix}"; do
	case $p in
	postfix) peer postfix postfix ;;
	exim) peer exim exim4-daemon-light ;;
	opensmtpd) peer opensmtpd opensmtpd ;;
	*) echo "peers: no such peer: $p" >&2; exit 64 ;;
	esac
done
