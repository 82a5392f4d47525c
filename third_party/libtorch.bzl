"""Finds LibTorch and wraps it as @libtorch//:libtorch.

The folder is the one that the environment variable LIBTORCH names (with
include/ and lib/ in it), or else the one that tools/setup extracts to.
"""

# tools/setup holds the same path.
_DEFAULT = ".cache/amend/libtorch-2.11.0/torch"

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "libtorch",
    # Of LibTorch's include folder only its own four: it also ships protobuf
    # and other headers that must not shadow the system's.
    hdrs = glob([
        "include/ATen/**/*.h",
        "include/c10/**/*.h",
        "include/caffe2/**/*.h",
        "include/torch/**/*.h",
    ]),
    includes = [
        "include",
        "include/torch/csrc/api/include",
    ],
    linkopts = {linkopts},
)
"""

def _find(repository_ctx):
    env = repository_ctx.os.environ
    named = env.get("LIBTORCH", "")
    path = named or env.get("HOME", "") + "/" + _DEFAULT
    if not repository_ctx.path(path + "/lib/libtorch_cpu.so").exists:
        fail(("no LibTorch in %s (%s): run tools/setup, or set LIBTORCH to a folder " +
              "that holds LibTorch's include and lib folders") %
             (path, "named by LIBTORCH" if named else "the default place"))
    return repository_ctx.path(path).realpath

def _libtorch_repository_impl(repository_ctx):
    root = _find(repository_ctx)
    for name in ["ATen", "c10", "caffe2", "torch"]:
        repository_ctx.symlink(root.get_child("include").get_child(name), "include/" + name)

    lib = str(root.get_child("lib"))
    linkopts = [
        # LibTorch exports an old protobuf of its own. Whoever uses protobuf or
        # gRPC must find the system's first, whatever the order of deps.
        "-Wl,--push-state,--as-needed",
        "-lgrpc++",
        "-lprotobuf",
        "-Wl,--pop-state",
        "-L" + lib,
        "-Wl,-rpath," + lib,
        "-Wl,--allow-shlib-undefined",
        "-ltorch_cpu",
        "-lc10",
    ]
    if repository_ctx.path(lib + "/libtorch_cuda.so").exists:
        # Nothing refers to it by symbol: it registers its kernels when loaded.
        linkopts += [
            "-Wl,--push-state,--no-as-needed",
            "-ltorch_cuda",
            "-lc10_cuda",
            "-Wl,--pop-state",
        ]
    repository_ctx.file("BUILD", _BUILD.format(linkopts = repr(linkopts)))

libtorch_repository = repository_rule(
    implementation = _libtorch_repository_impl,
    environ = [
        "HOME",
        "LIBTORCH",
    ],
    local = True,
)
