"""Local stand-ins for repositories that Bazel would otherwise download."""

_CC_RULES = [
    "cc_binary",
    "cc_import",
    "cc_library",
    "cc_proto_library",
    "cc_test",
    "cc_toolchain",
    "cc_toolchain_suite",
    "fdo_prefetch_hints",
    "fdo_profile",
    "objc_import",
    "objc_library",
]

def _native_rules_cc_impl(repository_ctx):
    repository_ctx.file("BUILD", "")
    repository_ctx.file("cc/BUILD", "")
    repository_ctx.file(
        "cc/defs.bzl",
        "".join(["%s = native.%s\n" % (rule, rule) for rule in _CC_RULES]),
    )

# rules_cc, re-exporting the C++ rules built into Bazel.
native_rules_cc = repository_rule(implementation = _native_rules_cc_impl)

def _empty_repository_impl(repository_ctx):
    repository_ctx.file("BUILD", 'package(default_visibility = ["//visibility:public"])\n' + "".join([
        'filegroup(name = "%s")\n' % target
        for target in repository_ctx.attr.targets
    ]))

# A repository whose targets exist and hold nothing.
empty_repository = repository_rule(
    implementation = _empty_repository_impl,
    attrs = {"targets": attr.string_list()},
)
