#!/bin/sh
# examples/linux/kernel.sh and cache.sh, with stand-ins for the programs they call: what is built, when, and what is left
# behind when that goes wrong.
. "$srcdir/tests/install/cases.sh"

bin=$tmp/bin
recipe=$tmp/recipe
mkdir "$bin"
real_tar=$(command -v tar)

# stub NAME COMMANDS: a program that does them and notes its call in $tmp/calls.
stub() {
	printf '#!/bin/sh\necho "%s $*" >>"%s"\n%s\n' "$1" "$tmp/calls" "$2" >"$bin/$1"
	chmod +x "$bin/$1"
}

# A source tree whose Kconfig grants everything but CONFIG_REFUSED, and whose make makes what kernel.sh takes from it.
fresh() {
	rm -rf "$recipe" "$tmp/cache"
	: >"$tmp/calls"
	cp -r "$srcdir/examples/linux" "$recipe"
	chmod -R u+w "$recipe"
	stub dpkg-query 'case "$*" in *Version*) echo 6.1;; *) echo installed;; esac'
	stub apt-get 'exit 1'
	stub id 'echo 1000'
	stub nice 'exec "$@"'
	stub tar "case \"\$1\" in
	xf) [ \"\$2\" = - ] && exec $real_tar \"\$@\"
		mkdir -p linux-source-6.1/scripts/kconfig
		printf 'shift 2; cat \"\$@\" | grep -v REFUSED >.config\\n' >linux-source-6.1/scripts/kconfig/merge_config.sh
		chmod +x linux-source-6.1/scripts/kconfig/merge_config.sh;;
	*) exec $real_tar \"\$@\";;
	esac"
	stub make 'case "$*" in
	*vmlinux*)
		mkdir -p arch/x86/boot arch/x86/include usr include tools/include/nolibc tools/objtool
		touch vmlinux arch/x86/boot/bzImage System.map usr/gen_init_cpio tools/objtool/objtool Makefile Module.symvers;;
	esac'
}

# kernel STATUS ARGUMENT...: standard output in $tmp/out.
kernel() {
	want=$1; shift
	rc=0
	KVMBOX_CACHE=$tmp/cache PATH=$bin:$PATH sh "$recipe/kernel.sh" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null || rc=$?
	[ $rc = "$want" ] || { cat "$tmp/out" "$tmp/err" "$tmp"/cache/*.log; fail "kernel.sh $*: status $rc instead of $want"; }
}

builds() {
	got=$(grep -c '^make .*vmlinux' "$tmp/calls" || :)
	[ "$got" = "$1" ] || fail "built $got times instead of $1"
}

nothing_left() {
	for left in "$tmp"/cache/kernel-* "$tmp"/cache/tmp.*; do
		[ ! -e "$left" ] || fail "left behind: $left"
	done
}

once() {
	fresh
	kernel 0
	[ -f "$(cat "$tmp/out")/vmlinux" ] && [ -f "$(cat "$tmp/out")/build/Module.symvers" ] || fail "not all is there"
	first=$(cat "$tmp/out")
	kernel 0
	[ "$(cat "$tmp/out")" = "$first" ] || fail "another folder"
	[ ! -s "$tmp/err" ] || fail "it has something to say"
	builds 1
}
testcase a_kernel_is_built_once once
changed() {
	fresh
	kernel 0
	echo "CONFIG_MORE=y" >>"$recipe/base.config"
	kernel 0
	kernel 0 smp
	echo "CONFIG_MINE=y" >"$tmp/mine"
	kernel 0 "$tmp/mine"
	builds 4
	expect "$(cat "$tmp/out")/config" '^CONFIG_MINE=y$'
}
testcase other_options_other_kernel changed
refused() {
	fresh
	echo "CONFIG_REFUSED=y" >>"$recipe/base.config"
	kernel 1
	expect "$tmp/err" '^not granted: CONFIG_REFUSED=y, it is n$'
	builds 0
	nothing_left
}
testcase an_option_kconfig_refuses refused
overridden() {
	fresh
	printf '# CONFIG_SMP is not set\nCONFIG_A="x y"\n' >"$recipe/base.config"
	kernel 0 smp
}
testcase a_later_fragment_overrides overridden
unknown() { fresh; kernel 1 nosuch; expect "$tmp/err" 'no such configuration fragment: nosuch'; [ ! -s "$tmp/calls" ]; }
testcase no_such_fragment unknown
broken() {
	fresh
	stub make 'case "$*" in *vmlinux*) echo "main.c:1: error"; exit 2;; esac'
	kernel 1
	expect "$tmp/err" '^main.c:1: error$'
	expect "$tmp/err" "all of it is in $tmp/cache/kernel.log"
	nothing_left
}
testcase a_build_that_fails broken
interrupted() {
	fresh
	stub make 'case "$*" in *vmlinux*) touch vmlinux; kill -TERM 0; sleep 10;; esac'
	rc=0
	KVMBOX_CACHE=$tmp/cache PATH=$bin:$PATH setsid -w sh "$recipe/kernel.sh" >"$tmp/out" 2>&1 || rc=$?
	[ $rc != 0 ] || fail "it went on"
	nothing_left
	mkdir "$tmp/cache/tmp.killed"
	fresh_make
	kernel 0
	[ ! -e "$tmp/cache/tmp.killed" ] || fail "what a killed build left is still there"
}
fresh_make() {
	mv "$tmp/cache" "$tmp/saved"
	fresh
	mv "$tmp/saved" "$tmp/cache"
}
testcase an_interrupted_build_leaves_nothing interrupted
together() {
	fresh
	sed 's/touch vmlinux/sleep 1; touch vmlinux/' "$bin/make" >"$bin/make2"
	cat "$bin/make2" >"$bin/make"
	for i in 1 2 3; do
		KVMBOX_CACHE=$tmp/cache PATH=$bin:$PATH sh "$recipe/kernel.sh" >"$tmp/out$i" 2>"$tmp/err$i" &
	done
	wait
	builds 1
	[ -s "$tmp/out1" ] && cmp "$tmp/out1" "$tmp/out2" && cmp "$tmp/out1" "$tmp/out3" || fail "they do not agree"
}
testcase three_at_once_build_once together
cache_only() {
	fresh
	export KVMBOX_CACHE_ONLY=1
	kernel 1
	expect "$tmp/err" '^linux: kernel: not built yet$'
	builds 0
	[ ! -e "$tmp/cache" ] || fail "it made a cache"
	unset KVMBOX_CACHE_ONLY
	kernel 0
	made=$(cat "$tmp/out")
	export KVMBOX_CACHE_ONLY=1
	kernel 0
	[ "$(cat "$tmp/out")" = "$made" ] || fail "another folder"
	stub dpkg-query 'exit 1'
	stub id 'echo 0'
	kernel 77
	! grep apt-get "$tmp/calls" || fail "it installs packages"
}
testcase nothing_is_built_when_not_wanted cache_only
packages() {
	fresh
	stub dpkg-query 'case "$*" in *bison*|*flex*) exit 1;; *Version*) echo 6.1;; *) echo installed;; esac'
	kernel 77
	expect "$tmp/err" '^  sudo apt-get install -y bison flex$'
	stub id 'echo 0'
	kernel 77
	expect "$tmp/err" 'apt-get install failed for: bison flex'
	stub apt-get :
	kernel 0
	expect "$tmp/calls" '^apt-get install .*-y .* bison flex$'
}
testcase packages_are_missing packages
finish
