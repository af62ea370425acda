#!/bin/sh
# Builds what the small kernel boots into, for the kernel of kernel.sh (same arguments), and prints the folder it is in:
#
#	vmlinux, bzImage	links to the kernel's
#	test.cpio		init=autotest.c: loads and tests the driver of ../linux_driver, powers off. As small as can be.
#				kvmbox.test=clock on the kernel's command line: the clocks as well
#	shell.cpio		init=init.sh: a busybox shell, the driver, its test
#	full.cpio		the same with Debian's lspci and its libraries; unpacking them takes a while
#
# The archives are not compressed: the kernel would inflate them in ring 0. gen_init_cpio makes them without root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
driver=$here/../linux_driver
accel=$here/../dma_accel
sources="$driver/kvmbox_accel.c $driver/kvmbox_accel.h $driver/Kbuild $driver/accel_test.c $accel/accel_regs.h $here/autotest.c $here/clock_test.c \
	$here/delay_test.c $here/init.sh"

# program SOURCE: a static program without libc.
program() {
	gcc -Os -Wall -Wextra -static -nostdlib -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -s \
		-Iinclude -Isrc -include "$kernel/nolibc/nolibc.h" -o "$1" "src/$1.c"
}

common() {
	cat <<END
dir /dev 0755 0 0
nod /dev/console 0600 0 0 c 5 1
dir /proc 0755 0 0
dir /sys 0755 0 0
END
}

test_list() {
	common
	echo "file /init autotest 0755 0 0"
	echo "file /accel_test accel_test 0755 0 0"
	echo "file /clock_test clock_test 0755 0 0"
	echo "file /kvmbox_accel.ko src/kvmbox_accel.ko 0644 0 0"
	echo "file /delay_test.ko delay/delay_test.ko 0644 0 0"
}

shell_list() {
	common
	for d in /bin /root /tmp /lib /lib/modules "$modules" /usr /usr/share /usr/share/misc /lib64; do
		echo "dir $d 0755 0 0"
	done
	echo "file /init src/init.sh 0755 0 0"
	echo "file /bin/busybox $(command -v busybox) 0755 0 0"
	echo "file /bin/accel_test accel_test 0755 0 0"
	echo "file $modules/kvmbox_accel.ko src/kvmbox_accel.ko 0644 0 0"
	for f in root"$modules"/modules.*; do
		echo "file ${f#root} $f 0644 0 0"
	done
}

lspci_list() {
	lspci=$(command -v lspci)
	echo "file /bin/lspci $lspci 0755 0 0"
	ldd "$lspci" | sed -n 's|^[^/]*\(/[^ ]*\) (0x.*|\1|p' | while read -r lib; do
		case $lib in
		*/ld-linux*) echo "file /lib64/${lib##*/} $(realpath "$lib") 0755 0 0" ;;
		*) echo "file /lib/${lib##*/} $(realpath "$lib") 0755 0 0" ;;
		esac
	done
	echo "file /usr/share/misc/pci.ids /usr/share/misc/pci.ids 0644 0 0"
}

build() {
	unset MAKEFLAGS MFLAGS MAKELEVEL CC CXX CFLAGS LDFLAGS ARCH KBUILD_OUTPUT || :
	mkdir src include delay
	cp $sources src
	: >include/stdint.h # nolibc has these types
	make -C "$kernel/build" M="$PWD/src" W=1 modules
	mv src/delay_test.c delay
	echo "obj-m := delay_test.o" >delay/Kbuild
	make -C "$kernel/build" M="$PWD/delay" W=1 modules
	modules=/lib/modules/$(cat "$kernel/build/include/config/kernel.release")
	mkdir -p "root$modules"
	cp src/kvmbox_accel.ko "root$modules"
	touch "root$modules/modules.order" "root$modules/modules.builtin" "root$modules/modules.builtin.modinfo"
	depmod -b root "${modules##*/}"
	program accel_test
	program clock_test
	program autotest
	test_list >test.list
	shell_list >shell.list
	{ cat shell.list; lspci_list; } >full.list
	for i in test shell full; do
		"$kernel/gen_init_cpio" -t 0 $i.list >out/$i.cpio
	done
	ln -s "$kernel/vmlinux" "$kernel/bzImage" out
	cp src/kvmbox_accel.ko out
}

kernel=$(sh "$here/kernel.sh" "$@")
key=$({ echo "$kernel"; dpkg-query -W busybox-static pciutils; cat "$0" $sources; } | sha256sum | cut -c 1-16)
cached images "$key" build "building the driver and the initramfs images (log: $cache/images.log)"
