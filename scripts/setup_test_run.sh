#!/bin/sh
# Runs pytest on suites of tests/ with what the build variant needs: setup_test_run.sh unit model -- -k name
#
# BUILD names the variant. Two of them, "release debug", run all tests between them: the second one
# those that only a debug build can run. MARKS is an expression for pytest's -m that holds for both.
set -eu
cd "$(dirname "$0")/.."
variants=${BUILD:-release}
marks=${MARKS:-}
suites=""
while [ $# -gt 0 ]; do
    [ "$1" = -- ] && { shift; break; }
    [ -e "tests/$1" ] && suites="$suites tests/$1"
    shift
done
[ -n "$suites" ] || { echo "none of these suites is there; see tests/" >&2; exit 2; }

# Run in a process of its own: each variant has its environment.
run() {
    variant=$1
    marks=$2
    shift 2
    runner=""
    case $variant in
    asan)
        # The interpreter itself is not instrumented, so the runtime has to be there before it starts.
        LD_PRELOAD=$(gcc -print-file-name=libasan.so)
        # Python keeps memory until exit; leaks of the core are counted by its debug build.
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:${ASAN_OPTIONS:-}
        UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
        export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS PYTHONMALLOC=malloc
        ;;
    tsan)
        LD_PRELOAD=$(gcc -print-file-name=libtsan.so)
        TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/scripts/tsan.supp:${TSAN_OPTIONS:-}
        export LD_PRELOAD TSAN_OPTIONS
        # ThreadSanitizer's fixed address ranges collide with wide address randomisation.
        setarch -R true 2>/dev/null && runner="setarch -R"
        ;;
    esac
    export PYMC_BUILD="$variant"
    # shellcheck disable=SC2086
    exec $runner .venv/bin/python -m pytest $suites -m "$marks" "$@"
}

nothing_to_run=5
case $variants in
*" "*) ;;
*) run "$variants" "$marks" "$@" ;;
esac
result=$nothing_to_run
for variant in $variants; do
    needs="not debug"
    [ "$variant" = debug ] && needs=debug
    echo "tests on the $variant build:"
    status=0
    (run "$variant" "$needs${marks:+ and $marks}" "$@") || status=$?
    # The suites or names that were picked may have no test for one of the builds.
    [ "$status" = "$nothing_to_run" ] && continue
    [ "$result" = "$nothing_to_run" ] && result=0
    [ "$status" = 0 ] || result=$status
done
exit "$result"
