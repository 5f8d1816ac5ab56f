# Sourced by tests/run.sh and examples/demo.sh: the Debian packages a script needs.

installed() { dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }

# require PACKAGE...: installs the missing ones; nothing is fetched when none is.
require() {
    command -v dpkg-query >/dev/null || return 0 # not Debian: CMake says what it does not find
    local package missing=() as_root=()
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "as root: apt-get install ${missing[*]}" >&2; return 1; }
        as_root=(sudo)
    fi
    echo "== installing ${missing[*]}"
    # Some packages bring a daemon beside the tool that is wanted: it is not started.
    local policy=/usr/sbin/policy-rc.d own_policy=no status=0
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" sh -c "cat >$policy && chmod +x $policy" && own_policy=yes; }
    "${as_root[@]}" apt-get -qq update
    # --no-remove: where another Boost is installed, which version stays is its owner's choice.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-remove --no-install-recommends "${missing[@]}" >/dev/null || status=$?
    [ $own_policy = no ] || "${as_root[@]}" rm -f $policy
    return $status
}
