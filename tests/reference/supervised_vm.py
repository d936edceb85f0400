"""Asking a VM under the supervisor."""

from __future__ import annotations

from harness.reference.supervised import CodeRun, SupervisedVm


def said(vm: SupervisedVm, source: str) -> str:
    result = vm.run("import supervisor, alarm\n" + source)
    assert result.stderr == b""
    return result.stdout.decode().strip().replace("\r", "")


def refused(vm: SupervisedVm, source: str) -> bytes:
    return vm.run("import supervisor\n" + source).stderr.split(b"\r\n")[-2]


def files(runs: list[CodeRun]) -> list[str | None]:
    return [run.file for run in runs]
