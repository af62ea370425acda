#!/bin/sh
# Every file under version control is in the package ("make dist").
. "$srcdir/tests/install/cases.sh"

complete() {
	[ -n "$SYSTEMC_STD" ] || skip "configured --without-systemc"
	command -v git >/dev/null && git -C "$srcdir" rev-parse --show-prefix >"$tmp/prefix" 2>/dev/null || skip "no git repository"
	[ -z "$(cat "$tmp/prefix")" ] || skip "not the top of a git repository"
	$MAKE distdir distdir="$tmp/dist" top_distdir="$tmp/dist" >"$tmp/log" 2>&1 || { cat "$tmp/log"; fail "make distdir failed"; }
	git -C "$srcdir" ls-files | while read -r f; do
		[ ! -e "$srcdir/$f" ] || [ -e "$tmp/dist/$f" ] || echo "$f"
	done >"$tmp/missing"
	[ ! -s "$tmp/missing" ] || { cat "$tmp/missing"; fail "these are not in EXTRA_DIST or _SOURCES"; }
}
testcase complete complete
finish
