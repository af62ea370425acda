#!/bin/sh
# Builds the small kernel from Debian's source package and prints the folder it is in: vmlinux, bzImage, System.map,
# config, and what other builds need: build/ (for modules: make -C .../build M=...), nolibc/, gen_init_cpio.
#
#	kernel.sh [FRAGMENT...]		more options: devices, smp, or a file
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"

fragments=$here/base.config
for f; do
	[ -f "$here/$f.config" ] && f=$here/$f.config
	[ -f "$f" ] || die "no such configuration fragment: $f"
	case $f in *[[:space:]]*) die "blanks in a fragment's name: $f" ;; esac
	fragments="$fragments $(realpath "$f")"
done

# Kconfig drops silently what it cannot grant.
check_config() {
	cat $fragments | awk '
		/^CONFIG_/ { name = substr($0, 1, index($0, "=") - 1); want[name] = substr($0, index($0, "=") + 1) }
		/^# CONFIG_[A-Z0-9_]* is not set/ { want[$2] = "n" }
		END {
			while ((getline <".config") > 0)
				if (/^CONFIG_/)
					got[substr($0, 1, index($0, "=") - 1)] = substr($0, index($0, "=") + 1)
			for (n in want)
				if ((n in got ? got[n] : "n") != want[n]) {
					print "not granted: " n "=" want[n] ", it is " (n in got ? got[n] : "n")
					bad = 1
				}
			exit bad
		}'
}

build() {
	export KBUILD_BUILD_USER=kvmbox KBUILD_BUILD_HOST=kvmbox KBUILD_BUILD_TIMESTAMP="$version"
	unset MAKEFLAGS MFLAGS MAKELEVEL CC CXX CFLAGS LDFLAGS ARCH KBUILD_OUTPUT || :
	tar xf /usr/src/linux-source-6.1.tar.xz
	cd linux-source-6.1
	make tinyconfig
	scripts/kconfig/merge_config.sh -m .config $fragments
	make olddefconfig
	check_config
	nice make -j"$(nproc)" vmlinux bzImage modules
	cp vmlinux arch/x86/boot/bzImage System.map usr/gen_init_cpio ../out
	cp .config ../out/config
	cp -r tools/include/nolibc ../out
	mkdir ../out/build
	{
		echo .config
		echo Makefile
		echo Module.symvers
		find arch/x86 -maxdepth 1 -name 'Makefile*' -type f
		find include scripts arch/x86/include tools/objtool/objtool \
			-path include/dt-bindings -prune -o \( -type f -o -type l \) ! -name '*.o' ! -name '.*.cmd' -print
	} | tar cf - -T - | tar xf - -C ../out/build
}

need_packages
version=$(dpkg-query -W -f '${Version}' linux-source-6.1)
key=$({ echo "$version"; gcc -dumpfullversion; cat "$0" $fragments; } | sha256sum | cut -c 1-16)
cached kernel "$key" build "building the kernel, once: 5 minutes or so (log: $cache/kernel.log)"
