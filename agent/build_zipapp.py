#!/usr/bin/env python3
"""Makes one executable file of the agent: `python build_zipapp.py [OUTPUT]` (default dist/penstock-agent.pyz).

The file runs on any Python from 3.8 on. It is the same, byte for byte, when it is made again from the same source.
"""

import os
import stat
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHEBANG = b"#!/usr/bin/env python3\n"
MAIN = "import sys\nfrom penstock_agent.cli import main\nsys.exit(main())\n"
MOMENT = (2020, 1, 1, 0, 0, 0)


def build(output: Path) -> None:
    """Write the archive to `output`."""
    package = HERE / "src" / "penstock_agent"
    files = sorted(
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix in (".py", "") and "__pycache__" not in path.parts
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".writing")
    with temporary.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            contents = [("__main__.py", MAIN.encode("utf-8"))]
            contents += [(str(path.relative_to(HERE / "src")), path.read_bytes()) for path in files]
            for name, data in contents:
                info = zipfile.ZipInfo(name, MOMENT)
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                info.create_system = 3
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
    temporary.chmod(0o755)
    os.replace(str(temporary), str(output))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "dist" / "penstock-agent.pyz"
    build(target)
    print("%s (%d bytes)" % (target, target.stat().st_size))
