"""Write what is in an image as a CycloneDX file: its Python packages, and the packages of the system below them.

python bill.py NAME VERSION /path/to/the/images/python FILE
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

_DPKG = Path("/var/lib/dpkg/status")


def main() -> None:
    """Do it."""
    name, version, python, file = sys.argv[1:]
    generator = Path(sys.executable).with_name("cyclonedx-py")
    command = [str(generator), "environment", "--output-reproducible", "--of", "JSON", python]
    bill = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)
    bill["components"] += system_packages()
    bill["metadata"]["component"] = {"type": "container", "name": name, "version": version, "bom-ref": name}
    Path(file).write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")


def system_packages() -> list[dict[str, Any]]:
    """Return the Debian packages of the base image; none if it is of another kind."""
    if not _DPKG.is_file():
        return []
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE))
    found = []
    for paragraph in _DPKG.read_text().split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") != "install ok installed":
            continue
        package, version = fields["Package"], fields["Version"]
        purl = f"pkg:deb/{system['ID']}/{package}@{quote(version)}?arch={fields['Architecture']}"
        found.append({"type": "library", "name": package, "version": version, "purl": purl, "bom-ref": purl})
    return found


if __name__ == "__main__":
    main()
