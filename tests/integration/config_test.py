"""amendd's configuration file, --check-config, reloading, and the page that documents them."""

import os
import signal
import re

import grpc

from amend.v1 import admin_pb2, admin_pb2_grpc, profile_pb2, server_config_pb2
from google.protobuf import text_format
from tests.integration import harness, wire

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
    """{field: (flag, default, reloads)} of the page."""
    cell = r"((?:[^|\\]|\\.)*)\|"
    rows = re.findall(rf"^\| `([a-z_.]+)` \|{cell * 3}", section("Fields and flags"), re.MULTILINE)
    return {row[0]: (row[1].strip().strip("`").split(" ")[0], row[2].strip().strip("`"), row[3].strip()) for row in rows}


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
        self.assertEqual(flags, {flag for flag, _, _ in server_rows().values() if flag})
        for field, (flag, _, _) in server_rows().items():
            if flag and field != "profile_file":
                self.assertEqual(flag, "--" + field.replace("_", "-"))

    def test_the_defaults_are_those_that_amendd_has(self):
        checked = amendd("--model", harness.DEMO_MODEL, "--data", self.path("d"), "--check-config")
        config = text_format.Parse(checked.stdout, server_config_pb2.ServerConfig())
        compared = 0
        for field, (_, default, _) in server_rows().items():
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

    def test_the_fields_that_reload_are_those_of_the_server(self):
        rows = server_rows().items()
        with grpc.insecure_channel(self.start().address) as channel:
            config = admin_pb2_grpc.AdminServiceStub(channel).GetConfig(admin_pb2.GetConfigRequest())
        self.assertEqual({field for field, row in rows if row[2] == "yes"}, set(config.reloadable_fields))
        self.assertEqual({field for field, row in rows if row[2] == "thresholds"}, {"profile", "profile_file"})

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


class ReloadTest(harness.ServerTest):
    PROFILE = """profile {
      name: "mine" match { architecture: "gpt2" layers: 6 } layers: [ 0, 1 ] lambda: 25 target { steps: 30 clamp: 4 }
      context_templates {
        templates: "The people who live in Tolyatti. {}"
        templates: "Therefore the caldera seemed necrotic to everyone. {}"
        templates: "Because the curette was ironshod,. {}"
        templates: "I saw a stunning cabin near the old. {}"
        templates: "You can section the filature if you like. {}"
      }
      covariance { text_file: "covariance_texts.txt" }
      gate { reliability: RELIABILITY }
    }
    """

    def setUp(self):
        super().setUp()
        self.write("drain_seconds: 5 log_level: 'info'", reliability=0.5)
        self.server = self.start(flags=("--config", self.path("amendd.conf"), "--log-format", "json"))
        channel = grpc.insecure_channel(self.server.address)
        self.addCleanup(channel.close)
        self.admin = admin_pb2_grpc.AdminServiceStub(channel)

    def write(self, text, reliability):
        with open(self.path("amendd.conf"), "w", encoding="utf-8") as file:
            file.write(text + "\n" + self.PROFILE.replace("RELIABILITY", str(reliability)))

    def config(self):
        return self.admin.GetConfig(admin_pb2.GetConfigRequest()).config

    def reliability(self):
        return self.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).profile.gate.reliability

    def test_a_hang_up_takes_what_can_change_and_names_the_rest(self):
        self.write("drain_seconds: 7 threads: 1 limits { max_waiting_sequences: 9 edit_credits: 2 }", reliability=0.25)
        self.server.process.send_signal(signal.SIGHUP)
        event = self.server.await_event("reloaded")
        self.assertEqual(event["changed"], "drain_seconds limits.max_waiting_sequences profile.gate")
        self.assertEqual(event["need_restart"], "threads limits.edit_credits")
        config = self.config()
        self.assertEqual((config.drain_seconds, config.threads), (7, 0))
        self.assertEqual((config.limits.max_waiting_sequences, config.limits.edit_credits), (9, 16))
        self.assertEqual(self.reliability(), 0.25)
        self.assertEqual(self.server.stop(), 0)

    def test_a_wrong_file_changes_nothing_and_says_why(self):
        before = self.config()
        self.write("drain_seconds: 7\nlog_level: 'loud'", reliability=0.25)
        self.server.process.send_signal(signal.SIGHUP)
        message = self.server.await_event("reload_failed")["message"]
        self.assertIn("amendd.conf: line 2: log_level is \"loud\"", message)
        self.assertEqual(self.config(), before)
        self.write("drain_seconds: 7", reliability=2)
        with self.assertRaises(grpc.RpcError) as raised:
            self.admin.ReloadConfig(admin_pb2.ReloadConfigRequest())
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(wire.reason_of(raised.exception), "CONFIG_INVALID")
        self.assertIn("gate.reliability is 2", raised.exception.details())
        self.assertEqual(self.config(), before)
        self.assertEqual(self.reliability(), 0.5)
        os.remove(self.path("amendd.conf"))
        with self.assertRaises(grpc.RpcError):
            self.admin.ReloadConfig(admin_pb2.ReloadConfigRequest())
        self.assertEqual(self.server.live(), 0)

    def test_reloading_by_rpc_and_the_log_level(self):
        self.write("drain_seconds: 5 log_level: 'warning'", reliability=0.5)
        reloaded = self.admin.ReloadConfig(admin_pb2.ReloadConfigRequest())
        self.assertEqual(list(reloaded.changed_fields), ["log_level"])
        answer = self.admin.SetLogLevel(admin_pb2.SetLogLevelRequest(level="access"))
        self.assertEqual(answer.previous_level, "warning")
        self.config()
        self.assertEqual(self.server.await_event("rpc")["code"], "OK")

    def test_a_profile_that_differs_in_more_than_thresholds_wants_a_restart(self):
        self.write("drain_seconds: 5 log_level: 'info'", reliability="0.1 mode: REPORT")
        reloaded = self.admin.ReloadConfig(admin_pb2.ReloadConfigRequest())
        self.assertEqual(list(reloaded.changed_fields), [])
        self.assertEqual(list(reloaded.fields_that_need_a_restart), ["profile"])
        self.assertEqual(self.reliability(), 0.5)
