"""Bench lidar says what is wrong with its input."""

from __future__ import annotations

import gzip
import json

from armillary.cli.main import main


def test_what_is_no_rawlog_is_one_sentence(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["bench", "lidar", str(tmp_path / "none"), "--out", str(out), "--json"]) == 2
    assert "there is no such file; a rawlog was expected" in capsys.readouterr().err
    other = tmp_path / "other.rawlog"
    other.write_bytes(gzip.compress(b"\x84CFoo\x01"))
    assert main(["bench", "lidar", str(other), "--out", str(out), "--json"]) == 2
    said = capsys.readouterr()
    assert "CFoo version 1 at byte 0 is not known" in said.err
    assert json.loads(said.out)["exit_code"] == 2
    assert not out.exists()
