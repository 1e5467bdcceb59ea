"""`acme.json`."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from lbcore.acme.storage import FileStorage, Signature, StorageError, StoredAccount, StoredCertificate, StoredFailure


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    found = FileStorage(tmp_path / "acme.json")
    found.open()
    return found


def test_only_the_owner_may_read_a_new_file(storage: FileStorage) -> None:
    assert storage.path.stat().st_mode & 0o777 == 0o600
    assert storage.account("le") is None
    assert storage.certificates("le") == []


def test_what_was_written_is_read(storage: FileStorage) -> None:
    account = StoredAccount("a@b.test", "https://ca/1", b"\x00key", {"status": "valid"})
    storage.set_account("le", account)
    first = StoredCertificate(("a.test", "b.test"), "CERT 1", "KEY 1")
    storage.add_certificate("le", first)
    storage.add_certificate("other", StoredCertificate(("c.test",), "CERT 2", "KEY 2"))
    renewed = StoredCertificate(("b.test", "a.test"), "CERT 3", "KEY 3")
    storage.add_certificate("le", renewed)
    storage.set_failures("le", [StoredFailure(("x.test",), 3, 12.5)])
    again = FileStorage(storage.path)
    assert again.account("le") == account
    assert again.certificates("le") == [renewed]
    assert [each.names for each in again.certificates("other")] == [("c.test",)]
    assert again.failures("le") == [StoredFailure(("x.test",), 3, 12.5)]
    storage.set_failures("le", [])
    assert "Failures" not in json.loads(storage.path.read_text())["le"]
    assert storage.path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(storage.path.parent) == ["acme.json"]


def test_several_certificates_are_one_change_and_what_is_the_same_is_none(storage: FileStorage) -> None:
    signatures = [storage.signature()]
    added = [(f"r{number % 2}", StoredCertificate((f"{number}.test",), "C", "K")) for number in range(6)]
    written: list[bytes] = []
    write = storage._write

    def noted(data: bytes) -> Signature:
        written.append(data)
        return write(data)

    storage._write = noted  # type: ignore[method-assign]
    storage.add_certificates(added)
    assert len(written) == 1
    assert [each.names[0] for each in storage.certificates("r0")] == ["0.test", "2.test", "4.test"]
    signatures.append(storage.signature())
    storage.add_certificates(added[2:3])
    storage.set_failures("r0", [])
    assert len(written) == 1
    assert storage.signature() == signatures[1] != signatures[0]


def test_a_change_tells_whether_another_process_came_before_it(storage: FileStorage) -> None:
    known = storage.signature()
    own = storage.add_certificate("le", StoredCertificate(("own.test",), "C", "K"))
    assert (own.before, own.after) == (known, storage.signature())
    other = FileStorage(storage.path).add_certificate("le", StoredCertificate(("other.test",), "C", "K"))
    assert other.before == own.after != other.after
    failed = storage.set_failures("le", [StoredFailure(("x.test",), 1, 2.0)])
    assert failed.before == other.after != own.after
    same = storage.set_failures("le", [StoredFailure(("x.test",), 1, 2.0)])
    assert same.before == same.after == failed.after == storage.signature()


def test_what_is_not_known_stays(storage: FileStorage) -> None:
    content = {"le": {"Account": {"KeyType": "4096", "Email": "x"}, "Certificates": None, "Later": [1]}, "ts": {"x": 1}}
    storage.path.write_text(json.dumps(content))
    storage.set_account("le", StoredAccount("y", "https://ca/1", b"k"))
    storage.add_certificate("le", StoredCertificate(("a",), "C", "K"))
    found = json.loads(storage.path.read_text())
    assert found["ts"] == {"x": 1}
    assert found["le"]["Later"] == [1]
    assert (found["le"]["Account"]["KeyType"], found["le"]["Account"]["Email"]) == ("4096", "y")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o610])
def test_one_that_others_may_read_is_refused(storage: FileStorage, mode: int) -> None:
    storage.path.chmod(mode)
    with pytest.raises(StorageError, match=f"permissions {mode:o} for .* are too open, please use 600"):
        storage.open()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "no object"),
        ('{"le": 1}', "no objects"),
        ('{"Account": {}, "Certificates": {}}', "of Traefik 1"),
    ],
)
def test_one_that_is_none_is_refused(storage: FileStorage, text: str, problem: str) -> None:
    storage.path.write_text(text)
    with pytest.raises(StorageError, match=problem):
        storage.open()


def test_entries_that_cannot_be_read_leave_the_others(storage: FileStorage) -> None:
    storage.add_certificate("le", StoredCertificate(("a.test",), "C", "K"))
    content = json.loads(storage.path.read_text())
    content["le"]["Certificates"] += [{}, 5, {"domain": {"main": "b"}, "certificate": "%%", "key": ""}, None]
    storage.path.write_text(json.dumps(content))
    assert [each.names for each in storage.certificates("le")] == [("a.test",)]
    storage.add_certificate("le", StoredCertificate(("a.test",), "D", "L"))
    assert len(json.loads(storage.path.read_text())["le"]["Certificates"]) == 5


def test_a_file_that_cannot_be_replaced_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "acme.json")
    storage = FileStorage(tmp_path / "link")
    storage.open()
    storage.add_certificate("le", StoredCertificate(("a.test",), "C", "K"))
    assert (tmp_path / "link").is_symlink()
    assert "a.test" in (tmp_path / "real" / "acme.json").read_text()


def test_several_that_write_at_once_lose_nothing(storage: FileStorage) -> None:
    def write(number: int) -> None:
        FileStorage(storage.path).add_certificate(f"r{number % 3}", StoredCertificate((f"{number}.test",), "C", "K"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(storage.certificates(f"r{number}")) for number in range(3)) == 24
