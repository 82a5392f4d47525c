"""Builds protos with the system's protoc and grpc_cpp_plugin.

    amend_proto_library(
        name = "edit_proto",
        srcs = ["edit.proto"],
        grpc = True,                # also edit.grpc.pb.h, for a service
        python = True,              # also ":edit_proto_py", the *_pb2.py files
        deps = [":revision_proto"],
    )

is a cc_library. Files under proto/ are imported by their path below it:
proto/amend/v1/edit.proto is "amend/v1/edit.proto" to other protos and
"amend/v1/edit.pb.h" to C++.
"""

# Folders that imports are relative to. Each has a target "include_root".
_ROOTS = [
    "proto",
    "third_party/googleapis",
    "third_party/grpc_proto",
]

def _root_of(package):
    for root in _ROOTS:
        if package == root or package.startswith(root + "/"):
            return root
    fail("protos lie under one of %s, not in %s" % (_ROOTS, package))

def _protos_of(dep):
    if ":" in dep:
        return dep + "_protos"
    return dep + ":" + dep.split("/")[-1] + "_protos"

def amend_proto_library(name, srcs, deps = [], grpc = False, python = False, visibility = None, testonly = None):
    """A cc_library of the messages in srcs, and of their services if grpc.

    Args:
      name: the cc_library. name + "_protos" are the files with what they import.
      srcs: .proto files of this package.
      deps: the amend_proto_library targets that srcs import.
      grpc: whether srcs define services.
      python: whether name + "_py" holds Python modules for srcs.
      visibility: of all the targets.
      testonly: of all the targets.
    """
    package = native.package_name()
    root = _root_of(package)
    stems = [src[:-len(".proto")] for src in srcs]
    protos = " ".join(["$(location %s)" % src for src in srcs])
    protoc = "protoc " + " ".join(["-I" + r for r in _ROOTS if r == root or deps])

    native.filegroup(
        name = name + "_protos",
        srcs = srcs + [_protos_of(dep) for dep in deps],
        visibility = visibility,
        testonly = testonly,
    )

    headers = [stem + ".pb.h" for stem in stems]
    sources = [stem + ".pb.cc" for stem in stems]
    plugin = ""
    if grpc:
        headers += [stem + ".grpc.pb.h" for stem in stems]
        sources += [stem + ".grpc.pb.cc" for stem in stems]
        plugin = " --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin --grpc_out=$(BINDIR)/" + root
    native.genrule(
        name = name + "_cc",
        srcs = [name + "_protos"] + srcs,
        outs = headers + sources,
        cmd = "%s --cpp_out=$(BINDIR)/%s%s %s" % (protoc, root, plugin, protos),
        visibility = ["//visibility:private"],
        testonly = testonly,
    )
    native.cc_library(
        name = name,
        srcs = sources,
        hdrs = headers,
        copts = ["-w"],
        visibility = visibility,
        testonly = testonly,
        deps = deps + [
            "//" + root + ":include_root",
            "//third_party:grpc" if grpc else "//third_party:protobuf",
        ],
    )

    if python:
        modules = [stem + "_pb2.py" for stem in stems]
        plugin = ""
        if grpc:
            modules += [stem + "_pb2_grpc.py" for stem in stems]
            plugin = " --plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin --grpc_out=$(BINDIR)/" + root
        native.genrule(
            name = name + "_py",
            srcs = [name + "_protos"] + srcs,
            outs = modules,
            cmd = "%s --python_out=$(BINDIR)/%s%s %s" % (protoc, root, plugin, protos),
            visibility = visibility,
            testonly = testonly,
        )
