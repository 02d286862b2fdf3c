"""Compress a wheel anew, in place, by zopfli: it looks longer for a short deflate stream than zlib does.

    python .ci/deflate.py WHEEL
"""

import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED

import zopfli


def main(wheel: Path) -> None:
    smaller = wheel.with_suffix(".part")
    with zopfli.ZipFile(wheel) as before, zopfli.ZipFile(smaller, "w", ZIP_DEFLATED) as after:
        for entry in before.infolist():
            after.writestr(entry, before.read(entry))
    smaller.replace(wheel)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
