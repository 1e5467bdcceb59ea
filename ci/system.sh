#!/bin/sh
# Install the Debian packages that tests and benchmarks use, unless all of their programs are there.
set -eu
missing=""
for pair in nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client curl:curl psql:postgresql \
    redis-server:redis-server dockerd:docker.io podman:podman java:default-jre-headless pebble:pebble knotd:knot lexgrog:man-db; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"
command -v faketime >/dev/null 2>&1 || missing="$missing faketime"
[ -d /usr/lib/postgresql ] || missing="$missing postgresql"
busybox --list 2>/dev/null | grep -qx httpd || missing="$missing busybox-static"
[ -d /usr/share/tomcat10 ] || missing="$missing tomcat10"
command -v etcd >/dev/null 2>&1 || missing="$missing etcd-server"
[ -e /usr/share/java/zookeeper.jar ] || missing="$missing libzookeeper-java"

# Consul is in an older Debian alone. Tests that need it are left out where it cannot be had any more.
install_consul() {
    command -v consul >/dev/null 2>&1 && return 0
    sources=/etc/apt/sources.list.d/debian.sources
    [ -e "$sources" ] && command -v dpkg >/dev/null 2>&1 || return 0
    folder=$(mktemp -d)
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    mirror=$(awk '/^URIs:/ { print $2; exit }' "$sources")
    keyring=$(awk '/^Signed-By:/ { print $2; exit }' "$sources")
    echo "deb [signed-by=$keyring] $mirror bullseye main" >"$folder/sources.list"
    options="-o Dir::Etc::sourcelist=$folder/sources.list -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root"
    options="$options -o Dir::State::lists=$folder/lists -o Dir::Cache=$folder/cache"
    (cd "$folder" && apt-get $options -qq update && apt-get $options -qq download consul && dpkg -x consul_*.deb . &&
        $as_root install -m 755 usr/bin/consul /usr/local/bin/consul) >/dev/null 2>&1 ||
        echo "Consul cannot be had: its tests are left out" >&2
    rm -rf "$folder"
}

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
if [ -z "$missing" ]; then
    install_consul
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "please install:$missing" >&2
    exit 1
fi
$as_root apt-get update -qq
# The packages are used by hand: their services are not to start.
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
install_consul
