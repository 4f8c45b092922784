#!/bin/sh
# Holds the mount namespace of a node: shows folders of the node's own (below $1) at the
# standard paths named after it, shares mounts with the node's containers, and stays.
set -eu
own=$1
shift
for path in "$@"; do
    mount --bind "$own$path" "$path"
done
# What holds secrets must not reach a disk.
mount -t tmpfs -o mode=0755 tmpfs /run/forebay
mount --make-rshared /
touch "$own/ready"
exec sleep infinity
