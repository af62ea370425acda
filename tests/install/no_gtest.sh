#!/bin/sh
echo "configure found no GoogleTest: unit, KVM and platform tests are not built (Debian: apt-get install libgtest-dev)"
exit 77
