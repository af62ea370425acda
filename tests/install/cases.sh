# Named results for shell tests, in GoogleTest's words, which tests/gtest-driver counts. Source it, then
#	testcase NAME FUNCTION
# runs the function in a subshell with -e: returning means ok, "fail TEXT" and any failing command end it, "skip TEXT" skips.
# $tmp is a scratch folder of the test's own; the script ends with "finish".
suite=$(basename "$0" .sh)
bad=0
tmp=$(mktemp -d "${TMPDIR:-/tmp}/kvmbox-$suite.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
# Nothing of the make that runs us.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS DESTDIR CDPATH
export LC_ALL=C

testcase() {
	echo "[ RUN      ] $suite.$1"
	( set -e; "$2" )
	case $? in
	0) echo "[       OK ] $suite.$1";;
	77) echo "[  SKIPPED ] $suite.$1";;
	*) echo "[  FAILED  ] $suite.$1"; bad=1;;
	esac
}

fail() {
	echo "$*"
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

# expect FILE PATTERN: a line of the file matches the basic regular expression.
expect() {
	grep -q -e "$2" "$1" || { cat "$1"; fail "expected in $1: $2"; }
}

finish() {
	exit $bad
}
