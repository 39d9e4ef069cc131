"""The directory of a run."""

import contextlib
import errno
import fcntl
import os
import time

import pytest

from q2_aam.core.training.loop.run_directory import FINISHED, KEPT_DAYS, run_directory


def test_run_directory_is_found_again(tmp_path):
    with run_directory(tmp_path, "pretrain", "0" * 64) as first:
        (first / "last.ckpt").touch()
    with run_directory(tmp_path, "pretrain", "0" * 64) as again:
        assert (again / "last.ckpt").exists()


def test_run_directory_without_a_root_is_none():
    with run_directory(None, "pretrain", "0" * 64) as place:
        assert place is None


def left(root, digest):
    """Leave a run before its end, with a checkpoint."""
    with contextlib.suppress(KeyError), run_directory(root, "pretrain", digest * 64) as place:
        (place / "last.ckpt").touch()
        raise KeyError("killed")
    return place


def test_run_directory_of_other_inputs_than_an_unfinished_run_says_so_once(tmp_path, caplog):
    first = left(tmp_path, "0")
    for digest in "12":
        with run_directory(tmp_path, "pretrain", digest * 64) as second:
            assert second != first
    assert caplog.text.count(f"differ from those of the unfinished run in {first}") == 1


def test_run_directory_beside_runs_that_are_finished_or_at_work_says_nothing(tmp_path, caplog):
    """As the folds of a cross-validation lie beside each other."""
    with run_directory(tmp_path, "pretrain", "0" * 64) as place:
        (place / "last.ckpt").touch()
    with run_directory(tmp_path, "pretrain", "1" * 64) as place:
        (place / "last.ckpt").touch()
        with run_directory(tmp_path, "pretrain", "2" * 64):
            pass
    assert not caplog.text


def test_a_finished_run_can_be_told_until_it_is_taken_up_again(tmp_path):
    with run_directory(tmp_path, "pretrain", "0" * 64) as place:
        assert not (place / FINISHED).exists()
    assert "removes this directory" in (place / FINISHED).read_text()
    assert not (left(tmp_path, "0") / FINISHED).exists()


def test_finished_runs_of_long_ago_are_removed(tmp_path):
    with run_directory(tmp_path, "pretrain", "0" * 64) as old:
        pass
    with run_directory(tmp_path, "train-regressor", "1" * 64) as recent:
        pass
    unfinished, other = left(tmp_path, "2"), tmp_path / "mine"
    other.mkdir()
    long_ago = time.time() - (KEPT_DAYS + 1) * 24 * 3600
    (other / FINISHED).touch()
    for place in (old, other):
        os.utime(place / FINISHED, (long_ago, long_ago))
    os.utime(unfinished, (long_ago, long_ago))
    with run_directory(tmp_path, "train-regressor", "3" * 64) as new:
        assert sorted(tmp_path.iterdir()) == sorted([recent, unfinished, other, new])


def unsupported(number):
    def fail(file, operation):
        raise OSError(number, os.strerror(number))

    return fail


WITHOUT_LOCKS = [errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.EIO, errno.EPERM]


@pytest.mark.parametrize("number", WITHOUT_LOCKS)
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog, number):
    for kind in ("flock", "lockf"):
        monkeypatch.setattr(fcntl, kind, unsupported(number))
    with run_directory(tmp_path, "pretrain", "0" * 64) as place:
        (place / "last.ckpt").touch()
    assert f"{tmp_path} has no locks ({os.strerror(number)})" in caplog.text
    with run_directory(tmp_path, "pretrain", "0" * 64) as place:
        assert (place / "last.ckpt").exists()


def test_locks_of_the_other_kind_are_used_where_there_are_some(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(fcntl, "flock", unsupported(errno.ENOSYS))
    with run_directory(tmp_path, "pretrain", "0" * 64):
        pass
    assert not caplog.text
    monkeypatch.setattr(fcntl, "lockf", unsupported(errno.EAGAIN))
    with (
        pytest.raises(ValueError, match="Another process is at work"),
        run_directory(tmp_path, "pretrain", "0" * 64),
    ):
        pass


def test_run_directory_of_another_action_says_nothing(tmp_path, caplog):
    with run_directory(tmp_path, "pretrain", "0" * 64), run_directory(tmp_path, "train", "0" * 64):
        assert not caplog.text


def test_run_directory_is_for_one_at_a_time(tmp_path):
    with (
        run_directory(tmp_path, "pretrain", "0" * 64),
        pytest.raises(ValueError, match=r"Another process is at work on the same run"),
        run_directory(tmp_path, "pretrain", "0" * 64),
    ):
        pass


def test_run_directory_is_free_again_after_an_error(tmp_path):
    with (
        pytest.raises(RuntimeError, match="something else"),
        run_directory(tmp_path, "pretrain", "0" * 64),
    ):
        raise RuntimeError("something else")
    with run_directory(tmp_path, "pretrain", "0" * 64):
        pass


def test_run_directory_in_a_file(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match=r"run directory .*file.* cannot be written"),
        run_directory(tmp_path / "file", "pretrain", "0" * 64),
    ):
        pass


def test_run_directory_removes_what_was_half_written(tmp_path):
    with run_directory(tmp_path, "pretrain", "0" * 64) as place:
        (place / ".last.ckpt.x1y2z3").touch()
        (place / "last.ckpt").touch()
    with run_directory(tmp_path, "pretrain", "0" * 64) as place:
        assert sorted(path.name for path in place.iterdir()) == [".lock", "last.ckpt"]


def stopped(root, error, *, with_checkpoint):
    with run_directory(root, "pretrain", "0" * 64) as place:
        if with_checkpoint:
            (place / "last.ckpt").touch()
        raise error


def test_a_stopped_run_says_how_to_go_on(tmp_path):
    with pytest.raises(ValueError, match=r"stopped before its end.*kept in .*To resume it"):
        stopped(tmp_path, SystemExit(), with_checkpoint=True)


def test_a_run_stopped_early_says_that_it_begins_anew(tmp_path):
    with pytest.raises(ValueError, match=r"No epoch was complete.*from the beginning"):
        stopped(tmp_path, SystemExit(), with_checkpoint=False)


def test_a_run_stopped_without_a_directory_says_how_to_have_one():
    with pytest.raises(ValueError, match=r"Nothing of the run is kept.*set Q2_AAM_RUN_DIR"):
        stopped(None, SystemExit(), with_checkpoint=False)


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(ValueError, match=r"no room to write /x/y \(No space left on device\)"):
        stopped(tmp_path, OSError(28, "No space left on device", "/x/y"), with_checkpoint=True)


def test_a_read_only_disk_says_what_to_set(tmp_path):
    with pytest.raises(ValueError, match=r"cannot write /x/y \(Read-only .*TMPDIR"):
        stopped(tmp_path, OSError(30, "Read-only file system", "/x/y"), with_checkpoint=True)


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing there"):
        stopped(tmp_path, FileNotFoundError(2, "nothing there"), with_checkpoint=True)
