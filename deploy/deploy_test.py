"""Dockerfile, compose file, Kubernetes manifests and systemd unit agree with amendd and with each other.

Nothing here needs a container engine, a cluster or a service manager: what they
would be told is parsed, and the command lines are given to the real amendd.
"""

import contextlib
import functools
import glob
import http.server
import json
import os
import re
import shlex
import tempfile
import threading
import unittest

import yaml

from deploy import tree

AMENDD = os.path.abspath("server/amendd")
PROGRAMS = ["server/amendd", "client/amend", "jobs/amend-covariance", "jobs/store/amend-store"]

# In debian:12-slim from the start.
_BASE_PACKAGES = {"libc6", "libgcc-s1", "zlib1g"}
_KUBERNETES = sorted(os.path.basename(p) for p in glob.glob(tree.path("deploy/kubernetes/*.yaml")))


def dockerfile():
    """Instructions of deploy/Dockerfile in order: [(stage, instruction, arguments)]."""
    lines = [line for line in tree.text("deploy/Dockerfile").splitlines() if not line.lstrip().startswith("#")]
    stage, found = -1, []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        instruction, arguments = line.split(None, 1)
        stage += instruction == "FROM"
        found.append((stage, instruction, arguments.strip()))
    return found


def image(instruction):
    """Arguments of an instruction of the image itself, the last stage."""
    steps = dockerfile()
    return [arguments for stage, name, arguments in steps if stage == steps[-1][0] and name == instruction]


def image_list(instruction):
    """The same for one in exec form."""
    (arguments,) = image(instruction)
    return json.loads(arguments)


def flag_values(words):
    """{"--data": "/data"} of a command line; a flag without a value has an empty one."""
    values = {}
    for i, word in enumerate(words):
        if word.startswith("--"):
            name, has_value, value = word.partition("=")
            follows = words[i + 1] if i + 1 < len(words) and not words[i + 1].startswith("--") else ""
            values[name] = value if has_value else follows
    return values


def port_of(address):
    return int(address.rpartition(":")[2])


@contextlib.contextmanager
def page_server(status):
    """An HTTP server that answers /readyz with `status`, on a free port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def manifests():
    found = {}
    for name in _KUBERNETES:
        for document in tree.documents("deploy/kubernetes", name):
            found[document["kind"]] = document
    return found


def container():
    (only,) = manifests()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    return only


def compose():
    return tree.document("deploy/compose.yaml")


def unit():
    """The [Service] section: {name: [values]}."""
    section, found = "", {}
    for line in tree.text("deploy/systemd/amendd.service").splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def configuration():
    lines = tree.text("deploy/systemd/amendd.conf").splitlines()
    pairs = [line.split(": ", 1) for line in lines if line and not line.startswith("#")]
    return {name: value.strip('"') for name, value in pairs}


ENTRYPOINT = image_list("ENTRYPOINT")


class AmenddTest(unittest.TestCase):
    """The command lines that amendd gets."""

    def assert_taken(self, *words):
        """amendd understands the flags: it misses the model (exit code 1), and has nothing to say of flags (2)."""
        with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder:
            words = [word.replace("/var/lib/amend", folder) for word in words]
            model = os.path.join(folder, "no-model")
            # Flags win over those in a file.
            ended = tree.run(AMENDD, *words, "--model", model)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn(model, ended.stderr)

    def without_model(self, words):
        self.assertEqual(words[0], "--model")
        return words[2:]

    def test_a_flag_that_does_not_exist_would_be_found(self):
        self.assertEqual(tree.run(AMENDD, "--model", "no-model", "--data", "no-data", "--dataa", "x").returncode, 2)

    def test_takes_what_the_image_says(self):
        self.assert_taken(*ENTRYPOINT[1:], *self.without_model(image_list("CMD")))

    def test_takes_what_compose_says(self):
        self.assert_taken(*ENTRYPOINT[1:], *self.without_model(compose()["services"]["amend"]["command"]))

    def test_beyond_loopback_without_tls_is_said_where_it_is_meant(self):
        for command in (image_list("CMD"), compose()["services"]["amend"]["command"], container()["args"]):
            self.assertIn("--allow-insecure", command)
        self.assertNotIn("--allow-insecure", ENTRYPOINT)
        self.assertNotIn("--allow-insecure", " ".join(unit()["ExecStart"]))

    def test_takes_what_the_stateful_set_says(self):
        self.assert_taken(*ENTRYPOINT[1:], *self.without_model(container()["args"]))

    def test_takes_what_the_unit_says(self):
        words = shlex.split(unit()["ExecStart"][0])
        self.assertEqual(flag_values(words)["--config"], "/etc/amend/amendd.conf")
        words[words.index("--config") + 1] = tree.path("deploy/systemd/amendd.conf")
        self.assert_taken(*words[1:])

    def test_its_version_is_the_image_tag(self):
        version = re.search(r"\d+\.\d+\.\d+", tree.run(AMENDD, "--version").stdout).group()
        (renamed,) = manifests()["Kustomization"]["images"]
        self.assertEqual(renamed, {"name": container()["image"], "newTag": version})
        self.assertEqual(compose()["services"]["amend"]["image"], f"amend:{version}")
        for page in ["deploy/Dockerfile", "docs/deployment.md"]:
            self.assertEqual(set(re.findall(r"\bamend:(\d+\.[\w.]*)", tree.text(page))), {version}, page)


class PortsTest(unittest.TestCase):
    def setUp(self):
        flags = flag_values(ENTRYPOINT)
        self.grpc, self.http = port_of(flags["--listen"]), port_of(flags["--http"])

    def test_the_image_exposes_what_amendd_listens_on(self):
        self.assertEqual(" ".join(image("EXPOSE")).split(), [str(self.grpc), str(self.http)])

    def test_the_image_is_healthy_when_amendd_is_ready(self):
        (check,) = image("HEALTHCHECK")
        command = json.loads(check.partition("CMD")[2])
        self.assertIn(f"/127.0.0.1/{self.http} ", command[-1])
        for status, code in ((200, 0), (503, 1)):
            with page_server(status) as port:
                script = command[-1].replace(f"/{self.http} ", f"/{port} ")
                self.assertEqual(tree.run(*command[:-1], script).returncode, code)

    def test_they_are_the_defaults_and_those_of_the_unit(self):
        usage = tree.run(AMENDD, "--help").stdout
        self.assertIn(f"--listen TEXT=127.0.0.1:{self.grpc}", usage)
        self.assertIn(f"--http TEXT=127.0.0.1:{self.http}", usage)
        self.assertEqual(configuration()["listen"], f"127.0.0.1:{self.grpc}")
        self.assertEqual(configuration()["http"], f"127.0.0.1:{self.http}")

    def test_compose_publishes_them_on_the_loopback_address_alone(self):
        services = compose()["services"]
        self.assertEqual(services["amend"]["ports"], [f"127.0.0.1:{p}:{p}" for p in (self.grpc, self.http)])
        for service in services.values():
            for port in service["ports"]:
                self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_the_pod_and_the_service_name_them(self):
        self.assertEqual(
            {p["name"]: p["containerPort"] for p in container()["ports"]}, {"grpc": self.grpc, "http": self.http}
        )
        ports = manifests()["Service"]["spec"]["ports"]
        self.assertEqual(
            {p["name"]: (p["port"], p["targetPort"]) for p in ports},
            {"grpc": (self.grpc, "grpc"), "http": (self.http, "http")},
        )

    def test_what_refers_to_a_port_by_its_name_finds_it(self):
        names = {p["name"] for p in container()["ports"]}
        used = [container()[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "readiness", "liveness")]
        used += [e["port"] for e in manifests()["ServiceMonitor"]["spec"]["endpoints"]]
        used += [p["port"] for rule in manifests()["NetworkPolicy"]["spec"]["ingress"] for p in rule["ports"]]
        self.assertEqual(set(used) - names, set())

    def test_prometheus_scrapes_the_service_of_compose(self):
        (job,) = tree.document("deploy/prometheus/prometheus.yaml")["scrape_configs"]
        self.assertEqual(job["job_name"], "amend")
        self.assertEqual(job["static_configs"], [{"targets": [f"amend:{self.http}"]}])


class DockerfileTest(unittest.TestCase):
    def test_the_image_does_not_run_as_root(self):
        user = image("USER")[-1]
        self.assertRegex(user, r"^[1-9]\d*:[1-9]\d*$")
        self.assertIn(f"--uid {user.split(':')[0]} ", " ".join(image("RUN")))

    def test_what_it_copies_is_there(self):
        for _, name, arguments in dockerfile():
            if name == "COPY" and not arguments.startswith("--from"):
                for source in arguments.split()[:-1]:
                    self.assertTrue(os.path.exists(tree.path(source)), source)

    def test_it_installs_what_it_builds(self):
        (build,) = [a for _, name, a in dockerfile() if name == "RUN" and "bazel build" in a]
        built = re.findall(r"//([\w/]+:[\w-]+)", build)
        installed = re.findall(r"bazel-bin/([\w/-]+)", build)
        self.assertEqual([label.replace(":", "/") for label in built], installed)
        self.assertEqual(installed, PROGRAMS)

    def test_the_data_is_on_the_volume(self):
        (volume,) = image("VOLUME")
        flags = flag_values(ENTRYPOINT)
        for flag in ("--data", "--backup-dir"):
            self.assertEqual(os.path.dirname(flags[flag]), volume)
        self.assertIn(volume, [m["mountPath"] for m in container()["volumeMounts"]])
        self.assertEqual(compose()["services"]["amend"]["volumes"], [f"amend-data:{volume}"])

    def test_libtorch_stays_where_the_build_links_it(self):
        folder = re.search(r'LIBTORCH_HOME="\$HOME/(\S+)"', tree.text("tools/setup")).group(1)
        (copied,) = [a for a in image("COPY") if "libtorch" in a]
        home = dict(a.split("=") for _, name, a in dockerfile() if name == "ENV")["HOME"]
        self.assertEqual(copied.split()[1:], [f"{home}/{folder}"] * 2)

    def test_it_installs_the_libraries_that_the_programs_link(self):
        if not os.path.exists("/var/lib/dpkg/status"):
            self.skipTest("not a Debian system: what package has a library is not known")
        (install,) = [a for a in image("RUN") if "apt-get install" in a]
        named = re.findall(r"\blib[\w.+-]+", install.partition("install")[2].partition("&&")[0])
        have = closure(named) | _BASE_PACKAGES
        for program in PROGRAMS:
            for library in linked(program):
                self.assertIn(owner(library), have, f"{program} links {library}")


def closure(packages):
    """The packages with all that they depend on."""
    found, to_see = set(), list(packages)
    while to_see:
        package = to_see.pop()
        if package not in found:
            found.add(package)
            listed = tree.run("dpkg-query", "-W", "-f", "${Depends}, ${Pre-Depends}", package).stdout
            to_see += re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9.+-]+)", listed)
    return found


def linked(program):
    """The libraries from Debian's folders that a program links, directly or not."""
    libraries = re.findall(r"=> (\S+) \(", tree.run("ldd", program).stdout)
    return [os.path.realpath(library) for library in libraries if library.startswith(("/lib/", "/usr/lib/"))]


@functools.lru_cache(maxsize=None)
def owner(file):
    """The package that has a file."""
    for name in (file, file.replace("/usr/lib/", "/lib/", 1)):
        found = tree.run("dpkg", "-S", name)
        if found.returncode == 0:
            return found.stdout.split(":")[0]
    return f"no package ({file})"


class KubernetesTest(unittest.TestCase):
    def test_selectors_find_the_pod_and_the_service(self):
        found = manifests()
        pod = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
        for kind, selector in [
            ("StatefulSet", found["StatefulSet"]["spec"]["selector"]["matchLabels"]),
            ("Service", found["Service"]["spec"]["selector"]),
            ("PodDisruptionBudget", found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]),
            ("NetworkPolicy", found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]),
        ]:
            self.assertLessEqual(selector.items(), pod, kind)
        scraped = found["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
        self.assertLessEqual(scraped, found["Service"]["metadata"]["labels"].items())
        self.assertEqual(found["StatefulSet"]["spec"]["serviceName"], found["Service"]["metadata"]["name"])
        # The rules ask for this job, which is the name of the service.
        self.assertEqual(found["Service"]["metadata"]["name"], "amend")

    def test_the_pod_runs_as_the_image_does(self):
        pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
        user, group = map(int, image("USER")[-1].split(":"))
        context = pod["securityContext"]
        self.assertEqual((context["runAsUser"], context["runAsGroup"], context["fsGroup"]), (user, group, group))
        self.assertTrue(context["runAsNonRoot"])
        self.assertTrue(container()["securityContext"]["readOnlyRootFilesystem"])

    def test_there_is_one_server_per_store(self):
        self.assertEqual(manifests()["StatefulSet"]["spec"]["replicas"], 1)

    def test_its_volumes_are_there(self):
        spec = manifests()["StatefulSet"]["spec"]
        names = {v["name"] for v in spec["template"]["spec"]["volumes"]}
        names |= {c["metadata"]["name"] for c in spec["volumeClaimTemplates"]}
        self.assertEqual({m["name"] for m in container()["volumeMounts"]}, names)

    def test_probes_ask_for_pages_that_amendd_has(self):
        served = set(re.findall(r'server\.Get\("(/\w+)"', tree.text("server/http_endpoint.cc")))
        asked = {container()[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
        asked |= {e["path"] for e in manifests()["ServiceMonitor"]["spec"]["endpoints"]}
        self.assertLessEqual(asked, served)

    def test_kustomize_finds_all_of_it(self):
        kubectl = tree.find_tool(self, "kubectl", "install the command of Kubernetes")
        built = tree.run(kubectl, "kustomize", tree.path("deploy/kubernetes"))
        self.assertEqual(built.returncode, 0, built.stderr)
        kinds = {document["kind"] for document in yaml.safe_load_all(built.stdout)}
        self.assertEqual(kinds, set(manifests()) - {"Kustomization", "ServiceMonitor"})


class SystemdTest(unittest.TestCase):
    def unit_with(self, program):
        """The unit in a folder of its own, with the program that is here; systemd looks for it."""
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "amendd.service")
        with open(path, "w", encoding="utf-8") as file:
            file.write(tree.text("deploy/systemd/amendd.service").replace("/opt/amend/bin/amendd", program))
        return path

    def test_systemd_understands_the_unit(self):
        tool = tree.find_tool(self, "systemd-analyze", "install systemd")
        verified = tree.run(tool, "verify", "--man=no", self.unit_with(AMENDD))
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def test_it_is_hardened(self):
        tool = tree.find_tool(self, "systemd-analyze", "install systemd")
        path = self.unit_with(AMENDD)
        # In tenths: 1.5 of 10, 10 being no protection at all.
        judged = tree.run(tool, "security", "--offline=true", "--threshold=20", "--no-pager", path)
        self.assertEqual(judged.returncode, 0, judged.stdout)

    def test_its_data_is_in_the_directory_of_its_state(self):
        flags = flag_values(shlex.split(unit()["ExecStart"][0]))
        self.assertEqual(unit()["StateDirectory"], ["amend"])
        for flag in ("--data", "--backup-dir"):
            self.assertEqual(os.path.dirname(flags[flag]), "/var/lib/amend")


class ShutdownTest(unittest.TestCase):
    def test_each_gives_the_server_longer_than_it_takes_to_drain(self):
        pod = manifests()["StatefulSet"]["spec"]["template"]["spec"]
        service = compose()["services"]["amend"]
        for drain, grace in [
            (flag_values(container()["args"])["--drain-seconds"], pod["terminationGracePeriodSeconds"]),
            (flag_values(service["command"])["--drain-seconds"], int(service["stop_grace_period"].rstrip("s"))),
            (configuration()["drain_seconds"], int(unit()["TimeoutStopSec"][0])),
        ]:
            self.assertGreaterEqual(grace, float(drain) + 30)


class ComposeTest(unittest.TestCase):
    def test_files_that_it_mounts_are_there(self):
        for service in compose()["services"].values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue(os.path.exists(tree.path("deploy", source)), source)
                else:
                    self.assertIn(source, compose()["volumes"])

    def test_it_builds_this_dockerfile(self):
        build = compose()["services"]["amend"]["build"]
        self.assertEqual(os.path.realpath(tree.path("deploy", build["context"])), tree.ROOT)
        self.assertEqual(build["dockerfile"], "deploy/Dockerfile")

    def test_grafana_finds_prometheus_and_the_dashboard(self):
        (source,) = tree.document("deploy/grafana/provisioning/datasources/prometheus.yaml")["datasources"]
        self.assertEqual(source["url"], "http://prometheus:9090")
        (provider,) = tree.document("deploy/grafana/provisioning/dashboards/amend.yaml")["providers"]
        mounts = dict(v.split(":")[1::-1] for v in compose()["services"]["grafana"]["volumes"])
        self.assertEqual(mounts[provider["options"]["path"]], "./grafana/amend.json")
        uids = set(re.findall(r'"type": "prometheus", "uid": "(\w+)"', tree.text("deploy/grafana/amend.json")))
        self.assertEqual(uids, {source["uid"]})


if __name__ == "__main__":
    unittest.main()
