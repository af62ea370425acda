#!/bin/sh
# Linux boots in the box as ./run linux check does, its driver drives the SystemC accelerator by MSI-X, and it powers off.
. "$srcdir/tests/linux/boot.sh"

run() { boot; }
testcase boots_and_powers_off run
testcase every_check_of_the_driver checks
kind() { interrupts MSI-X 'PCI-MSI.*accel0-done$'; }
testcase interrupts kind
testcase no_complaints complaints
# A tenth of the host's time where ring 0 is emulated, and as many loops to a tick (10 ms / 0.7 us / 0.1).
scale() {
	booted
	grep -q 'Command line: .*clearcpuid=.*,tsc ' "$tmp/out" || skip "nothing is emulated, or the TSC can be simulated"
	expect "$tmp/out" 'Command line: .* lpj=142858$'
}
testcase time_scale_of_this_host scale
finish
