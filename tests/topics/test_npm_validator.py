"""The signatures of messages, held against by the validator that AWS gives receivers in JavaScript: `sns-validator` of npm."""

import http.server
import json
import os
import shutil
import ssl
import subprocess
import threading
import urllib.request

import pytest
from penstock_live import live_server
from penstock_topics import LOOPBACK
from penstock_waiting import until

PACKAGE = "sns-validator@0.3.5"
PROGRAM = """
const Validator = require("sns-validator");
const messages = JSON.parse(require("fs").readFileSync(0));
const validator = new Validator(/^127[.]0[.]0[.]1:[0-9]+$/);
const verdicts = [];
const next = () => {
  const message = messages.shift();
  if (!message) return console.log(JSON.stringify(verdicts));
  validator.validate(message, (error) => { verdicts.push(error ? error.message : "valid"); next(); });
};
next();
"""


@pytest.mark.prove  # installs a package from npm's registry
@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")
def test_the_validator_of_npm_accepts_what_is_sent_and_nothing_that_was_changed(tmp_path):
    heard = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True).start()
    program = tmp_path / "validate.js"
    program.write_text(PROGRAM)
    subprocess.run(["npm", "install", "--silent", "--no-audit", PACKAGE], cwd=tmp_path, check=True, timeout=200)  # noqa: S607
    try:
        with live_server(tmp_path / "data", tls=True, host="127.0.0.1", components=(LOOPBACK,)) as live:
            ca, sns = live.running_app.ca_file, live.client("sns")
            for version in ("1", "2"):
                arn = sns.create_topic(Name=f"v{version}", Attributes={"SignatureVersion": version})["TopicArn"]
                sns.subscribe(
                    TopicArn=arn, Protocol="http", Endpoint=f"http://127.0.0.1:{receiver.server_port}/{version}"
                )
                asked = until(lambda arn=arn: next((one for one in heard if one["TopicArn"] == arn), None))
                trusted = ssl.create_default_context(cafile=str(ca))
                with urllib.request.urlopen(asked["SubscribeURL"], context=trusted):
                    pass
                sns.publish(TopicArn=arn, Message="Grüße\nzwei Zeilen", Subject="A subject")
                sns.publish(TopicArn=arn, Message="without a subject")
            until(lambda: len(heard) == 6)
            given = [*heard, heard[1] | {"Message": "another"}, heard[4] | {"Subject": "another"}]
            done = subprocess.run(
                ["node", str(program)], input=json.dumps(given), env={**os.environ, "NODE_EXTRA_CA_CERTS": str(ca)}, cwd=tmp_path,
                capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
    finally:
        receiver.shutdown()
        receiver.server_close()
    assert sorted(one["SignatureVersion"] for one in heard) == ["1"] * 3 + ["2"] * 3
    *good, first, second = json.loads(done.stdout)
    assert good == ["valid"] * 6
    assert "valid" not in (first, second)
