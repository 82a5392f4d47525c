"""Python tests: `unittest` modules run by the system's Python."""

def python_test(name, src, data = [], tags = [], **kwargs):
    """A test that runs the unittest cases of src.

    It runs in the runfiles of the workspace, with Debian's grpc and protobuf.
    Modules are imported by their path in the workspace, the *_pb2 modules of
    protos by their path below proto/ (list the protos' "_py" targets in data).

    Args:
      name: the test.
      src: a .py file.
      data: Python modules, binaries and files that it uses.
      tags: as of any test.
      **kwargs: as of sh_test: size, visibility and so on.
    """
    native.sh_test(
        name = name,
        srcs = ["//tools:python_test_runner.py"],
        args = ["$(rootpath %s)" % src],
        data = [src] + data,
        tags = tags,
        **kwargs
    )
