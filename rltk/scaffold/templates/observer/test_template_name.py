"""The hooks, called as a run calls them."""

from pathlib import Path

import rltk_template_name as observer


def test_metrics_become_lines_of_the_run(tmp_path: Path) -> None:
    observer.rltk_run_start(directory=tmp_path)
    observer.rltk_metrics(stage="rl", step=1, metrics={"rl/score": 0.5, "rl/kl": 0.25})
    observer.rltk_run_end()
    observer.rltk_metrics(stage="late", step=2, metrics={"rl/score": 1.0})
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["stage,step,metric,value", "rl,1,rl/score,0.5", "rl,1,rl/kl,0.25"]


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for step in (1, 2):
        observer.rltk_run_start(directory=tmp_path)
        observer.rltk_metrics(stage="rl", step=step, metrics={"rl/score": 0.5})
        observer.rltk_run_end()
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["stage,step,metric,value", "rl,1,rl/score,0.5", "rl,2,rl/score,0.5"]
