#!/usr/bin/env bash
# What only a Mac with Apple silicon can show. Prints each step and keeps a transcript beside it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "$(uname -s)-$(uname -m)" != Darwin-arm64 ]; then
  {
    echo "error: this needs a Mac with Apple silicon, and this is $(uname -s) $(uname -m)"
    echo "  --> scripts/mac_acceptance.sh"
    echo "hint: elsewhere ./scripts/test and ./scripts/demo show what can be shown"
  } >&2
  exit 69
fi
folder="runs/mac-acceptance-$(date +%Y%m%d-%H%M%S)"
mkdir -p "$folder"
transcript="$folder/transcript.txt"

step() {
  echo
  echo "== $*"
  "$@"
}

acceptance() {
  step sw_vers
  step /usr/sbin/sysctl -n machdep.cpu.brand_string hw.memsize
  step scripts/setup
  step .venv/bin/mindprint doctor
  # Both backends against their oracles, and every device of this machine against the CPU.
  step .venv/bin/pytest tests/conformance
  step .venv/bin/mindprint demo --backend mlx --out "$folder/mlx"
  step .venv/bin/mindprint demo --backend torch --device mps --out "$folder/mps"
  # No bounds in half precision: how far the two frameworks are apart here is what is to be seen.
  step .venv/bin/mindprint compare "$folder/mlx" "$folder/mps" --out "$folder/compared"
  step .venv/bin/mindprint export "$folder/mlx" --to mlx "$folder/exported"
  step .venv/bin/mindprint runs "$folder"
  echo
  echo "== all steps passed"
}

# caffeinate: a sleeping display or a closed lid can end long work on the GPU.
export -f step acceptance
export folder
caffeinate -s bash -euo pipefail -c acceptance 2>&1 | tee "$transcript"
echo "transcript: $transcript"
