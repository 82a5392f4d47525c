"""Finds LibTorch and wraps it as @libtorch//:libtorch.

The folder is the one that the environment variable LIBTORCH names (with
include/ and lib/ in it), or else the one that tools/setup extracts to.

Where that LibTorch has CUDA and the folder that CUDA_HOME names, or else
/usr/local/cuda, has CUDA's runtime (include/, and lib64/ or lib/),
@libtorch//:cuda_runtime wraps that and defines AMEND_HAS_CUDA_RUNTIME. It is
empty otherwise.
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

_CUDA_BUILD = """
cc_library(
    name = "cuda_runtime",
    hdrs = glob(["cuda/**/*.h"]),
    includes = ["cuda"],
    defines = {defines},
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

def _cuda_runtime(repository_ctx, has_cuda):
    cuda = repository_ctx.os.environ.get("CUDA_HOME", "") or "/usr/local/cuda"
    if not has_cuda or not repository_ctx.path(cuda + "/include/cuda_runtime_api.h").exists:
        return _CUDA_BUILD.format(defines = [], linkopts = [])
    repository_ctx.symlink(cuda + "/include", "cuda")
    linkopts = ["-lcudart"]
    for lib in [cuda + "/lib64", cuda + "/lib"]:
        linkopts += ["-L" + lib, "-Wl,-rpath," + lib]
    return _CUDA_BUILD.format(defines = ["AMEND_HAS_CUDA_RUNTIME"], linkopts = linkopts)

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
    has_cuda = repository_ctx.path(lib + "/libtorch_cuda.so").exists
    if has_cuda:
        # Nothing refers to it by symbol: it registers its kernels when loaded.
        linkopts += [
            "-Wl,--push-state,--no-as-needed",
            "-ltorch_cuda",
            "-lc10_cuda",
            "-Wl,--pop-state",
        ]
    build = _BUILD.format(linkopts = repr(linkopts))
    repository_ctx.file("BUILD", build + _cuda_runtime(repository_ctx, has_cuda))

libtorch_repository = repository_rule(
    implementation = _libtorch_repository_impl,
    environ = [
        "CUDA_HOME",
        "HOME",
        "LIBTORCH",
    ],
    local = True,
)
