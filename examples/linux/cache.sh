# For kernel.sh and images.sh: what is built once and kept outside the source tree, in a folder named after a hash of
# all that went into it. A build that is interrupted leaves nothing that could be taken for a result. With KVMBOX_CACHE_ONLY
# set they find what is there, or fail; they neither build nor install. Status 77: what a build needs cannot be had.
packages="linux-source-6.1 bc bison flex libelf-dev libssl-dev kmod lz4 xz-utils busybox-static pciutils"
PATH=$PATH:/usr/sbin:/sbin # depmod
cache=${KVMBOX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kvmbox}

say() {
	echo "linux: $*" >&2
}

die() {
	say "$@"
	exit 1
}

need_packages() {
	missing=
	for p in $packages; do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
	done
	[ -z "$missing" ] && return 0
	[ -z "${KVMBOX_CACHE_ONLY-}" ] || no_packages "packages are missing:$missing"
	[ "$(id -u)" = 0 ] || no_packages "packages are missing; install them and run this again:
  sudo apt-get install -y$missing"
	say "installing:$missing"
	apt-get update -q >/dev/null || say "apt-get update failed, trying with the lists there are"
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null ||
		no_packages "apt-get install failed for:$missing"
}

no_packages() {
	say "$@"
	exit 77
}

# cached NAME KEY FUNCTION MESSAGE: prints the folder with what FUNCTION leaves in ./out, calling it only when there is
# none yet. It starts in an empty folder. One build at a time; the lock ends with the process.
cached() {
	dir=$cache/$1-$2
	if [ ! -d "$dir" ]; then
		[ -z "${KVMBOX_CACHE_ONLY-}" ] || die "$1: not built yet"
		mkdir -p "$cache" || die "cannot create $cache; KVMBOX_CACHE names another folder"
		exec 9>"$cache/lock"
		flock -n 9 || { say "waiting for another build to end"; flock 9; }
		[ -d "$dir" ] || make_cached "$@"
		exec 9>&-
	fi
	echo "$dir"
}

make_cached() {
	log=$cache/$1.log
	rm -rf "$cache"/tmp.* # of a build that was killed: we have the lock
	tmp=$(mktemp -d "$cache/tmp.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM HUP
	say "$4"
	mkdir "$tmp/out"
	set +e
	(set -e; cd "$tmp"; "$3") >"$log" 2>&1
	rc=$?
	set -e
	[ $rc = 0 ] || { tail -n 20 "$log" >&2; die "building the $1 failed; all of it is in $log"; }
	mv "$tmp/out" "$dir"
	rm -rf "$tmp"
	trap - EXIT INT TERM HUP
}
