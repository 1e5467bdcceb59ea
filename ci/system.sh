#!/bin/sh
# Install the Debian packages that a target uses, where they are missing: test, bench, bench-extra, wheel or packages. Says before what
# it is about to install.
set -eu
use=${1:-test}
missing=""

# need PROGRAM PACKAGE: unless the program is there.
need() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}

case $use in
bench | bench-extra)
    need nginx nginx
    need haproxy haproxy
    need wrk wrk
    need h2load nghttp2-client
    need openssl openssl
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"
    ;;
esac
case $use in
bench-extra)
    need redis-server redis-server
    need etcd etcd-server
    ;;
esac
case $use in
packages | wheel)
    need advzip advancecomp
    ;;
esac
case $use in
packages)
    need dockerd docker.io
    need docker docker.io
    need systemd-nspawn systemd-container
    busybox --list 2>/dev/null | grep -qx httpd || missing="$missing busybox-static"
    ;;
esac
case $use in
test)
    need nginx nginx
    need haproxy haproxy
    need wrk wrk
    need h2load nghttp2-client
    need curl curl
    need openssl openssl
    need psql postgresql
    need redis-server redis-server
    need dockerd docker.io
    need podman podman
    need java default-jre-headless
    need pebble pebble
    need knotd knot
    need chromium chromium
    need faketime faketime
    need prometheus prometheus
    need etcd etcd-server
    [ -d /usr/lib/postgresql ] || missing="$missing postgresql"
    busybox --list 2>/dev/null | grep -qx httpd || missing="$missing busybox-static"
    [ -d /usr/share/tomcat10 ] || missing="$missing tomcat10"
    need systemd-analyze systemd
    need ip iproute2
    need lexgrog man-db
    need zsh zsh
    need fish fish
    [ -e /usr/share/java/zookeeper.jar ] || missing="$missing libzookeeper-java"
    ;;
esac

# Consul is in an older Debian alone. Where it cannot be had, the tests that need it fail, and say so.
install_consul() {
    command -v consul >/dev/null 2>&1 && return 0
    sources=/etc/apt/sources.list.d/debian.sources
    if ! [ -e "$sources" ] || ! command -v dpkg >/dev/null 2>&1; then
        echo "please install: consul" >&2
        return 0
    fi
    echo "installs consul, of Debian 11, as /usr/local/bin/consul" >&2
    folder=$(mktemp -d)
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    mirror=$(awk '/^URIs:/ { print $2; exit }' "$sources")
    keyring=$(awk '/^Signed-By:/ { print $2; exit }' "$sources")
    echo "deb [signed-by=$keyring] $mirror bullseye main" >"$folder/sources.list"
    options="-o Dir::Etc::sourcelist=$folder/sources.list -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root"
    options="$options -o Dir::State::lists=$folder/lists -o Dir::Cache=$folder/cache"
    (cd "$folder" && apt-get $options -qq update && apt-get $options -qq download consul && dpkg -x consul_*.deb . &&
        $as_root install -m 755 usr/bin/consul /usr/local/bin/consul) >/dev/null 2>&1 ||
        echo "Consul cannot be had from $mirror: its tests will fail" >&2
    rm -rf "$folder"
}

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "please install:$missing" >&2
        exit 1
    fi
    case $use in
    packages) target=test-packages ;;
    wheel) target=packages ;;
    *) target=$use ;;
    esac
    echo "make $target installs Debian packages:$missing" >&2
    $as_root apt-get update -qq
    # The packages are used by hand: their services are not to start.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
[ "$use" != test ] || install_consul
