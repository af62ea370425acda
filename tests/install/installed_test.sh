#!/bin/sh
# The installed tree, as its users meet it: "make install" into a scratch root, then programs and guests built outside the
# tree with nothing but pkg-config. README.md's C++ is compiled and run, too.
[ -z "$KB_SAN" ] || { echo "the same with sanitizers: not repeated"; exit 77; }
. "$srcdir/tests/install/cases.sh"
build=$PWD
src=$(cd "$srcdir" && pwd)
root=$tmp/root

$MAKE install DESTDIR="$root" >"$tmp/install.log" 2>&1 || { cat "$tmp/install.log"; exit 1; }

# pkg-config files for the scratch root, with the libraries in folder $2.
pc_files() {
	mkdir -p "$tmp/$1"
	for pc in "$root$KB_PC_FILES"/*.pc; do
		sed -e "s|^\([a-z_]*\)=/|\1=$root/|" -e "s|^libdir=.*|libdir=$2|" "$pc" >"$tmp/$1/${pc##*/}"
	done
}
pc_files shared "$root$KB_LIBS"
mkdir "$tmp/archives"
cp "$root$KB_LIBS"/*.a "$tmp/archives"
pc_files static "$tmp/archives"

pc() {
	PKG_CONFIG_PATH=$tmp/$linkage${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH} $PKG_CONFIG "$@"
}
linkage=shared
LD_LIBRARY_PATH=$root$KB_LIBS${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
cflags=$(pc --cflags kvmbox) || exit 1
[ -z "$SYSTEMC_STD" ] || tlm_cflags=$(pc --cflags kvmbox-tlm) || exit 1

need_systemc() { [ -n "$SYSTEMC_STD" ] || skip "configured --without-systemc"; }
need_kvm() { "$root$KB_BIN/kvmbox-info" >/dev/null || skip "KVM is not usable here, see kvmbox-info"; }

# run STATUS COMMAND...: output in out
run() {
	want=$1; shift
	rc=0
	timeout -k 5 120 "$@" >out 2>&1 </dev/null || rc=$?
	[ $rc = "$want" ] || { cat out; fail "$*: status $rc instead of $want"; }
}

# The n-th block of C++ in README.md.
readme() {
	awk -v n="$1" '/^```cpp$/ { inside = ++block == n; next } /^```$/ { inside = 0 } inside' "$src/README.md"
}

files() {
	cd "$root"
	for f in "$KB_INCLUDES"/kvmbox.h "$KB_INCLUDES"/block.h "$KB_INCLUDES"/net.h "$KB_INCLUDES"/error.h "$KB_INCLUDES"/probe.h "$KB_LIBS"/libkvmbox.so "$KB_LIBS"/libkvmbox.a \
		"$KB_PC_FILES"/kvmbox.pc "$KB_BIN"/kvmbox-info; do
		[ -e ".$f" ] || fail "not installed: $f"
	done
	find . -name kvmbox-info.1 | grep -q . || fail "no man page"
	find . -name 'libkb*' | grep . && fail "internal libraries are installed"
	[ -n "$SYSTEMC_STD" ] || { find . -name '*tlm*' | grep . && fail "a SystemC side without SystemC"; return 0; }
	for f in "$KB_INCLUDES"/tlm.h "$KB_INCLUDES"/pci_device.h "$KB_LIBS"/libkvmbox-tlm.so "$KB_LIBS"/libkvmbox-tlm.a \
		"$KB_PC_FILES"/kvmbox-tlm.pc; do
		[ -e ".$f" ] || fail "not installed: $f"
	done
}
testcase files files

exports() {
	$NM -D --defined-only "$root$KB_LIBS/libkvmbox.so" | awk '{ print $NF }' >"$tmp/symbols"
	expect "$tmp/symbols" '^kvmbox_create$'
	! grep -v '^kvmbox_' "$tmp/symbols" || fail "these do not begin with kvmbox_"
}
testcase exports_only_its_own_names exports

no_needless_libraries() {
	! readelf -d "$root$KB_LIBS/libkvmbox.so" | grep 'NEEDED.*\(stdc++\|systemc\)' || fail "libkvmbox is plain C"
}
testcase the_c_library_needs_no_cxx no_needless_libraries

headers() {
	mkdir "$tmp/headers"; cd "$tmp/headers"
	for h in "$root$KB_INCLUDES"/*.h; do
		name=${h##*/}
		echo "#include <kvmbox/$name>" >one.cpp
		cp one.cpp one.c
		case $name in
		tlm*|pci_device.h)
			$CXX $tlm_cflags -Wall -Wextra -Werror -fsyntax-only one.cpp;;
		*)
			$CC $cflags -std=c17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only one.c
			$CC $cflags -std=c99 -Wall -Wextra -Werror -fsyntax-only one.c
			$CXX $cflags -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only one.cpp;;
		esac || fail "kvmbox/$name does not compile alone"
	done
}
testcase headers_stand_alone headers

man_page() { man_dir=$(find "$root" -name kvmbox-info.1); expect "$man_dir" 'kvmbox'; "$root$KB_BIN/kvmbox-info" --version | grep -q kvmbox; }
testcase kvmbox_info man_page

# A guest built outside the tree, the way README.md says.
guests=$tmp/guests
mkdir "$guests"
kit() {
	cd "$guests"
	cp "$src/examples/plain_c/guest.c" "$src/examples/plain_c/alarm_regs.h" "$src/examples/uart_hello/hello.c" \
		"$src/tests/install/adder_guest.c" .
	printf '%s\n' "GUEST_DIR := $(pc --variable=guestdir kvmbox)" 'include $(GUEST_DIR)/kvmbox-guest.mk' >Makefile
	$MAKE CC="$CC" GUEST_WARN='-Wall -Wextra -Werror' guest.elf hello.elf adder_guest.elf >log 2>&1 || { cat log; fail "make failed"; }
	readelf -h guest.elf >out
	expect out 'EXEC'
}
testcase guest_kit kit
need_guest() { [ -e "$guests/$1" ] || skip "$1 was not built"; }

mkdir "$tmp/c"
plain_c() {
	cd "$tmp/c"
	cp "$src/examples/plain_c/main.c" "$src/examples/plain_c/alarm_regs.h" .
	$CC -O1 -DGUEST='"none"' main.c -o shared $(pc --cflags --libs kvmbox)
	readelf -d shared >out
	expect out 'NEEDED.*libkvmbox.so'
	need_kvm; need_guest guest.elf
	run 0 ./shared guest="$guests/guest.elf"
	expect out '^guest exit status 0 after .* 4 rings$'
}
testcase plain_c plain_c

# The libraries below it stay shared (Debian has no static libslirp).
plain_c_static() {
	linkage=static
	cd "$tmp/c"
	$CC -O1 -DGUEST='"none"' main.c -o static $(pc --static --cflags --libs kvmbox)
	readelf -d static >out
	! grep 'NEEDED.*kvmbox' out || fail "not static"
	need_kvm; need_guest guest.elf
	run 0 ./static guest="$guests/guest.elf"
	expect out '^guest exit status 0 after .* 4 rings$'
}
testcase plain_c_static plain_c_static

mkdir "$tmp/uart"
uart_hello() {
	need_systemc
	cd "$tmp/uart"
	cp "$src/examples/uart_hello/main.cpp" .
	$CXX -DGUEST='"none"' main.cpp -o shared $(pc --cflags --libs kvmbox-tlm)
	readelf -d shared >out
	expect out 'NEEDED.*libkvmbox-tlm.so'
	need_kvm; need_guest hello.elf
	run 0 ./shared guest="$guests/hello.elf"
	expect out '^hello from the guest'
}
testcase uart_hello uart_hello

# SystemC itself stays shared where it is (Debian has no static one).
uart_hello_static() {
	need_systemc
	linkage=static
	cd "$tmp/uart"
	$CXX -DGUEST='"none"' main.cpp -o static $(pc --static --cflags --libs kvmbox-tlm)
	readelf -d static >out
	! grep 'NEEDED.*kvmbox' out || fail "not static"
	need_kvm; need_guest hello.elf
	run 0 ./static guest="$guests/hello.elf"
	expect out '^hello from the guest'
}
testcase uart_hello_static uart_hello_static

twenty_lines() {
	need_systemc
	mkdir "$tmp/twenty"; cd "$tmp/twenty"
	cp "$src/tests/install/my_model.h" .
	readme 1 >main.cpp
	expect main.cpp 'sc_main'
	$CXX main.cpp $(pc --cflags --libs kvmbox-tlm)
	need_kvm; need_guest hello.elf
	run 0 ./a.out guest="$guests/hello.elf"
	expect out '^hello from the guest'
}
testcase readme_twenty_lines twenty_lines

adder() {
	need_systemc
	mkdir "$tmp/adder"; cd "$tmp/adder"
	{
		echo '#include <kvmbox/tlm.h>'
		readme 2
		echo 'int sc_main(int argc, char **argv) { kvmbox::config cfg(argc, argv); kvmbox::box pc("pc", cfg);'
		grep -o '`adder a("adder", pc);`' "$src/README.md" | tr -d '`'
		echo 'sc_core::sc_start(); return pc.exit_status(); }'
	} >main.cpp
	expect main.cpp 'class adder'
	$CXX main.cpp $(pc --cflags --libs kvmbox-tlm)
	need_kvm; need_guest adder_guest.elf
	run 0 ./a.out guest="$guests/adder_guest.elf"
	expect out '^sum 5050'
}
testcase readme_adder adder

uninstall() {
	cd "$build"
	$MAKE uninstall DESTDIR="$root" >"$tmp/uninstall.log" 2>&1 || { cat "$tmp/uninstall.log"; fail "make uninstall failed"; }
	! find "$root" ! -type d | grep . || fail "left behind"
}
testcase uninstall uninstall
finish
