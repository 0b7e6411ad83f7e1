"""What the build checks before it packs a release."""

import json
import unittest
from pathlib import Path

WEB = Path(__file__).resolve().parent.parent / "web"


class Release(unittest.TestCase):
    def test_the_page_shows_what_runs(self):
        page = (WEB / "index.html").read_text()
        for placeholder in ("{{version}}", "{{host}}", "{{commit}}"):
            self.assertIn(placeholder, page)

    def test_the_release_names_version_and_commit(self):
        release = json.loads((WEB / "release.json").read_text())
        self.assertTrue(release["version"])
        self.assertTrue(release["commit"])


if __name__ == "__main__":
    unittest.main()
