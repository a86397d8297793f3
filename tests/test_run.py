from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("reader", "recon", "train", "test")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`run.py` as a module that works in a folder of its own."""
    specification = importlib.util.spec_from_file_location("run_under_test", ROOT / "run.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    for lock in LOCKS:
        (tmp_path / "requirements" / f"{lock}.txt").write_text(f"{lock}==1\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "blindcine.json")
    return module


@pytest.fixture
def calls(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Making an environment and calling pip are recorded instead of done."""
    done: list[str] = []

    def make() -> None:
        done.append("make")
        shutil.rmtree(run.ENVIRONMENT, ignore_errors=True)
        run.environment_python().parent.mkdir(parents=True)
        run.environment_python().touch()
        run.write_stamp({}, interrupted=False)

    def pip(*arguments: str, packages: int) -> None:
        assert packages > 0
        assert json.loads(run.STAMP.read_text())["interrupted"], "a kill during pip would go unnoticed"
        done.append("checkout" if "--editable" in arguments else Path(arguments[-1]).stem)

    monkeypatch.setattr(run, "make_environment", make)
    monkeypatch.setattr(run, "pip", pip)
    return done


@pytest.mark.parametrize(
    ("arguments", "purpose"),
    [
        (["demo"], "recon"),
        (["demo", "--headless"], "recon"),
        (["reconstruct", "a.h5", "--out", "b"], "recon"),
        (["study", "reconstruct", "folder"], "recon"),
        (["study", "rank", "folder"], "reader"),
        (["study", "read", "folder"], "reader"),
        (["info", "a.h5"], "reader"),
        (["--version"], "reader"),
        (["demo", "--help"], "reader"),
        (["train", "radial"], "train"),
        (["evaluate", "folder"], "train"),
        (["simulate", "--from", "heart"], "train"),
        (["models", "list"], "reader"),
        (["models", "verify"], "recon"),
        (["statistics", "table.csv"], "reader"),
        (["test", "-k", "name"], "test"),
        (["window"], "recon"),
    ],
)
def test_only_what_a_command_needs_is_installed(run: ModuleType, arguments: list[str], purpose: str) -> None:
    assert run.purpose_of(arguments) == purpose


def test_second_start_and_smaller_purposes_install_nothing(run: ModuleType, calls: list[str]) -> None:
    run.set_up("recon")
    assert calls == ["make", "recon", "checkout"]
    run.set_up("recon")
    run.set_up("reader")
    assert calls == ["make", "recon", "checkout"]
    run.set_up("test")
    assert calls[3:] == ["test", "checkout"]


def test_a_changed_lock_is_installed_into_the_same_environment(run: ModuleType, calls: list[str]) -> None:
    run.set_up("reader")
    (run.ROOT / "requirements" / "reader.txt").write_text("reader==2\n")
    run.set_up("reader")
    assert calls == ["make", "reader", "checkout", "reader", "checkout"]


def test_an_interrupted_set_up_is_done_anew(
    run: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = run.pip

    def killed(*_: str, packages: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "pip", killed)
    assert run.main(["info", "a.h5"]) == 130
    monkeypatch.setattr(run, "pip", good)
    run.set_up("reader")
    assert calls == ["make", "make", "reader", "checkout"]


@pytest.mark.parametrize("damage", ["interpreter", "stamp", "garbage", "other python", "other folder"])
def test_a_broken_environment_is_made_anew(run: ModuleType, calls: list[str], damage: str) -> None:
    run.set_up("reader")
    stamp = json.loads(run.STAMP.read_text())
    if damage == "interpreter":
        run.environment_python().unlink()
    elif damage == "stamp":
        run.STAMP.unlink()
    elif damage == "garbage":
        run.STAMP.write_text("{half")
    else:
        stamp["python" if damage == "other python" else "checkout"] = "another"
        run.STAMP.write_text(json.dumps(stamp))
    run.set_up("reader")
    assert calls == ["make", "reader", "checkout"] * 2


def test_an_update_of_the_same_python_keeps_the_environment(
    run: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.set_up("reader")
    monkeypatch.setattr(run.sys, "version", sys.version.replace("(", "(another build, "))
    run.set_up("reader")
    assert calls == ["make", "reader", "checkout"]


def test_a_half_made_environment_is_replaced_by_a_working_one(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.ENVIRONMENT / "bin").mkdir(parents=True)
    (run.ENVIRONMENT / "bin" / "rubbish").touch()
    # Without pip it is made in a second; the rest is as in earnest.
    whole = subprocess.run

    def without_pip(command: list[str], **options: object) -> object:
        return whole([*command, "--without-pip"], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(run.subprocess, "run", without_pip)
    run.make_environment()
    assert not (run.ENVIRONMENT / "bin" / "rubbish").exists()
    answer = whole(
        [run.environment_python(), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
    )
    assert Path(answer.stdout.strip()) == run.ENVIRONMENT
    assert run.read_stamp()["locks"] == {}


def test_without_rights_one_command_for_all_packages_is_told_before_anything_is_installed(
    run: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.sys, "platform", "linux")
    monkeypatch.setattr(run, "administrator_prefix", lambda: None)
    monkeypatch.setattr(run.shutil, "which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(run, "QT_LIBRARIES", {"libthere.so": "there", "libmissing.so": "missing"})

    def load(library: str) -> None:
        if library == "libmissing.so":
            raise OSError

    monkeypatch.setattr(run.ctypes, "CDLL", load)
    assert run.main(["test"]) == 2
    packages = f"python{sys.version_info.major}.{sys.version_info.minor}-venv missing fonts-dejavu-core"
    told = f"apt-get install --yes --no-install-recommends {packages}'\n"
    assert capsys.readouterr().err.endswith(told)
    assert calls == []


def test_where_all_is_there_no_package_is_asked_for(
    run: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.set_up("reader")
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(run.ctypes, "CDLL", lambda _: None)
    assert run.missing_packages(["study", "read", "folder"]) == []


@pytest.mark.parametrize(
    ("arguments", "required", "there", "wanted"),
    [
        (["test"], "1", "", ["postgresql"]),
        (["test", "tests/studies"], "1", "", ["postgresql"]),
        (["test"], "1", "in the path", []),
        (["test"], "1", "beside", []),
        (["test"], "", "", []),
        (["demo"], "1", "", []),
        ([], "1", "", []),
    ],
)
def test_a_database_server_is_installed_only_where_the_tests_must_have_one(
    run: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    required: str,
    there: str,
    wanted: list[str],
) -> None:
    monkeypatch.setenv(run.SERVER_REQUIRED, required)
    monkeypatch.setattr(run, "SERVER_PROGRAMS", tmp_path)
    monkeypatch.setattr(run.shutil, "which", lambda name: f"/bin/{name}" if there == "in the path" else None)
    if there == "beside":
        (tmp_path / "15" / "bin").mkdir(parents=True)
        (tmp_path / "15" / "bin" / "initdb").write_text("")
    assert run.missing_server(arguments) == wanted


@pytest.mark.parametrize(("arguments", "wanted"), [(["demo"], False), (["window"], True), (["test"], True)])
def test_without_a_display_the_demo_needs_no_qt(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str], wanted: bool
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(run.sys, "platform", "linux")
    assert run.opens_window(arguments) is wanted


def test_an_intel_mac_reads_but_is_told_that_it_cannot_reconstruct(
    run: ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.sys, "platform", "darwin")
    monkeypatch.setattr(run.platform, "machine", lambda: "x86_64")
    assert run.purpose_of(["window"]) == "reader"
    assert run.main(["demo"]) == 2
    assert calls == []
    assert "TensorFlow" in capsys.readouterr().err


def test_every_check_runs_and_one_failure_is_enough(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "environment_python", lambda: Path(sys.executable))
    fail, succeed = ("-c", "raise SystemExit(3)"), ("-c", "import sys; print('ran', *sys.argv[1:])")
    again = run.Check("again", ("-c", "import os; print('with', os.environ['OTHER'])"), (("OTHER", "jax"),))
    monkeypatch.setattr(run, "CHECKS", (run.Check("ruff", fail), run.Check("pytest", succeed), again))
    assert run.run_checks(["-k", "name"]) == 1
    output = capfd.readouterr().out
    assert "ran -k name" in output
    assert re.search(r"ruff +failed \(exit code 3\)", output)
    assert re.search(r"pytest +passed", output)
    assert "with" not in output
    monkeypatch.setattr(run, "CHECKS", (run.Check("ruff", succeed), run.Check("pytest", succeed), again))
    assert run.run_checks([]) == 0
    assert "with jax" in capfd.readouterr().out
    assert all((ROOT / name).exists() for name in run.FRAMEWORK_TESTS)


def test_an_old_python_is_refused_in_one_sentence(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.sys, "version_info", (3, 10, 4))
    assert run.main([]) == 2
    error = capsys.readouterr().err
    assert "needs Python 3.11" in error
    assert error.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="the fake interpreter is a link")
def test_a_second_start_installs_nothing(tmp_path: Path, run: ModuleType) -> None:
    shutil.copy(ROOT / "run.py", tmp_path / "run.py")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit(7)\n")
    run.environment_python().parent.mkdir(parents=True)
    run.environment_python().symlink_to(sys.executable)
    run.write_stamp({"reader": run.lock_digest("reader")}, interrupted=False)
    # In the folder itself `python -m app` finds the program without an installed package.
    result = subprocess.run(
        [sys.executable, "run.py", "info", "a b.h5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (7, "['info', 'a b.h5']\n"), result.stderr


# --- the locks


def pins(lock: str) -> dict[str, str]:
    """Package and version of each entry for this machine; asserts that all entries have hashes."""
    found: dict[str, str] = {}
    name = ""
    hashes = 0
    for line in (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("    --hash=sha256:"):
            hashes += 1
            continue
        assert not name or hashes, f"{name} has no hash"
        requirement = Requirement(line.rstrip(" \\"))
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        name, hashes = canonicalize_name(requirement.name), 0
        if requirement.marker is None or requirement.marker.evaluate():
            assert name not in found, f"{name} is pinned twice"
            found[name] = specifier.version
    assert hashes
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    assert not re.search(r"https?:|index-url|find-links|file:", text)


@pytest.mark.parametrize(("small", "large"), [("reader", "recon"), ("recon", "train"), ("recon", "test")])
def test_locks_agree_and_larger_ones_hold_the_smaller(small: str, large: str) -> None:
    assert pins(small).items() <= pins(large).items()


@pytest.mark.parametrize(
    ("lock", "extras"), [("reader", ()), ("recon", ("recon",)), ("train", ("train",)), ("test", ("test",))]
)
def test_locks_meet_the_project_file(lock: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [
        line for name in extras for line in project["optional-dependencies"][name]
    ]
    locked = pins(lock)
    for requirement in map(Requirement, lines):
        here = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if here and requirement.name != "blindcine":
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_no_tensorflow_on_a_readers_machine() -> None:
    assert not {"tensorflow", "tensorflow-cpu", "keras", "finufft"} & pins("reader").keys()
