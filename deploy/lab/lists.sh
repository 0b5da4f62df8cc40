# shellcheck shell=bash disable=SC2154
# The web server that certificates name as the place of their revocation lists. Sourced after settings.sh.

lists_start() {
  mkdir -p "$LAB/lists"
  setsid "$PYTHON" -m http.server "$LISTS_PORT" --bind "$LISTS_IP" --directory "$PKI/lists" > "$LAB/lists/log" 2>&1 < /dev/null &
  record "$LAB/lists/lab.pid" $!
  for _ in $(seq 1 100); do
    if curl -fsS --max-time 2 -o /dev/null "http://$LISTS_IP:$LISTS_PORT/good.crl" 2> /dev/null; then return 0; fi
    sleep 0.05
  done
  echo "lab: nobody serves revocation lists on $LISTS_IP" >&2
  return 1
}

lists_stop() { stop_recorded "$LAB/lists/lab.pid"; }
