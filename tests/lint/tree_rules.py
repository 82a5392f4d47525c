"""The rules of the source tree that a compiler does not check.

check(files) takes {path: text} with paths relative to the root and returns one
line per violation. Every rule is a function of that shape, so that a test can
give it a few lines of bad code.
"""

import ast
import os
import re

MAX_LINES = 800
MAX_MAIN_LINES = 79

_SOURCE_SUFFIXES = (".cc", ".h", ".py", ".proto", ".bzl", ".sh", "BUILD")
_TEXT_SUFFIXES = _SOURCE_SUFFIXES + (".md", ".yaml", ".yml", ".json", ".toml", ".txt", ".service", ".cfg")
_LAYERS = ("core", "storage", "server", "client", "jobs")

_LIBTORCH = r"(ATen|torch|c10|caffe2)/"
_GRPC = r"grpc(pp|\+\+)?/"
_SOCKETS = r"(sys/socket|sys/un|netinet/|arpa/|netdb|httplib)"

# What no file of a folder includes: (pattern, what it is).
_FORBIDDEN_INCLUDES = {
    "core": [
        (r"(storage|server|client|jobs)/", "an upper layer"),
        (r"amend/|google/(protobuf|rpc)/", "protobuf"),
        (_GRPC, "gRPC"),
        (r"rocksdb/", "RocksDB"),
        (r"prometheus/", "prometheus"),
        (_SOCKETS, "sockets"),
        (r"absl/flags/|CLI/|gflags/", "flags"),
    ],
    "storage": [
        (r"(server|client|jobs)/", "an upper layer"),
        (_GRPC, "gRPC"),
        (r"amend/v1/|google/rpc/", "the API protos"),
        (r"prometheus/", "prometheus"),
        (_SOCKETS, "sockets"),
    ],
    "server": [
        (r"client/", "the client"),
        (r"jobs/", "a job"),
        (r"rocksdb/", "RocksDB"),
        (r"amend/storage/", "the storage protos"),
    ],
    "client": [
        (r"core/", "core"),
        (r"storage/|amend/storage/|rocksdb/", "storage"),
        (r"server/|prometheus/", "the server"),
        (r"jobs/", "a job"),
        (_LIBTORCH, "LibTorch"),
    ],
    "jobs": [
        (r"amend/storage/|rocksdb/", "what is behind storage"),
        (r"server/|prometheus/", "the server"),
        (r"client/", "the client"),
        (_GRPC, "gRPC"),
        (_SOCKETS, "sockets"),
        (_LIBTORCH, "LibTorch"),
    ],
}

# What the code of a folder does not do, its tests aside.
_FORBIDDEN_CODE = {
    "core": [
        (r"\bsystem_clock\b|\babsl::Now\b|\bgettimeofday\b|\btime\((nullptr|NULL|0)\)", "a wall clock"),
        (
            r"\bs?rand\(|\brandom_device\b|\babsl::(Insecure)?BitGen\b|\b(at|torch)::manual_seed\b",
            "global random state",
        ),
        # A loop on the calling thread unless the file is compiled with OpenMP: core/base/parallel.cc is.
        (r"\bat::parallel_for\((?!begin, end, grain, body\))", "at::parallel_for but ParallelFor"),
    ],
}

# What targets of a folder depend on: labels, or packages that end with "/".
_ALLOWED_DEPS = {
    "core": ["//core/", "absl", "cuda_runtime", "highway", "json", "libtorch", "openssl", "pcre2", "utf8proc"],
    "storage": [
        "//core/",
        "//proto/amend/storage/",
        "//storage/",
        "absl",
        "json",
        "libtorch",
        "openssl",
        "protobuf",
        "rocksdb",
    ],
    "server": [
        "//core/",
        "//proto/amend/v1/",
        "//server/",
        "//storage/",
        "//third_party/googleapis/",
        "//third_party/grpc_proto/",
        "absl",
        "cli11",
        "grpc",
        "grpc_reflection",
        "httplib",
        "json",
        "openssl",
        "prometheus",
        "protobuf",
    ],
    "client": [
        "//client/",
        "//proto/amend/v1/",
        "//third_party/googleapis/",
        "//third_party/grpc_proto/",
        "absl",
        "cli11",
        "grpc",
        "json",
        "openssl",
        "protobuf",
    ],
    "jobs": [
        "//core/",
        "//jobs/",
        "//proto/amend/v1/profile_proto/",
        "//storage/",
        "absl",
        "cli11",
        "json",
        "libzip",
        "protobuf",
    ],
}
_ALLOWED_TEST_DEPS = {
    "core": ["//tests/"],
    "storage": ["//tests/"],
    "server": ["//tests/", "libtorch"],
    "client": [],
    "jobs": ["//tests/"],
}
_TEST_LIBRARIES = ["benchmark", "gtest", "gtest_main"]


def _layer(path):
    first = path.split("/")[0]
    return first if first in _LAYERS else None


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _is_cc(path):
    return path.endswith((".cc", ".h"))


def _is_test_code(path):
    return "/testing/" in path or _stem(path).endswith(("_test", "_fuzz", "_benchmark"))


def _is_wiring(path):
    return _stem(path) in ("main", "wiring")


def _includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1)


def check_includes(files):
    """The table of who may use what, for #include."""
    for path, text in files.items():
        layer = _layer(path)
        if layer is None or not _is_cc(path):
            continue
        forbidden = list(_FORBIDDEN_INCLUDES[layer])
        if layer == "jobs" and not path.startswith("jobs/store/"):
            forbidden.append((r"storage/", "storage (jobs/store does)"))
        if layer == "server" and not _is_test_code(path):
            forbidden.append((_LIBTORCH, "numerics"))
            if not _is_wiring(path):
                forbidden.append((r"storage/rocksdb", "a storage implementation (main wires it)"))
        for number, include in _includes(text):
            for pattern, what in forbidden:
                if re.match(pattern, include):
                    yield f"{path}:{number}: {layer} does not use {what}: {include}"


def check_code(files):
    """The table of who may use what, for what needs no header of its own."""
    for path, text in files.items():
        if not _is_cc(path) or _is_test_code(path):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            code = line.split("//")[0]
            for pattern, what in _FORBIDDEN_CODE.get(_layer(path), []):
                if re.search(pattern, code):
                    yield f"{path}:{number}: {_layer(path)} does not use {what}: {line.strip()}"


def _rules(text):
    """Yields the calls of a BUILD file as (function, {keyword: node}, line)."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, {k.arg: k.value for k in node.keywords}, node.lineno


def _strings(node):
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _builds(files):
    return ((path, text) for path, text in files.items() if os.path.basename(path) == "BUILD")


def check_deps(files):
    """The table of who may use what, for deps in BUILD files."""
    for path, text in _builds(files):
        layer = _layer(path)
        if layer is None:
            continue
        for rule, attributes, line in _rules(text):
            allowed = list(_ALLOWED_DEPS[layer])
            if rule.endswith("_test") or "testonly" in attributes:
                allowed += _ALLOWED_TEST_DEPS[layer] + _TEST_LIBRARIES
            for dep in _strings(attributes["deps"]) if "deps" in attributes else []:
                if dep.startswith("//third_party:"):
                    known = dep[len("//third_party:") :] in allowed
                else:
                    known = not dep.startswith(("//", "@")) or any(
                        a.startswith("//") and (dep.replace(":", "/") + "/").startswith(a) for a in allowed
                    )
                if not known:
                    yield f"{path}:{line}: {rule} in {layer} does not depend on {dep}"


def check_visibility(files):
    """Every package says that its targets are private by default."""
    for path, text in _builds(files):
        if path.startswith("third_party/"):  # Its targets are the libraries for all.
            continue
        packages = [attributes for rule, attributes, _ in _rules(text) if rule == "package"]
        if not any(
            _strings(p["default_visibility"]) == ["//visibility:private"] for p in packages if "default_visibility" in p
        ):
            yield f'{path}:1: no package(default_visibility = ["//visibility:private"])'


def check_size(files):
    """A BUILD file may be long: it has one target per header of its folder."""
    for path, text in files.items():
        lines = text.count("\n")
        if path.endswith(_SOURCE_SUFFIXES) and os.path.basename(path) != "BUILD" and lines > MAX_LINES:
            yield f"{path}:{lines}: more than {MAX_LINES} lines"
        if os.path.basename(path) == "main.cc" and lines > MAX_MAIN_LINES:
            yield f"{path}:{lines}: more than {MAX_MAIN_LINES} lines in a main.cc"


def check_words(files):
    """No unfinished work, and no path of one machine."""
    unfinished = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")
    machine_path = re.compile(r"(?<![\w./~$}-])/(root|work|Users|home)/\w")
    for path, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if unfinished.search(line):
                yield f"{path}:{number}: unfinished: {line.strip()}"
            if machine_path.search(line):
                yield f"{path}:{number}: a path of one machine: {line.strip()}"


def check_header_guards(files):
    for path, text in files.items():
        if not path.endswith(".h"):
            continue
        guard = "AMEND_" + re.sub(r"[^A-Z0-9]", "_", path.upper()) + "_"
        if path.endswith("-inl.h") and f"#if defined({guard}) == defined(HWY_TARGET_TOGGLE)\n" in text:
            continue  # Highway's, which is read once for each instruction set
        if not re.search(rf"^#ifndef {guard}\n#define {guard}\n", text, re.MULTILINE):
            yield f"{path}:1: no header guard {guard}"


def check_tests(files):
    """Every source has a test beside it, and every test is built. Examples are run by tests/integration."""
    for path in files:
        if _layer(path) is None or not path.endswith(".cc") or "/examples/" in path:
            continue
        folder = os.path.dirname(path)
        if not _is_test_code(path) and _stem(path) != "main" and f"{folder}/{_stem(path)}_test.cc" not in files:
            yield f"{path}:1: no {_stem(path)}_test.cc beside it"
        if _stem(path).endswith("_test"):
            build = files.get(f"{folder}/BUILD", "")
            if f'"{os.path.basename(path)}"' not in build and "glob(" not in build:
                yield f"{path}:1: not in {folder}/BUILD"


CHECKS = [
    check_code,
    check_deps,
    check_header_guards,
    check_includes,
    check_size,
    check_tests,
    check_visibility,
    check_words,
]


def check(files):
    return sorted(line for rule in CHECKS for line in rule(files))


def read_tree(root):
    """Reads the text files below root that are ours: {relative path: text}."""
    files = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [
            f
            for f in folders
            if (not f.startswith(".") or f == ".ci") and not f.startswith("bazel-") and f != "__pycache__"
        ]
        for name in names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root)
            script = relative.startswith(("tools/", ".ci/")) and "." not in name
            if name.endswith(_TEXT_SUFFIXES) or script:
                with open(path, encoding="utf-8", errors="replace") as file:
                    files[relative] = file.read()
    return files
