#!/bin/sh
# The release is good when it answers its health check; the deployment stops here when it does not.
exec python3 - "$HELLO_PORT" <<'PY'
import sys, time, urllib.error, urllib.request

address = "http://127.0.0.1:%s/health" % sys.argv[1]
last = "no answer"
for _ in range(100):
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            print("healthy: %s" % answer.read().decode())
            sys.exit(0)
    except urllib.error.HTTPError as error:
        print("%s answers %s: %s" % (address, error.code, error.read().decode()))
        sys.exit(1)
    except OSError as error:
        last = error
        time.sleep(0.05)
print("%s does not answer: %s" % (address, last))
sys.exit(1)
PY
