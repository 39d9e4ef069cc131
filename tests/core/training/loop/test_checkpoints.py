"""Checkpoints in a run directory that was moved."""

import torch

from q2_aam.core.training.loop.checkpoints import Checkpoints


def test_checkpoints_are_found_where_the_directory_is_now(tmp_path):
    old = "/elsewhere/best-epoch=3.ckpt"
    state = {
        "monitor": "val/mae", "best_model_score": torch.tensor(1.0), "best_model_path": old,
        "current_score": None, "dirpath": "/elsewhere", "best_k_models": {old: torch.tensor(1.0)},
        "kth_best_model_path": old, "kth_value": torch.tensor(1.0),
        "last_model_path": "/elsewhere/last.ckpt",
    }  # fmt: skip
    checkpoints = Checkpoints(dirpath=tmp_path, monitor="val/mae")
    checkpoints.load_state_dict(state)
    here = str(tmp_path / "best-epoch=3.ckpt")
    assert checkpoints.best_model_path == checkpoints.kth_best_model_path == here
    assert list(checkpoints.best_k_models) == [here]
    assert checkpoints.last_model_path == str(tmp_path / "last.ckpt")
