#!/bin/sh
# Install the Debian packages that tests and benchmarks use, unless all of their programs are there.
set -eu
missing=""
for pair in nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client curl:curl psql:postgresql \
    redis-server:redis-server dockerd:docker.io podman:podman java:default-jre-headless pebble:pebble knotd:knot; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing="$missing libnginx-mod-stream"
command -v faketime >/dev/null 2>&1 || missing="$missing faketime"
[ -d /usr/lib/postgresql ] || missing="$missing postgresql"
busybox --list 2>/dev/null | grep -qx httpd || missing="$missing busybox-static"
[ -d /usr/share/tomcat10 ] || missing="$missing tomcat10"
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "please install:$missing" >&2
    exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
$as_root apt-get update -qq
# The packages are used by hand: their services are not to start.
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
