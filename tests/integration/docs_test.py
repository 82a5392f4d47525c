"""README and docs/: links lead somewhere, and what a reader is told to type exists.

Commands are not run but read: programs, subcommands and flags are looked up in
the programs' own --help, paths and Bazel targets in the tree, RPCs in the protos.
"""

import functools
import glob
import os
import re
import shlex
import unittest

import grpc

from tests.integration import harness

# Reached through the runfiles, whose links lead back to the tree itself.
ROOT = os.path.dirname(os.path.realpath("WORKSPACE"))
PAGES = [
    os.path.relpath(path, ROOT)
    for pattern in ("*.md", "docs/**/*.md", "client/python/*.md", "models/*/*.md", "tests/testdata/*.md")
    for path in glob.glob(os.path.join(ROOT, pattern), recursive=True)
]
_PROGRAMS = {"amend": harness.AMEND, "amendd": harness.AMENDD}


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def without_code(page):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))


def anchors(page):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in plain}


def blocks(page):
    """The fenced and the indented blocks."""
    yield from re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for block in re.findall(r"(?:^ {4,}\S.*\n)+", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), re.MULTILINE):
        yield re.sub(r"^    ", "", block, flags=re.MULTILINE)


def commands(page):
    """The lines to type: those behind "$ " where a block has such, else all of it. Each may go over several lines."""
    for block in blocks(page):
        block = block.replace("\\\n", " ")
        lines = re.findall(r"^\$ (.*)$", block, re.MULTILINE) or block.splitlines()
        for line in lines:
            yield re.sub(r"\s+#\s.*$", "", line).strip()


def words_of(command):
    """[program, ...] of a command of ours, else None."""
    match = re.match(r"(?:bazel-bin/\S+/)?(amendd?) (?!\S*:( |$))", command)
    if match is None or "..." in command.split("#")[0] or "[" in command:
        return None
    words = shlex.split(re.split(r"\s[&|>;]", command)[0])
    return [match.group(1)] + words[1:]


@functools.lru_cache(maxsize=None)
def help_of(*words):
    result = harness.run([_PROGRAMS[words[0]], *words[1:], "--help"])
    return result.stdout if result.returncode == 0 else ""


def has_word(name, page):
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page) is not None


def unknown_words(words):
    """Subcommands and flags that the program does not have."""
    path, pages = [words[0]], [help_of(words[0])]
    for word in words[1:]:
        listed = re.search(r"^Subcommands:\n(.*?)(?:\n\n|\Z)", pages[-1], re.MULTILINE | re.DOTALL)
        if not word.startswith("-") and listed and re.search(rf"^  {re.escape(word)}( |$)", listed.group(1), re.M):
            path.append(word)
            pages.append(help_of(*path))
    if words[0] == "amend" and len(path) == 1 and not any(w in ("--help", "--version") for w in words):
        yield "a subcommand"
    for word in words[1:]:
        flag = word.split("=")[0]
        if flag.startswith("--") and not any(has_word(flag, page) for page in pages):
            yield flag


class DocsTest(unittest.TestCase):
    def test_the_pages_were_found(self):
        self.assertIn("README.md", PAGES)
        self.assertIn("docs/cli.md", PAGES)

    def test_every_link_leads_somewhere(self):
        broken = []
        for path in PAGES:
            page = text(path)
            for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
                target, _, anchor = link.partition("#")
                if re.match(r"\w+:", link):
                    continue
                there = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
                if not os.path.exists(os.path.join(ROOT, there)):
                    broken.append(f"{path}: {link}")
                elif anchor and there.endswith(".md") and anchor not in anchors(text(there)):
                    broken.append(f"{path}: {link}: no such heading")
        self.assertEqual(broken, [])

    def test_our_programs_have_what_the_pages_use(self):
        wrong, seen = [], 0
        for path in PAGES:
            for command in commands(text(path)):
                words = words_of(command)
                if words is not None:
                    seen += 1
                    wrong += [f"{path}: no {unknown}: {command}" for unknown in unknown_words(words)]
        self.assertEqual(wrong, [])
        self.assertGreater(seen, 10)

    def test_every_flag_of_amendd_is_documented(self):
        flags = re.findall(r"^  (?:-\w,)?(--[\w-]+)", help_of("amendd"), re.MULTILINE)
        self.assertIn("--kv-cache-mib", flags)
        page = text("docs/configuration.md")
        self.assertEqual([flag for flag in flags if not has_word(flag, page)], [])

    def test_tools_and_targets_are_there(self):
        wrong = []
        for path in PAGES:
            for command in commands(text(path)):
                for tool in re.findall(r"(?<![\w/.-])(?:tools|client/python)/[\w./-]+\b", command):
                    if not os.path.exists(os.path.join(ROOT, tool)):
                        wrong.append(f"{path}: {tool}")
                for package, name in re.findall(r"(?<![\w:])//([\w/]+):([\w-]+)", command):
                    build = os.path.join(ROOT, package, "BUILD")
                    if not os.path.exists(build) or (name != "all" and f'"{name}"' not in text(f"{package}/BUILD")):
                        wrong.append(f"{path}: //{package}:{name}")
        self.assertEqual(wrong, [])

    def test_the_rpcs_are_there(self):
        protos = "".join(text(f"proto/amend/v1/{name}.proto") for name in ("edit", "generation", "revision", "admin"))
        wrong = []
        for path in PAGES:
            for service, method in re.findall(r"amend\.v1\.(\w+Service)[/.](\w+)", text(path)):
                if f"service {service} " not in protos or f"rpc {method}(" not in protos:
                    wrong.append(f"{path}: {service}/{method}")
        self.assertEqual(wrong, [])


def error_rows():
    """(codes, reasons, when) of each row of the table of errors."""
    for row in re.findall(r"^\| (`[A-Z_`, ]+`) \|([^|]*)\|([^|]*)\|", text("docs/error_codes.md"), re.MULTILINE):
        yield re.findall(r"`(\w+)`", row[0]), re.findall(r"`(\w+)`", row[1]), row[2].strip()


def reasons_of(source):
    """What is given to WithReason, and whatever else is written like a reason."""
    code = re.sub(r"//.*", "", source)
    found = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', code))
    for start in re.finditer(r"\bWithReason\(", code):
        depth, end = 1, start.end()
        while depth > 0 and end < len(code):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        found |= set(re.findall(r'"([A-Z]{2,})"', code[start.end() : end]))
    return found


class ErrorCodesTest(unittest.TestCase):
    def test_every_reason_has_a_row_and_no_row_is_stale(self):
        sources = glob.glob(os.path.join(ROOT, "server/**/*.cc"), recursive=True)
        in_code = set()
        for path in sources:
            if not path.endswith("_test.cc") and "/testing/" not in path:
                with open(path, encoding="utf-8") as file:
                    in_code |= reasons_of(file.read())
        in_code -= {code.name for code in grpc.StatusCode}
        self.assertIn("DRAINING", in_code)
        page = text("docs/error_codes.md").partition("A server that cannot start")
        listed = {reason for _, reasons, _ in error_rows() for reason in reasons}
        # Of a start that fails, told in the text behind the table.
        listed |= set(re.findall(r"`([A-Z]+_[A-Z_]+)`", page[1] + page[2]))
        self.assertEqual(sorted(in_code - listed), [])
        self.assertEqual(sorted(listed - in_code), [])

    def test_every_row_has_a_code_of_grpc_and_says_when(self):
        rows = list(error_rows())
        self.assertGreater(len(rows), 40)
        known = {code.name for code in grpc.StatusCode}
        self.assertEqual([(codes, reasons) for codes, reasons, when in rows if not set(codes) <= known or not when], [])

    def test_reasons_are_found_where_they_are_given(self):
        source = 'WithReason(absl::InternalError(StrCat("A", f("x"))), "ONE"); Refuse("TWO_WORDS"); // "NOT_THIS"'
        self.assertEqual(reasons_of(source), {"ONE", "TWO_WORDS"})


class ReadingTest(unittest.TestCase):
    """The reader of pages finds what is wrong."""

    def test_commands_of_a_block(self):
        self.assertEqual(list(commands("```\n$ amend status   # now\nlive 3\n```\n")), ["amend status"])
        self.assertEqual(list(commands("    amend export \\\n      --out x\n")), ["amend export    --out x"])

    def test_an_unknown_flag_or_subcommand(self):
        self.assertEqual(list(unknown_words(["amend", "edit", "--file", "x", "--nonsense=3"])), ["--nonsense"])
        self.assertEqual(list(unknown_words(["amend", "nonsense"])), ["a subcommand"])
        self.assertEqual(list(unknown_words(["amend", "store", "backup"])), [])

    def test_what_is_output_is_no_command(self):
        self.assertIsNone(words_of("amendd ready: grpc 127.0.0.1:50051"))
        self.assertIsNone(words_of("amend covariance: stopped after 8205 tokens"))
