#!/bin/sh
# Stops the running release, if there is one, and waits until its port is free.
set -eu
pid_file="$PENSTOCK_INSTALL_ROOT/run/hello-web.pid"
[ -f "$pid_file" ] || { echo "nothing runs yet"; exit 0; }
pid=$(cat "$pid_file")
if kill -TERM "$pid" 2>/dev/null; then
  tries=0
  while kill -0 "$pid" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { kill -KILL "$pid"; break; }
    sleep 0.05
  done
  echo "stopped process $pid"
fi
rm -f "$pid_file"
