"""docs/security.md does what it says: its commands are run as written, in an empty folder."""

import os
import re
import shlex
import shutil
import subprocess

from tests.integration import harness

_PAGE = os.path.abspath("docs/security.md")


def blocks(language):
    with open(_PAGE, encoding="utf-8") as file:
        return re.findall(rf"^```{language}\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL)


def addresses(text):
    """The page's ports, which the machine may not have free, for those of the server."""
    return lambda server: text.replace("localhost:50051", server.address).replace("localhost:50052", server.admin)


class SecureItTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.certificates, self.policy, self.serve, self.use = blocks("bash")
        self.work = self.path("work")
        os.mkdir(self.work)
        os.mkdir(self.path("bin"))
        os.symlink(harness.AMEND, self.path("bin/amend"))
        os.symlink(harness.AMENDD, self.path("bin/amendd"))
        os.makedirs(os.path.join(self.work, "models"))
        os.symlink(harness.DEMO_MODEL, os.path.join(self.work, "models/demo"))

    def bash(self, script):
        """What a block prints; each of its commands has to succeed."""
        environment = {**os.environ, "PATH": self.path("bin") + ":" + os.environ["PATH"]}
        ended = harness.run(["bash", "-euo", "pipefail", "-c", script], cwd=self.work, env=environment)
        self.assertEqual(ended.returncode, 0, f"{script}\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def start_as_written(self):
        """The page's server, on free ports."""
        self.bash(self.certificates)
        self.bash(self.policy)
        words = shlex.split(self.serve.replace("\\\n", " "))
        self.assertEqual(words[0], "amendd")
        for flag, port in (("--listen", "50051"), ("--admin-listen", "50052")):
            place = words.index(flag) + 1
            self.assertTrue(words[place].endswith(":" + port), words[place])
            words[place] = words[place][: -len(port)] + "0"
        server = harness.Amendd("data")
        server.command = [self.path("bin/amendd"), *words[1:], "--http", "127.0.0.1:0"]
        self.start_in(server)
        return server

    def start_in(self, server):
        server.process = subprocess.Popen(
            server.command, stdout=subprocess.PIPE, stderr=server.log, text=True, cwd=self.work
        )
        self.addCleanup(harness.end_quietly, server)
        server.wait_ready()
        server.admin = "localhost:" + re.search(r"admin \S+:(\d+),", server.ready_line).group(1)
        server.address = "localhost:" + server.address.rpartition(":")[2]

    def test_the_page_from_top_to_bottom(self):
        server = self.start_as_written()
        output = self.bash(addresses(self.use)(server))
        self.assertIn("live as revision 1", output)
        self.assertIn("Bangui", output)
        audit = [line for line in output.splitlines() if "rollback" in line and "only an example" in line]
        self.assertTrue(any("operator" in line for line in audit), output)
        (example,) = blocks("python")
        printed = self.python(addresses(example)(server))
        self.assertIn("Slovenia", printed)
        self.assertEqual(self.mode("reader.token"), 0o600)

    def python(self, text):
        paths = os.pathsep.join(os.path.abspath(p) for p in ("client/python", "third_party/googleapis"))
        environment = {**os.environ, "PYTHONPATH": paths}
        ended = harness.run(["/usr/bin/python3", "-c", text], cwd=self.work, env=environment)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout

    def mode(self, name):
        return os.stat(os.path.join(self.work, name)).st_mode & 0o777

    def test_the_command_line_client_says_what_it_lacks(self):
        server = self.start_as_written()
        shutil.copy(os.path.join(self.work, "ca.pem"), self.path("ca.pem"))
        secure = ["--ca", os.path.join(self.work, "ca.pem")]
        reader = ["--token-file", os.path.join(self.work, "reader.token")]
        for flags, code, said in [
            ([], 3, "cannot reach"),
            (secure, 4, "CREDENTIALS_MISSING"),
            ([*secure, *reader], 4, "ROLE_MISSING"),
            ([*secure, "--token-file", "/no/such/token"], 2, "/no/such/token"),
        ]:
            ended = harness.run([harness.AMEND, "--server", server.address, *flags, "promote", "0"])
            self.assertEqual(ended.returncode, code, ended.stderr)
            self.assertIn(said, ended.stderr)

    def test_the_environment_says_it_too(self):
        server = self.start_as_written()
        environment = {
            **os.environ,
            "AMEND_SERVER": server.address,
            "AMEND_CA": os.path.join(self.work, "ca.pem"),
            "AMEND_TOKEN_FILE": os.path.join(self.work, "reader.token"),
        }
        ended = harness.run([harness.AMEND, "labels"], env=environment)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("live", ended.stdout)

    def test_asyncio_and_mutual_tls(self):
        server = self.start_as_written()
        printed = self.python(
            "import asyncio\n"
            "from amend_client import AsyncClient, PermissionDenied, Unauthenticated, tls\n"
            "async def main():\n"
            f"    mutual = tls(ca='ca.pem', cert='editor.pem', key='editor.key')\n"
            f"    async with AsyncClient('{server.address}', credentials=mutual) as client:\n"
            "        print((await client.generate('Palermo is a city in', max_new_tokens=1)).usage.generated_tokens)\n"
            "        try:\n"
            "            await client.rollback(reason='no right')\n"
            "        except PermissionDenied as error:\n"
            "            print(error.reason)\n"
            f"    async with AsyncClient('{server.address}', credentials=tls(ca='ca.pem'), token='wrong') as client:\n"
            "        try:\n"
            "            await client.labels()\n"
            "        except Unauthenticated as error:\n"
            "            print(error.reason)\n"
            "asyncio.run(main())\n"
        )
        self.assertEqual(printed.split(), ["1", "ROLE_MISSING", "CREDENTIALS_UNKNOWN"])
