"""pytest's plugin of `rasca mutate`: a module has another text before any test imports it."""

import os
from importlib import import_module
from pathlib import Path

_module = import_module(os.environ["RASCA_MUTANT"])
_text = Path(os.environ["RASCA_MUTANT_TEXT"]).read_text(encoding="utf-8")
exec(compile(_text, _module.__file__, "exec"), _module.__dict__)

# behind the fault, which what is imported here has then, too
from sim import session  # noqa: E402

_own = session.code_digest
# engines are kept by the files of the code, in which the fault is not
session.code_digest = lambda *packages: f"{_own(*packages)} {_text}"
