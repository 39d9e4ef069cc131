"""The directory of a run."""

import pytest

from q2_aam.core.training.loop.run_directory import run_directory


def test_run_directory_is_found_again(tmp_path):
    with run_directory(tmp_path, "pretrain", "0" * 64) as first:
        (first / "last.ckpt").touch()
    with run_directory(tmp_path, "pretrain", "0" * 64) as again:
        assert (again / "last.ckpt").exists()


def test_run_directory_without_a_root_is_none():
    with run_directory(None, "pretrain", "0" * 64) as place:
        assert place is None


def test_run_directory_of_other_inputs_is_another_and_says_so(tmp_path, caplog):
    with run_directory(tmp_path, "pretrain", "0" * 64) as first:
        pass
    with run_directory(tmp_path, "pretrain", "1" * 64) as second:
        assert second != first
    assert f"differ from those of the run in {first}" in caplog.text


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
