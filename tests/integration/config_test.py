"""amendd's configuration file, --check-config, and the page that documents both."""

import os
import re

import grpc

from amend.v1 import admin_pb2, admin_pb2_grpc, profile_pb2, server_config_pb2
from google.protobuf import text_format
from tests.integration import harness

_PAGE = "docs/configuration.md"


def amendd(*arguments):
    return harness.run([harness.AMENDD, *arguments])


def leaves(descriptor, prefix=""):
    """The paths of all fields that have a value; a profile within another message counts as one."""
    for field in descriptor.fields:
        nested = field.message_type
        if nested is None or nested.full_name == "amend.v1.Profile":
            yield prefix + field.name
        else:
            yield from leaves(nested, f"{prefix}{field.name}.")


def section(heading):
    """What follows the heading, up to the next one."""
    with open(_PAGE, encoding="utf-8") as file:
        return re.search(rf"^## {heading}$(.*?)(?=^##|\Z)", file.read(), re.MULTILINE | re.DOTALL).group(1)


def server_rows():
    """{field: (flag, default)} of the page."""
    cell = r"((?:[^|\\]|\\.)*)"
    rows = re.findall(rf"^\| `([a-z_.]+)` \|{cell}\|{cell}\|", section("Fields and flags"), re.MULTILINE)
    return {field: (flag.strip().strip("`").split(" ")[0], default.strip().strip("`")) for field, flag, default in rows}


def profile_rows():
    """The fields of the page's table of a profile; `.layers` begins as the field before it does."""
    fields = []
    for row in re.findall(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \|", section("Profiles"), re.MULTILINE):
        for name in re.findall(r"`([a-z_.]+)`", row):
            fields.append(fields[-1].rpartition(".")[0] + name if name.startswith(".") else name)
    return fields


class PageTest(harness.ServerTest):
    def test_every_field_has_a_row_and_every_row_a_field(self):
        self.assertEqual(sorted(server_rows()), sorted(leaves(server_config_pb2.ServerConfig.DESCRIPTOR)))

    def test_every_flag_is_a_field_and_stands_in_its_row(self):
        usage = amendd("--help").stdout
        flags = set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", usage, re.MULTILINE))
        flags -= {"--help", "--version", "--config", "--check-config"}
        self.assertEqual(flags, {flag for flag, _ in server_rows().values() if flag})
        for field, (flag, _) in server_rows().items():
            if flag and field != "profile_file":
                self.assertEqual(flag, "--" + field.replace("_", "-"))

    def test_the_defaults_are_those_that_amendd_has(self):
        checked = amendd("--model", harness.DEMO_MODEL, "--data", self.path("d"), "--check-config")
        config = text_format.Parse(checked.stdout, server_config_pb2.ServerConfig())
        compared = 0
        for field, (_, default) in server_rows().items():
            *path, name = field.split(".")
            message = config
            for part in path:
                message = getattr(message, part)
            if field in ("model", "data") or not message.HasField(name):
                continue
            value = getattr(message, name)
            text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if value == 0 else str(value)
            self.assertEqual(default, text.removesuffix(".0"), field)
            compared += 1
        self.assertGreater(compared, 20)

    def test_every_field_of_a_profile_has_a_row_and_every_row_a_field(self):
        self.assertEqual(sorted(profile_rows()), sorted(leaves(profile_pb2.Profile.DESCRIPTOR)))

    def test_the_example_is_a_configuration(self):
        (example,) = re.findall(r"^```\n(model: .*?)^```", open(_PAGE, encoding="utf-8").read(), re.MULTILINE | re.DOTALL)
        text_format.Parse(example, server_config_pb2.ServerConfig())


class FileTest(harness.ServerTest):
    def write(self, text):
        path = self.path("amendd.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def check(self, text, *flags):
        return amendd("--config", self.write(text), "--check-config", *flags)

    def paths(self):
        return f'model: "{harness.DEMO_MODEL}"\ndata: "{self.path("data")}"\n'

    def test_a_server_runs_on_a_file_alone(self):
        config = self.write(self.paths() + 'listen: "127.0.0.1:0"\nhttp: "127.0.0.1:0"\nlimits { edit_credits: 3 }\n')
        server = self.start(flags=("--config", config))
        with grpc.insecure_channel(server.address) as channel:
            info = admin_pb2_grpc.AdminServiceStub(channel).GetServerInfo(admin_pb2.GetServerInfoRequest())
        self.assertEqual(info.limits.edit_credits, 3)
        self.assertEqual(server.stop(), 0)

    def test_flags_win(self):
        checked = self.check(self.paths() + "threads: 2\ndecode_threads: 2", "--threads", "3")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        config = text_format.Parse(checked.stdout, server_config_pb2.ServerConfig())
        self.assertEqual((config.threads, config.decode_threads), (3, 2))

    def test_what_a_check_prints_is_the_same_configuration(self):
        first = self.check(self.paths() + "keep_seconds: 7.5")
        again = self.check(first.stdout)
        self.assertEqual(again.stdout, first.stdout)
        self.assertIn("keep_seconds: 7.5", first.stdout)

    def test_a_check_says_what_would_be_done_and_does_nothing(self):
        checked = self.check(self.paths())
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn("# amendd would serve the model demo (gpt2, 6 layers", checked.stdout)
        self.assertFalse(os.path.exists(self.path("data")))

    def test_a_check_does_not_disturb_a_server_that_runs(self):
        server = self.start()
        checked = amendd(*server.command[1:], "--check-config")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual(server.live(), 0)

    def test_what_is_wrong_in_the_file_is_named_with_line_field_and_value(self):
        for text, said in [
            ("drain_secs: 3\n", ["line 3", "drain_secs"]),
            ("\ndrain_seconds: 3601\n", ["line 4", "drain_seconds is 3601", "3600"]),
            ('listen: "nowhere"\n', ["line 3", "listen", '"nowhere"']),
            ("drain-seconds=3\n", ["line 3"]),
        ]:
            for check in (["--check-config"], ["--check_config"], []):
                ended = amendd("--config", self.write(self.paths() + text), *check)
                self.assertEqual(ended.returncode, 2, text)
                (line,) = ended.stderr.splitlines()
                for part in [self.path("amendd.conf"), *said]:
                    self.assertIn(part, line)

    def test_what_would_keep_a_server_from_starting_is_found_too(self):
        ended = self.check(self.paths(), "--model", self.path("no-model"))
        self.assertEqual(ended.returncode, 1)
        self.assertIn(self.path("no-model"), ended.stderr)
        ended = self.check(self.paths() + "profile { layers: 99 lambda: 1 covariance { text_file: 'x' } }")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("amendd.conf: profile: layers[0] is 99", ended.stderr)

    def test_a_profile_can_be_written_in_the_file(self):
        profile = "profile { name: 'mine' layers: 0 lambda: 25 covariance { text_file: 'covariance_texts.txt' } }"
        self.assertIn('with the profile "mine"', self.check(self.paths() + profile).stdout)
