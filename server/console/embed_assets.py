#!/usr/bin/env python3
"""Writes the C++ source that holds files as text: embed_assets.py FILE... prints it.

For a file "console.css" it defines the function ConsoleCss() of console_assets.h.
"""

import os
import sys

_DELIMITER = "AMEND_ASSET"


def function_name(path):
    return "".join(part.capitalize() for part in os.path.basename(path).split("."))


def main(paths):
    print('#include "server/console/console_assets.h"\n\nnamespace amend {')
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if f"){_DELIMITER}" in text:
            sys.exit(f"{path} holds the delimiter {_DELIMITER}")
        print(f'\nabsl::string_view {function_name(path)}() {{\n  return R"{_DELIMITER}({text}){_DELIMITER}";\n}}')
    print("\n}  // namespace amend")


if __name__ == "__main__":
    main(sys.argv[1:])
