"""Nothing in a file becomes code or a path: targets T26 and T27."""

import ast
import os
import pathlib

import numpy as np
import pytest

import cnnzip
from tests import forge
from tests.hostile.goldens import open_memory

ROOT = pathlib.Path(__file__).parents[2] / "cnnzip"
READERS = sorted(p for f in ("container", "codecs", "entropy") for p in (ROOT / f).glob("*.py"))
READERS += [ROOT / "dtypes.py", ROOT / "tensor.py", ROOT / "arrays.py"]
BANNED_MODULES = {
    "pickle", "marshal", "shelve", "dill", "joblib", "ctypes", "importlib", "imp", "runpy", "code",
    "subprocess",
}  # fmt: skip
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "import_module", "loads_pickle", "system"}
#: `getattr` with a name that a table of this package holds, never a file.
ALLOWED_GETATTR = {("dtypes.py", "ml_dtypes"), ("arrays.py", "torch")}


@pytest.mark.parametrize("path", READERS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_reader_runs_no_code_from_data(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = {alias.name.split(".")[0] for alias in node.names}
            assert not found & BANNED_MODULES, f"line {node.lineno}"
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in BANNED_MODULES, f"line {node.lineno}"
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            banned = BANNED_CALLS - (
                {"compile"} if ast.unparse(node.func) == "re.compile" else set()
            )
            assert name not in banned, f"line {node.lineno}"
            for keyword in node.keywords:
                assert keyword.arg != "allow_pickle", f"line {node.lineno}"
            if name == "getattr" and not isinstance(node.args[1], ast.Constant):
                where = path.name, ast.unparse(node.args[0])
                assert where in ALLOWED_GETATTR, f"line {node.lineno}"


def test_a_frame_names_its_codec_and_type_by_number():
    from cnnzip.codecs.names import CODEC_NAMES, PACK_ID
    from cnnzip.codecs.registry import CODECS
    from cnnzip.dtypes import BY_ID

    assert {number: codec.id for number, codec in CODECS.items()} == {n: n for n in CODECS}
    assert set(CODECS) | {PACK_ID} == set(CODEC_NAMES)
    assert all(isinstance(number, int) for number in BY_ID)


NAMES = ["../../etc/passwd", "/etc/passwd", "C:\\x", "..", ".", "a/b", "a\u202eb", "%s%n", "{0}"]


@pytest.mark.parametrize("name", NAMES)
def test_a_tensor_name_is_never_a_path(name, tmp_path):
    path = tmp_path / "folder" / "names.cnnz"
    path.parent.mkdir()
    cnnzip.save({name: np.ones((30, 30), np.float32), "b": np.ones(3)}, path)
    with cnnzip.open(path) as file:
        assert list(file) == [name, "b"]
        assert file[name].decode().sum() == 900
        assert name in file
        assert repr(file).count("\n") == 0
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(path.parent) == ["names.cnnz"]


def test_names_are_escaped_in_messages():
    frame = forge.index_map("uint8", [2, 3], 0, [7], [], name="v")
    for name in ("a\u001b[31m", "a\nb", "a\u009b"):
        data = forge.cnnz({"w": frame}, b"", [forge.owned(name, len(frame))])
        with pytest.raises(cnnzip.FormatError) as caught, open_memory(data) as file:
            file[name]
        assert name not in str(caught.value)
        assert str(caught.value).isprintable()


def test_an_absent_name_is_a_key_error_with_a_hint():
    frame = forge.index_map("uint8", [2], 0, [7], [], name="fc.weight")
    with open_memory(forge.cnnz({"fc.weight": frame})) as file:
        with pytest.raises(KeyError, match=r"did you mean 'fc\.weight'"):
            file["fc.wieght"]
        with pytest.raises(KeyError, match="no tensor 'zzz'"):
            file["zzz"]
