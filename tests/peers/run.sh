#!/usr/bin/env bash
# Plays privo-reconcile against servers that nobody of this project wrote; see README.md.
#
#   tests/peers/run.sh [--short] [--bin PATH] [--server NAME] [--operations N] [--seed N] [--keep]
#
# Exit code 0: no wrong verdict and no entry lost, or the servers cannot be installed here (it says so).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${PEERS_DIR:-${TMPDIR:-/tmp}/privo-reconcile-peers}

skip() {
  printf 'peers: skipped, %s\n' "$*"
  exit 0
}

bin=
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --bin) bin=$2; shift 2 ;;
    --bin=*) bin=${1#--bin=}; shift ;;
    *) arguments+=("$1"); shift ;;
  esac
done

command -v python3 >/dev/null || skip 'python3 is missing'
if [ -z "$bin" ]; then
  command -v cargo >/dev/null || { echo 'peers: name the command with --bin, or install Rust' >&2; exit 1; }
  target=${CARGO_TARGET_DIR:-$root/target}
  (cd "$root" && cargo build --quiet --locked --release --bin privo-reconcile)
  bin=$target/release/privo-reconcile
fi
[ -x "$bin" ] || { printf 'peers: %s is no command\n' "$bin" >&2; exit 1; }
bin=$(cd "$(dirname "$bin")" && pwd)/$(basename "$bin")

# Installed once for each list of packages.
stamp=$(python3 -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:16])' "$here/requirements.txt")
venv=$folder/$stamp
if [ ! -e "$venv/installed" ]; then
  mkdir -p "$folder"
  rm -rf "$venv"
  python3 -m venv "$venv" >/dev/null 2>&1 || skip 'python3 cannot make a virtual environment (is the package python3-venv there?)'
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --retries 1 --timeout 30 \
    -r "$here/requirements.txt" >"$folder/pip.log" 2>&1 || skip "the servers cannot be installed with pip (see $folder/pip.log)"
  touch "$venv/installed"
fi

export PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/play.py" --bin "$bin" --venv "$venv" ${arguments[@]+"${arguments[@]}"}
