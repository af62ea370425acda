#!/bin/sh
# configure says what is missing and what to do about it.
[ -z "$KB_SAN" ] || { echo "the same with sanitizers: not repeated"; exit 77; }
. "$srcdir/tests/install/cases.sh"

# A copy, because a source folder that is configured itself cannot be configured from elsewhere.
mkdir -p "$tmp/src/vcpu" "$tmp/pc" "$tmp/wrong"
cp -R "$srcdir/configure" "$srcdir/build-aux" "$tmp/src"
cp "$srcdir/vcpu/bus.h" "$tmp/src/vcpu"

# Stand-ins for the packages: configure sees these and no others.
for module in libelf jansson libnbd slirp libpcap gtest gtest_main systemc tlm; do
	printf 'Name: %s\nDescription: x\nVersion: 5\nCflags: %s\nLibs: %s\n' $module "$($PKG_CONFIG --cflags $module 2>/dev/null)" \
		"$($PKG_CONFIG --libs $module 2>/dev/null)" >"$tmp/pc/$module.pc"
done

# conf STATUS ARGUMENT...: runs it without the module $without, output in $tmp/out.
conf() {
	want=$1; shift
	mkdir -p "$tmp/some"
	rm -f "$tmp/some"/*
	cp "$tmp/pc"/* "$tmp/some"
	[ -z "${without-}" ] || rm "$tmp/some/$without.pc"
	rc=0
	(cd "$tmp/src" && PKG_CONFIG_PATH=${extra-} PKG_CONFIG_LIBDIR=$tmp/some \
		./configure -n --cache-file="$tmp/cache" "$@" CC="$CC" CXX="$CXX") >"$tmp/out" 2>&1 </dev/null || rc=$?
	[ $rc = "$want" ] || { tail -20 "$tmp/out"; fail "configure $*: status $rc instead of $want"; }
	sed -i '/_PKG_CONFIG\|_CFLAGS\|_LIBS\|with_/d' "$tmp/cache"
}

complete() { [ -n "$SYSTEMC_STD" ] || skip "no SystemC"; conf 0; expect "$tmp/out" 'SystemC side   yes'; }
testcase everything_there complete
no_libelf() { without=libelf; conf 1; expect "$tmp/out" 'error: libelf is missing.*apt-get install libelf-dev'; }
testcase without_libelf no_libelf
no_jansson() { without=jansson; conf 1; expect "$tmp/out" 'error: jansson .*is missing.*apt-get install libjansson-dev'; }
testcase without_jansson no_jansson
no_libnbd() { without=libnbd; conf 1 --without-systemc; expect "$tmp/out" 'error: libnbd is missing' && expect "$tmp/out" 'apt-get install libnbd-dev.*--without-libnbd and do without NBD disks'; }
testcase without_libnbd no_libnbd
no_slirp() { without=slirp; conf 1 --without-systemc; expect "$tmp/out" 'error: slirp is missing' && expect "$tmp/out" 'apt-get install libslirp-dev libglib2.0-dev.*--without-slirp'; }
testcase without_slirp no_slirp
no_libpcap() { without=libpcap; conf 1 --without-systemc; expect "$tmp/out" 'error: libpcap is missing' && expect "$tmp/out" 'apt-get install libpcap-dev.*--without-libpcap'; }
testcase without_libpcap no_libpcap
lean() { without=slirp; conf 0 --without-systemc --without-libnbd --without-slirp --without-libpcap; expect "$tmp/out" 'back ends *libnbd no, slirp no, libpcap no'; }
testcase back_ends_switched_off lean
no_zydis() { conf 1 ac_cv_header_Zydis_Zydis_h=no; sed -i /Zydis/d "$tmp/cache"; expect "$tmp/out" 'error: Zydis .*is missing.*apt-get install libzydis-dev'; }
testcase without_zydis no_zydis
no_systemc() { without=systemc; conf 1; expect "$tmp/out" 'error: SystemC with TLM-2.0 is missing.*systemc'; expect "$tmp/out" 'apt-get install libsystemc-dev.*--without-systemc'; }
testcase without_systemc no_systemc
no_tlm() { without=tlm; conf 1; expect "$tmp/out" "error: SystemC with TLM-2.0 is missing.*tlm"; }
testcase without_tlm no_tlm
switched_off() { without=systemc; conf 0 --without-systemc; expect "$tmp/out" 'SystemC side   no'; }
testcase systemc_switched_off switched_off
no_gtest() { without=gtest; conf 0 --without-systemc; expect "$tmp/out" 'GoogleTest is missing.*apt-get install libgtest-dev'; }
testcase without_gtest no_gtest
no_pkg_config() { conf 1 PKG_CONFIG=/nonexistent/pkg-config; expect "$tmp/out" 'error: pkg-config is missing.*apt-get install pkg-config'; }
testcase without_pkg_config no_pkg_config

# A library built for another C++ standard: its headers ask for a symbol that is not there.
wrong_standard() {
	printf 'extern "C" void sc_api_version_cxx199711L();\nnamespace sc_core { inline void sc_start() { sc_api_version_cxx199711L(); } }\n' \
		>"$tmp/wrong/systemc"
	: >"$tmp/wrong/tlm"
	printf 'Name: systemc\nDescription: x\nVersion: 3\nCflags: -I%s\n' "$tmp/wrong" >"$tmp/wrong/systemc.pc"
	extra=$tmp/wrong
	conf 1
	expect "$tmp/out" 'error: SystemC was found.*another C++ standard.*-std=c++17'
}
testcase systemc_for_another_standard wrong_standard
thread() { conf 1 --enable-sanitizers=thread; expect "$tmp/out" 'error: ThreadSanitizer.*--without-systemc'; }
testcase thread_sanitizer_with_systemc thread
nonsense() { conf 1 --without-systemc --enable-sanitizers=nonsense; expect "$tmp/out" 'error: --enable-sanitizers=nonsense does not'; }
testcase unknown_sanitizer nonsense
other_host() { rm "$tmp/cache"; conf 1 --host=aarch64-linux-gnu; expect "$tmp/out" 'error: kvmbox runs x86 guests .* this host is aarch64'; }
testcase another_architecture other_host
finish
