# shellcheck shell=bash disable=SC2154
# Shared by deploy/demo and tests/run; sourced. Each step runs in a process group of its own, so that an interrupt can
# end it whole; nothing reads the terminal.

ready_to_build() { # packages and tools that cargo needs
  "$root/deploy/lab/install" --also gcc libc6-dev make pkg-config git "$@" || return 1
  if ! command -v cargo > /dev/null && [ -s "$HOME/.cargo/env" ]; then
    # shellcheck disable=SC1091
    . "$HOME/.cargo/env"
  fi
  command -v cargo > /dev/null || { echo "no cargo on the PATH: install a Rust toolchain (https://rustup.rs)" >&2; return 1; }
}

STEP=
# messages of an interrupt go here, because a step's output may be redirected when it comes; steps do not inherit it
exec 3>&2
# alone COMMAND...: in the background with its own process group, waited for; an interrupt of this script ends it
alone() {
  local code=0
  set -m
  "$@" < /dev/null 3>&- &
  STEP=$!
  set +m
  wait "$STEP" || code=$?
  STEP=
  return $code
}

end_step() {
  if [ -n "$STEP" ]; then
    kill -TERM -- "-$STEP" 2> /dev/null || true
    for _ in $(seq 1 40); do kill -0 -- "-$STEP" 2> /dev/null || break; sleep 0.05; done
    kill -KILL -- "-$STEP" 2> /dev/null || true
    STEP=
  fi
}
