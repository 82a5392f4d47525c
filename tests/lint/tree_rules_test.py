"""Every rule finds what it forbids, and leaves alone what it allows."""

import unittest

from tests.lint import tree_rules

GUARD = "#ifndef AMEND_{0}\n#define AMEND_{0}\n#endif  // AMEND_{0}\n"


def include(header):
    return f"#include <{header}>\n"


class RuleTest(unittest.TestCase):
    def assert_finds(self, rule, files, *expected):
        found = list(rule(files))
        self.assertEqual(len(found), len(expected), found)
        for line, part in zip(found, expected):
            self.assertIn(part, line)

    def assert_clean(self, rule, files):
        self.assertEqual(list(rule(files)), [])


class IncludesTest(RuleTest):
    def test_core(self):
        for header in [
            "google/protobuf/message.h",
            "amend/v1/edit.pb.h",
            "grpcpp/grpcpp.h",
            "rocksdb/db.h",
            "prometheus/counter.h",
            "sys/socket.h",
            "httplib.h",
            "absl/flags/flag.h",
            "CLI/CLI.hpp",
            "storage/revision_store.h",
            "server/queue.h",
            "client/client.h",
            "jobs/npz.h",
        ]:
            self.assert_finds(tree_rules.check_includes, {"core/base/a.h": include(header)}, header)
            self.assert_finds(tree_rules.check_includes, {"core/base/a_test.cc": include(header)}, header)

    def test_core_uses_what_it_may(self):
        text = "".join(map(include, ["vector", "absl/status/status.h", "ATen/ATen.h", "pcre2.h", "core/base/b.h"]))
        self.assert_clean(tree_rules.check_includes, {"core/base/a.h": text})

    def test_storage(self):
        for header in ["grpcpp/grpcpp.h", "amend/v1/edit.pb.h", "google/rpc/status.pb.h", "server/queue.h"]:
            self.assert_finds(tree_rules.check_includes, {"storage/a.cc": include(header)}, header)
        text = include("rocksdb/db.h") + include("amend/storage/v1/record.pb.h") + include("core/base/types.h")
        self.assert_clean(tree_rules.check_includes, {"storage/a.cc": text})

    def test_server(self):
        for header in ["rocksdb/db.h", "ATen/ATen.h", "amend/storage/v1/record.pb.h", "client/client.h"]:
            self.assert_finds(tree_rules.check_includes, {"server/main.cc": include(header)}, header)

    def test_only_wiring_names_a_storage_implementation(self):
        text = include("storage/rocksdb_revision_store.h")
        self.assert_finds(tree_rules.check_includes, {"server/queue.cc": text}, "storage/rocksdb")
        self.assert_clean(tree_rules.check_includes, {"server/main.cc": text, "server/queue_test.cc": text})
        self.assert_clean(tree_rules.check_includes, {"server/queue.cc": include("storage/revision_store.h")})

    def test_client(self):
        for header in ["core/base/types.h", "storage/revision_store.h", "server/queue.h", "ATen/ATen.h"]:
            self.assert_finds(tree_rules.check_includes, {"client/a.cc": include(header)}, header)

    def test_jobs(self):
        for header in [
            "storage/revision_store.h",
            "server/profile.h",
            "client/client.h",
            "grpcpp/grpcpp.h",
            "ATen/ATen.h",
            "sys/socket.h",
        ]:
            self.assert_finds(tree_rules.check_includes, {"jobs/a.cc": include(header)}, header)
        text = include("core/editing/key_covariance.h") + include("zip.h") + include("CLI/CLI.hpp")
        self.assert_clean(tree_rules.check_includes, {"jobs/a.cc": text + include("amend/v1/profile.pb.h")})

    def test_one_job_uses_the_store(self):
        text = include("storage/store_restore.h")
        self.assert_clean(tree_rules.check_includes, {"jobs/store/a.cc": text})
        for header in ["rocksdb/db.h", "amend/storage/v1/records.pb.h", "server/profile.h"]:
            self.assert_finds(tree_rules.check_includes, {"jobs/store/a.cc": include(header)}, header)

    def test_nobody_uses_jobs(self):
        for path in ["storage/a.cc", "server/a.cc", "client/a.cc"]:
            self.assert_finds(tree_rules.check_includes, {path: include("jobs/npz.h")}, "jobs/npz.h")

    def test_folders_outside_the_table_are_free(self):
        self.assert_clean(tree_rules.check_includes, {"tests/a.cc": include("rocksdb/db.h")})


class CodeTest(RuleTest):
    def test_wall_clocks(self):
        for code in ["std::chrono::system_clock::now();", "absl::Now();", "time(nullptr);", "gettimeofday(&t, 0);"]:
            self.assert_finds(tree_rules.check_code, {"core/base/a.cc": code}, "wall clock")

    def test_global_random_state(self):
        for code in ["std::random_device d;", "rand();", "srand(1);", "absl::BitGen g;", "at::manual_seed(1);"]:
            self.assert_finds(tree_rules.check_code, {"core/base/a.cc": code}, "random state")

    def test_loops_that_only_look_parallel(self):
        self.assert_finds(tree_rules.check_code, {"core/model/a.cc": "at::parallel_for(0, n, 1, f);"}, "ParallelFor")
        self.assert_clean(tree_rules.check_code, {"core/model/a.cc": "ParallelFor(0, n, 1, f);"})

    def test_passed_generators_comments_tests_and_other_folders(self):
        self.assert_clean(
            tree_rules.check_code,
            {
                "core/base/a.cc": "void F(absl::BitGenRef g);  // not absl::Now()\nrun_time(0); operand(x);\n",
                "core/base/a_test.cc": "absl::BitGen g;",
                "server/a.cc": "absl::Now();",
            },
        )


class DepsTest(RuleTest):
    def build(self, dep, rule="cc_library"):
        return f'{rule}(name = "a", deps = ["{dep}"])\n'

    def test_each_folder(self):
        for folder, dep in [
            ("core/base", "//third_party:protobuf"),
            ("core/base", "//third_party:grpc"),
            ("core/base", "//third_party:gtest"),
            ("core/base", "//storage:revision_store"),
            ("core/base", "//proto/amend/v1:edit_proto"),
            ("storage", "//third_party:grpc"),
            ("storage", "//proto/amend/v1:edit_proto"),
            ("server", "//third_party:rocksdb"),
            ("server", "//third_party:libtorch"),
            ("server", "//proto/amend/storage/v1:record_proto"),
            ("client", "//core/base:types"),
            ("client", "//server:queue"),
            ("client", "//third_party:libtorch"),
            ("client", "@libtorch//:libtorch"),
            ("client", "//jobs:npz"),
            ("jobs", "//server:profile"),
            ("jobs", "//client"),
            ("jobs", "//third_party:rocksdb"),
            ("jobs", "//third_party:grpc"),
            ("jobs", "//proto/amend/v1:edit_proto"),
        ]:
            self.assert_finds(tree_rules.check_deps, {f"{folder}/BUILD": self.build(dep)}, dep)

    def test_tests_use_test_libraries_and_keep_to_the_table(self):
        self.assert_clean(tree_rules.check_deps, {"core/base/BUILD": self.build("//third_party:gtest", "cc_test")})
        self.assert_finds(
            tree_rules.check_deps, {"client/BUILD": self.build("//core/base:types", "cc_test")}, "//core/base:types"
        )

    def test_allowed(self):
        self.assert_clean(
            tree_rules.check_deps,
            {
                "core/base/BUILD": self.build(":b") + self.build("//core/model") + self.build("//third_party:absl"),
                "storage/BUILD": self.build("//proto/amend/storage/v1:record_proto") + self.build("//core/base:types"),
                "server/BUILD": self.build("//storage:revision_store") + self.build("//proto/amend/v1:edit_proto"),
                "jobs/BUILD": self.build("//proto/amend/v1:profile_proto") + self.build("//third_party:libzip"),
                "tests/BUILD": self.build("//third_party:rocksdb"),
            },
        )


class VisibilityTest(RuleTest):
    def test_missing_or_public(self):
        self.assert_finds(tree_rules.check_visibility, {"core/base/BUILD": 'cc_library(name = "a")\n'}, "private")
        public = 'package(default_visibility = ["//visibility:public"])\n'
        self.assert_finds(tree_rules.check_visibility, {"core/base/BUILD": public}, "private")
        self.assert_clean(tree_rules.check_visibility, {"core/base/BUILD": public.replace("public", "private")})


class SizeTest(RuleTest):
    def test_files(self):
        self.assert_finds(tree_rules.check_size, {"core/base/a.cc": "\n" * 801}, "800")
        long = {"core/base/a.cc": "\n" * 800, "docs/a.md": "\n" * 2000, "core/BUILD": "\n" * 900}
        self.assert_clean(tree_rules.check_size, long)

    def test_main(self):
        self.assert_finds(tree_rules.check_size, {"server/main.cc": "\n" * 80}, "main.cc")
        self.assert_clean(tree_rules.check_size, {"server/main.cc": "\n" * 79})


class WordsTest(RuleTest):
    def test_unfinished_work(self):
        for word in ["TO" + "DO", "FIX" + "ME"]:
            self.assert_finds(tree_rules.check_words, {"a.md": f"x\n{word}: y\n"}, "a.md:2")

    def test_machine_paths(self):
        for folder in ["root", "work", "home", "Users"]:
            self.assert_finds(tree_rules.check_words, {"a.py": f'p = "/{folder}/x"\n'}, "one machine")
        self.assert_clean(tree_rules.check_words, {"a.py": "http://host/work/x docs/work/x ~/work/x $HOME/work/x"})


class HeaderGuardsTest(RuleTest):
    def test_missing_or_misnamed(self):
        self.assert_finds(tree_rules.check_header_guards, {"core/base/a.h": "#pragma once\n"}, "AMEND_CORE_BASE_A_H_")
        self.assert_finds(tree_rules.check_header_guards, {"core/base/a.h": GUARD.format("A_H_")}, "AMEND_CORE_BASE_A_H_")
        self.assert_clean(tree_rules.check_header_guards, {"core/base/a.h": GUARD.format("CORE_BASE_A_H_")})
        toggle = "#if defined(AMEND_CORE_A_INL_H_) == defined(HWY_TARGET_TOGGLE)\n"
        self.assert_clean(tree_rules.check_header_guards, {"core/a-inl.h": toggle})
        self.assert_finds(tree_rules.check_header_guards, {"core/b-inl.h": toggle}, "AMEND_CORE_B_INL_H_")


class TestsTest(RuleTest):
    def test_a_source_without_a_test(self):
        self.assert_finds(tree_rules.check_tests, {"core/base/a.cc": ""}, "a_test.cc")

    def test_a_test_that_is_not_built(self):
        files = {"core/base/a.cc": "", "core/base/a_test.cc": "", "core/base/BUILD": ""}
        self.assert_finds(tree_rules.check_tests, files, "not in core/base/BUILD")
        files["core/base/BUILD"] = 'cc_test(name = "a_test", srcs = ["a_test.cc"])'
        self.assert_clean(tree_rules.check_tests, files)

    def test_main_and_test_support_need_none(self):
        self.assert_clean(tree_rules.check_tests, {"server/main.cc": "", "storage/testing/fake.cc": ""})

    def test_examples_need_none_since_tests_of_the_whole_run_them(self):
        self.assert_clean(tree_rules.check_tests, {"client/examples/quickstart.cc": ""})


if __name__ == "__main__":
    unittest.main()
