# Shared by the scripts of this folder; sourced, not run.
# shellcheck shell=bash disable=SC2034
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '== %s\n' "$*"; }

# A wrong command line: one line on stderr and exit code 2.
usage_error() {
    printf '%s: %s (see --help)\n' "$(basename "$0")" "$*" >&2
    exit 2
}

# Prints the comment at the top of the calling script, which is its help.
print_help() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

# How many compilers to run at once: one per core, each with 1.5 GB of memory to itself.
compile_jobs() {
    local cores gigabytes
    cores=$(nproc)
    gigabytes=$(awk '/MemAvailable/ { print int($2 / 1500000) }' /proc/meminfo)
    if ((gigabytes < 1)); then gigabytes=1; fi
    echo $((gigabytes < cores ? gigabytes : cores))
}

# build FOLDER [TARGET ...]: shows progress on a terminal, elsewhere only what goes wrong.
build() {
    local folder=$1 target targets=() quiet=(--quiet)
    shift
    for target in "$@"; do targets+=(--target "$target"); done
    if [[ -t 1 ]]; then quiet=(); fi
    cmake --build "$folder" --parallel "$(compile_jobs)" "${targets[@]}" -- "${quiet[@]}"
}
