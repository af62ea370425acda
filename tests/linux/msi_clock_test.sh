#!/bin/sh
# As msix_test, by MSI; and the guest's clocks go as SystemC's time does, at time_scale=1.
. "$srcdir/tests/linux/boot.sh"

run() { boot_unless_sanitized msi jobs time_scale=1 'cmdline+= kvmbox.test=clock'; }
testcase boots_and_powers_off run
testcase every_check_of_the_driver checks
kind() { interrupts MSI 'PCI-MSI.*accel0$'; }
testcase interrupts kind
clock_cases
finish
