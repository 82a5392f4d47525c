"""Imports the published reference code of arXiv 2403.05330 from a user's clones.

    https://github.com/Syon-Li/CoachHook   CoachHooK_main.py
    https://github.com/zjunlp/EasyEdit     easyeditor: MEMIT's target values, keys, statistics

No file of either is changed and no function of the algorithm is replaced. What
is done so that they load on a machine with neither a GPU nor every method's
requirements:

  * EasyEdit's packages import every editing method in their __init__.py. They
    are registered by name and path here, so that only the modules load that
    CoachHooK_main.py asks for.
  * Hugging Face `datasets` is a stub where it is not installed: EasyEdit loads
    Wikipedia with it to compute a key covariance, and the covariance is given.
  * Nothing has to be done about CUDA: EasyEdit runs on hparams.device, and
    "cpu" is one. What is left in CoachHooK_main.py is torch.cuda.empty_cache(),
    which does nothing without CUDA, and a cache of target values, not used.
"""

import importlib
import importlib.util
import os
import sys
import types

_PACKAGES = ("", "easyeditor", "easyeditor.util", "easyeditor.models", "easyeditor.models.memit", "easyeditor.models.rome")


def _register_packages(easyedit):
    """Makes EasyEdit's folders packages whose __init__.py does not run."""
    for name in _PACKAGES:
        package = types.ModuleType(".".join(filter(None, ["EasyEdit", name])))
        package.__path__ = [os.path.join(easyedit, *name.split("."))]
        sys.modules[package.__name__] = package
    # "from a.b import c" looks at attributes first.
    for name in _PACKAGES[1:]:
        parent, _, child = f"EasyEdit.{name}".rpartition(".")
        setattr(sys.modules[parent], child, sys.modules[f"EasyEdit.{name}"])


def _stub_datasets():
    if importlib.util.find_spec("datasets") is not None:
        return

    def load_dataset(*_args, **_kwargs):
        raise RuntimeError("the key covariance is given; no data set is loaded")

    stub = types.ModuleType("datasets")
    stub.load_dataset = load_dataset
    sys.modules["datasets"] = stub


def load(coachhook, easyedit):
    """The modules (CoachHooK_main, EasyEdit's memit_main) of the two clones."""
    for path, file in ((coachhook, "CoachHooK_main.py"), (easyedit, "easyeditor/models/memit/memit_main.py")):
        if not os.path.exists(os.path.join(path, file)):
            raise SystemExit(f"{path} holds no {file}: give the path of a clone")
    # transformers asks whether `datasets` is there, and would take the stub for it.
    import transformers

    for name in ("AutoModelForCausalLM", "AutoTokenizer"):
        getattr(transformers, name)
    _stub_datasets()
    _register_packages(easyedit)
    sys.path.insert(0, coachhook)
    main = importlib.import_module("CoachHooK_main")
    return main, importlib.import_module("EasyEdit.easyeditor.models.memit.memit_main")
