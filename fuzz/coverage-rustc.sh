#!/bin/sh
# The compiler for `cargo xtask fuzz`: counts branches in the crates that are fuzzed, and
# leaves alone what builds or drives them. Cargo calls it for the workspace's crates only.
rustc=$1
shift
case " $* " in
*" --crate-name forebay_core "* | *" --crate-name forebay_proto "* | *" --crate-name forebay_keeper "* | \
*" --crate-name forebay_cache_server "* | *" --crate-name forebay_fuse_client "*)
    exec "$rustc" "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    ;;
*)
    exec "$rustc" "$@"
    ;;
esac
