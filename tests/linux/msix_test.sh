#!/bin/sh
# Linux boots in the box as ./run linux check does, its driver drives the SystemC accelerator by MSI-X, and it powers off.
. "$srcdir/tests/linux/boot.sh"

run() { boot; }
testcase boots_and_powers_off run
testcase every_check_of_the_driver checks
kind() { interrupts MSI-X 'PCI-MSI.*accel0-done$'; }
testcase interrupts kind
testcase no_complaints complaints
finish
