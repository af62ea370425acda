#!/bin/sh
# Linux boots in the box, its driver drives the SystemC accelerator with each kind of interrupt, and it powers off. Builds
# kernel and images when there are none yet. linux_driver of the build folder, $builddir or the current one, boots them.
. "$srcdir/tests/install/cases.sh"
builddir=${builddir:-.}

# boot KIND WORDS INTERRUPTS: KIND as accel_test names it, INTERRUPTS a pattern for the driver's line of /proc/interrupts.
boot() {
	[ -w /dev/kvm ] || skip "no /dev/kvm to write to"
	images=$(sh "$srcdir/examples/linux/images.sh") || fail "no images"
	"$builddir/examples/linux_driver/linux_driver" check $2 guest="$images/vmlinux" initrd="$images/test.cpio" >"$tmp/raw" 2>&1 ||
		{ cat "$tmp/raw"; fail "linux_driver check $2: status $?"; }
	tr -d '\r' <"$tmp/raw" >"$tmp/out"
	sed -n 's/^PASS //p' "$tmp/out" | diff "$srcdir/tests/linux/boot_test.expected" - || fail "not the checks there should be"
	expect "$tmp/out" "^info.interrupts $1\$"
	expect "$tmp/out" "^interrupts: .*$3"
	# What no real PC would say.
	! grep -E '^\[.*(unstable|BUG|WARNING|Call Trace|lost|nobody cared|calibration not consistent|segfault)' "$tmp/out" ||
		fail "complaints"
}

msix() { boot MSI-X "" 'PCI-MSI.*accel0-done$'; }
testcase msix msix
msi() { boot MSI msi 'PCI-MSI.*accel0$'; }
testcase msi msi
intx() { boot INTx intx 'IO-APIC.*accel0$'; }
testcase intx intx
finish
