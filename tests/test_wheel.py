"""A wheel built from the repository brings its configuration, recipes and data, and runs from another folder."""

import os
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
    ]
    subprocess.run([*build, "-w", str(folder), str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("medsafe_train-*.whl"))


def test_it_holds_every_file_that_is_read_at_run_time(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("conf", "recipes", "data"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert f"medsafe_train/{path.relative_to(ROOT).as_posix()}" in inside


def test_installed_elsewhere_it_runs_smoke(wheel, tmp_path):
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--target",
        str(site),
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    env = {**os.environ, "PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import medsafe_train; print(medsafe_train.__file__)"]
    assert str(site) in subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    done = subprocess.run(
        [sys.executable, "-m", "medsafe_train", "+recipe=smoke"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "outputs" / "runs" / "smoke").glob("*/report.json"))
