#!/bin/sh
# ./run with stand-ins for the programs it calls: what it prints, and its status.
. "$srcdir/tests/install/cases.sh"

unset KB_BUILD KB_CONFIGURE AUTOMAKE # of the run that runs us
bin=$tmp/bin
mkdir "$bin" "$tmp/tree"
cp "$srcdir/run" "$tmp/tree"

# stub NAME COMMANDS: a program that does them and notes its call in $tmp/calls.
stub() {
	printf '#!/bin/sh\necho "%s $*" >>"%s"\n%s\n' "$1" "$tmp/calls" "$2" >"$bin/$1"
	chmod +x "$bin/$1"
}

# run STATUS ARGUMENT...
run() {
	want=$1; shift
	rc=0
	PATH=$bin:$PATH "$tmp/tree/run" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null || rc=$?
	[ $rc = "$want" ] || { cat "$tmp/out" "$tmp/err"; fail "./run $*: status $rc instead of $want"; }
}

fresh() {
	rm -rf "$tmp/tree/build" "$tmp/tree/configure" "$tmp/tree/Makefile.in" "$tmp/calls"
	: >"$tmp/calls"
	mkdir -p "$tmp/tree/examples/linux"
	images 0
	stub dpkg-query 'echo installed'
	stub id 'echo 1000'
	stub apt-get :
	stub autoreconf 'printf "#!/bin/sh\n: >Makefile\n" >configure; chmod +x configure; : >Makefile.in'
	stub make 'case "$*" in *check*) printf "# TOTAL: 6\n# PASS:  3\n# SKIP:  2\n# XFAIL: 0\n# FAIL:  0\n# XPASS: 0\n# ERROR: 0\n";; esac'
}

# images STATUS: examples/linux/images.sh notes its call and ends so.
images() {
	echo "echo images.sh\${1:+ \$1} >>'$tmp/calls'; echo /images; exit $1" >"$tmp/tree/examples/linux/images.sh"
}

last_line() {
	[ "$(tail -n 1 "$tmp/out")" = "$1" ] || { cat "$tmp/out" "$tmp/err"; fail "the last line is not: $1"; }
}

help() { fresh; run 0; expect "$tmp/out" '^usage: ./run'; run 0 --help; expect "$tmp/out" 'demo'; [ ! -s "$tmp/calls" ]; }
testcase help_without_arguments help
wrong() { fresh; run 2 chekc; expect "$tmp/err" "unknown command 'chekc'"; expect "$tmp/err" '^usage: ./run'; [ ! -s "$tmp/out" ]; }
testcase wrong_command wrong

missing='case "$*" in *libelf*|*libsystemc*) exit 1;; *) echo installed;; esac'
user() {
	fresh
	stub dpkg-query "$missing"
	run 1 build
	expect "$tmp/err" '^  sudo apt-get install -y libelf-dev libsystemc-dev$'
	! grep -q 'apt-get\|autoreconf' "$tmp/calls" || fail "it went on"
	run 1 check
	expect "$tmp/err" 'sudo apt-get install'
	last_line "0 passed, 1 failed, 0 skipped"
}
testcase packages_missing_for_a_user user
root() {
	fresh
	stub dpkg-query "$missing"
	stub id 'echo 0'
	run 0 build
	expect "$tmp/calls" '^apt-get install .*-y .* libelf-dev libsystemc-dev$'
	expect "$tmp/calls" '^make .*all'
}
testcase packages_missing_for_root root
no_network() {
	fresh
	stub dpkg-query "$missing"
	stub id 'echo 0'
	stub apt-get 'exit 100'
	run 1 demo
	expect "$tmp/err" 'apt-get install failed for: libelf-dev libsystemc-dev'
	! grep -q autoreconf "$tmp/calls" || fail "it went on"
}
testcase packages_cannot_be_installed no_network

linux() {
	fresh
	mkdir -p "$tmp/tree/build/examples/linux_driver"
	driver=$tmp/tree/build/examples/linux_driver/linux_driver
	printf '#!/bin/sh\necho "linux_driver $*" >>"%s"\nexit 3\n' "$tmp/calls" >"$driver"
	chmod +x "$driver"
	run 3 linux check intx ram=256M
	expect "$tmp/calls" '^linux_driver guest=/images/vmlinux initrd=/images/test.cpio check intx ram=256M$'
	run 3 linux
	expect "$tmp/calls" '^linux_driver guest=/images/vmlinux initrd=/images/shell.cpio$'
	run 3 linux full
	expect "$tmp/calls" '^linux_driver guest=/images/vmlinux initrd=/images/full.cpio$'
	run 3 linux smp check cpus=4
	expect "$tmp/calls" '^images.sh smp$'
	expect "$tmp/calls" '^linux_driver guest=/images/vmlinux initrd=/images/test.cpio cpus=2 check cpus=4$'
	: >"$tmp/calls"
	images 1
	run 1 linux
	! grep -q linux_driver "$tmp/calls" || fail "it went on without a kernel"
}
testcase linux_boots_an_image linux

passing() { fresh; run 0 check; last_line "3 passed, 0 failed, 2 skipped"; }
testcase check_passes passing
arguments() { fresh; run 0 check TESTS=tests/unit/bus_test; expect "$tmp/calls" '^make .*check TESTS=tests/unit/bus_test'; }
testcase check_passes_arguments_on arguments
kernel() {
	[ -w /dev/kvm ] || skip "no /dev/kvm to write to"
	fresh
	run 0 check
	expect "$tmp/calls" '^images.sh$'
	fresh
	run 0 check TESTS=tests/linux/msix_test.sh
	expect "$tmp/calls" '^images.sh$'
	fresh
	run 0 check TESTS=tests/unit/bus_test
	! grep images.sh "$tmp/calls" || fail "a kernel for a test that needs none"
}
testcase check_builds_the_kernel kernel
no_kernel() {
	[ -w /dev/kvm ] || skip "no /dev/kvm to write to"
	fresh
	images 77
	run 0 check
	expect "$tmp/err" 'tests/linux, which will be skipped$'
	last_line "3 passed, 0 failed, 2 skipped"
	images 1
	run 1 check
	last_line "0 passed, 1 failed, 0 skipped"
}
testcase check_without_a_kernel no_kernel
failing() {
	fresh
	stub make 'case "$*" in *check*) printf "# PASS:  3\n# SKIP:  0\n# FAIL:  4\n# ERROR: 1\n"; exit 2;; esac'
	run 1 check
	last_line "3 passed, 5 failed, 0 skipped"
}
testcase check_fails failing
test_build() {
	fresh
	stub make 'case "$*" in *check*) echo "bus_test.cpp:1: error"; exit 2;; esac'
	run 1 check
	last_line "0 passed, 1 failed, 0 skipped"
}
testcase a_test_does_not_build test_build
library_build() { fresh; stub make 'exit 2'; run 1 check; last_line "0 passed, 1 failed, 0 skipped"; }
testcase the_library_does_not_build library_build
conf() {
	fresh
	stub autoreconf 'printf "#!/bin/sh\nexit 1\n" >configure; chmod +x configure'
	run 1 check
	expect "$tmp/err" 'configure failed; details in build/config.log'
	last_line "0 passed, 1 failed, 0 skipped"
}
testcase configure_fails conf
switches() {
	fresh
	stub autoreconf 'printf "#!/bin/sh\necho configure \$* >>../configured; : >Makefile\n" >configure; chmod +x configure; : >Makefile.in'
	export KB_CONFIGURE="--enable-werror"
	run 0 build
	run 0 build
	unset KB_CONFIGURE
	run 0 build
	[ "$(grep -c configure "$tmp/tree/configured")" = 2 ] || fail "expected two runs of configure"
	expect "$tmp/tree/configured" '--enable-werror'
}
testcase new_switches_configure_again switches
finish
