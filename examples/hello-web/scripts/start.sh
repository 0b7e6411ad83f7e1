#!/bin/sh
# Starts the new release in the background; HELLO_PORT and HELLO_HOST come from the agent's configuration.
set -eu
mkdir -p "$PENSTOCK_INSTALL_ROOT/run" "$PENSTOCK_INSTALL_ROOT/var/log"
cd "$PENSTOCK_INSTALL_ROOT/srv/hello-web"
setsid python3 server.py "$HELLO_PORT" >>"$PENSTOCK_INSTALL_ROOT/var/log/hello-web.log" 2>&1 </dev/null &
echo $! >"$PENSTOCK_INSTALL_ROOT/run/hello-web.pid"
echo "started process $! on port $HELLO_PORT"
