# For the tests here: boots Linux with the accelerator's driver and its test in the box, once, and looks at what came of it. Needs the kernel
# and images, which take minutes to build: ./run check does so, these tests do not. linux_driver of the build folder, $builddir or the
# current one, boots them.
. "$srcdir/tests/install/cases.sh"
builddir=${builddir:-.}

# boot WORD...: arguments for linux_driver. What it prints goes to $tmp/out.
boot() {
	[ -w /dev/kvm ] || no_boot "no /dev/kvm to write to"
	images=$(KVMBOX_CACHE_ONLY=1 sh "$srcdir/examples/linux/images.sh" 2>"$tmp/why") ||
		no_boot "$(tail -n 1 "$tmp/why"); ./run check builds them, or: sh examples/linux/images.sh (10 minutes)"
	rc=0
	"$builddir/examples/linux_driver/linux_driver" check "$@" guest="$images/vmlinux" initrd="$images/test.cpio" >"$tmp/raw" 2>&1 || rc=$?
	tr -d '\r' <"$tmp/raw" >"$tmp/out"
	[ $rc = 0 ] || { cat "$tmp/out"; fail "linux_driver check $*: status $rc"; }
}

no_boot() {
	echo "$*" >"$tmp/skipped"
	skip "$*"
}

# An address sanitizer makes no difference to what runs in the guest: one boot is enough.
boot_unless_sanitized() {
	case ${KB_SAN-} in *sanitize*) no_boot "built with sanitizers: msix_test boots there";; esac
	boot "$@"
}

booted() {
	[ ! -e "$tmp/skipped" ] || skip "$(cat "$tmp/skipped")"
	[ -s "$tmp/out" ] || fail "no boot"
}

# Every line the driver's test should say, in order, and no other.
checks() {
	booted
	sed -n 's/^PASS //p' "$tmp/out" | diff "$srcdir/tests/linux/accel_test.expected" - || fail "not the checks there should be"
	! grep '^FAIL' "$tmp/out" || fail "failed checks"
}

# interrupts KIND PATTERN: KIND as accel_test names it, PATTERN of the driver's line in /proc/interrupts.
interrupts() {
	booted
	expect "$tmp/out" "^info.interrupts $1\$"
	expect "$tmp/out" "^interrupts: .*$2"
}

# Nothing in dmesg, from warning up, that a real PC would not give, and not what goes out as less.
complaints() {
	booted
	expect "$tmp/out" '^complaint 4 kvmbox_accel: loading out-of-tree module taints kernel\.$' # they are shown at all
	sed -n 's/^complaint [0-9] //p' "$tmp/out" | grep -v -x \
		-e 'kvmbox_accel: loading out-of-tree module taints kernel\.' \
		-e 'no MSR PMU driver\.' \
		-e 'kvmbox_accel [0-9a-f:.]*: no progress for 2000 ms .*: reset' >"$tmp/complaints" || : # the last: what the test provokes
	[ ! -s "$tmp/complaints" ] || { cat "$tmp/complaints"; fail "complaints"; }
	! grep -E '^\[.*(unstable|BUG|WARNING|Call Trace|lost|nobody cared|calibration not consistent|segfault|hung)' "$tmp/out" ||
		fail "complaints"
}

# clock NAME...: what clock.awk finds good of them.
clocks() {
	booted
	[ -e "$tmp/clocks" ] || awk -f "$srcdir/tests/linux/clock.awk" "$tmp/out" >"$tmp/clocks" || :
	for name; do
		grep "^[a-z]* $name " "$tmp/clocks" || fail "nothing about $name"
		expect "$tmp/clocks" "^ok $name "
	done
}

# A clock test's cases, after its boot.
clock_cases() {
	long_enough() { clocks samples length; }
	testcase ten_seconds long_enough
	monotonic() { clocks monotonic order; }
	testcase monotonic_follows_systemc monotonic
	realtime() { clocks realtime; }
	testcase realtime_follows_systemc realtime
	uptime() { clocks uptime uptime.monotonic; }
	testcase uptime_follows_systemc uptime
	ticks() { clocks tick ticks; }
	testcase no_tick_is_lost ticks
	sleeps() { clocks sleep; }
	testcase sleeps_are_as_long_as_asked sleeps
	delays() { clocks delays; }
	testcase no_delay_is_too_short delays
	testcase no_complaints complaints
}
