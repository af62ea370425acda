#!/bin/sh
# tests/gtest-driver: every case counts once, and nothing that goes wrong is lost.
. "$srcdir/tests/install/cases.sh"
driver=$srcdir/tests/gtest-driver

# drive COMMANDS: the driver over a program that does them; results in $tmp/trs as "PASS:2 FAIL:0 SKIP:1".
drive() {
	printf '%s\n' "$1" >"$tmp/program"
	KB_TEST_TIMEOUT=${limit-60} sh "$driver" --test-name t --log-file "$tmp/log" --trs-file "$tmp/trs" --color-tests no \
		--expect-failure no --enable-hard-errors yes -- sh "$tmp/program" >"$tmp/out" || fail "driver status $?"
}

counts() {
	got=
	for what in PASS FAIL SKIP; do
		got="$got $(grep -c "^:test-result: $what " "$tmp/trs" || :)"
	done
	[ "$got" = " $*" ] || { cat "$tmp/log" "$tmp/trs"; fail "pass, fail, skip: $got instead of $*"; }
}
R='echo "[ RUN      ] s.one"' OK='echo "[       OK ] s.one (1 ms)"'

plain() { drive :; counts 1 0 0; drive 'exit 77'; counts 0 0 1; drive 'exit 3'; counts 0 1 0; expect "$tmp/trs" '^:global-test-result: FAIL'; }
testcase plain_programs plain
cases() {
	drive "$R;$OK
	echo '[ RUN      ] s/two.x/0'; echo '[  FAILED  ] s/two.x/0, where GetParam() = 3 (0 ms)'
	echo '[ RUN      ] s.three'; echo '[  SKIPPED ] s.three (0 ms)'
	echo '[  FAILED  ] 1 test, listed below:'; echo '[  FAILED  ] s/two.x/0, where GetParam() = 3'; exit 1"
	counts 1 1 1
	expect "$tmp/trs" '^:test-result: FAIL t s/two.x/0'
}
testcase one_result_per_case cases
unfinished_line() { drive "$R; printf half; $OK; printf half; $R; printf half; $OK"; counts 2 0 0; }
testcase output_without_newline unfinished_line
crash() { drive "$R;$OK; $R; kill -SEGV \$\$"; counts 1 1 0; expect "$tmp/trs" 'program ended in it'; }
testcase a_crash_fails_the_running_case crash
late() { drive "$R;$OK; exit 1"; counts 1 1 0; }
testcase a_failure_after_the_last_case late
lost() { drive "$R;$R;$OK"; counts 1 1 0; }
testcase a_case_without_result lost
hang() { limit=1; drive "$R; sleep 30"; counts 0 1 0; expect "$tmp/log" 'no end after 1 s'; }
testcase a_hanging_program_is_killed hang
none() { drive 'echo "[==========] Running 0 tests from 0 test suites."'; counts 0 0 1; }
testcase no_case_selected none
finish
