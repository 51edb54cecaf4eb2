"""Scores that a framework computes for the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.environments import frameworks
from tests.probes.program.conftest import Program

HARNESS = '''
"""A stand-in of lm-eval-harness: the shape of its functions and of what they return."""


def simple_evaluate(model, tasks):
    results = evaluate(model, tasks)
    return dict(results, config={"model": model}) if results else None


def evaluate(lm, tasks):
    if lm == "another rank":
        return None
    arc = {"alias": "arc", "acc,none": 0.5, "acc_stderr,none": 0.1}
    arc.update({"acc_norm,none": 0.25, "acc_norm_stderr,none": "N/A"})
    gsm = {"exact_match,strict-match": 0.0, "exact_match_stderr,strict-match": 0.0}
    return {"results": {"arc": arc, "gsm8k": gsm}, "versions": {"arc": 1}}
'''


def test_results_of_the_harness(program: Program, tmp_path: Path) -> None:
    (tmp_path / "lm_eval").mkdir()
    (tmp_path / "lm_eval" / "__init__.py").write_text("from .evaluator import evaluate, simple_evaluate\n")
    (tmp_path / "lm_eval" / "evaluator.py").write_text(HARNESS)
    text = """
    import audit, lm_eval
    lm_eval.simple_evaluate("another rank", [])
    print(lm_eval.simple_evaluate("m", [])["config"])
    audit.record("x", 1, step=0)
    """
    ran = program(text, PYTHONPATH=str(tmp_path))
    assert (ran.done.stdout, ran.done.stderr) == ("{'model': 'm'}\n", "")
    assert ran.job()["scores"] == [
        {"name": "arc acc", "value": 0.5, "stderr": 0.1},
        {"name": "arc acc_norm", "value": 0.25, "stderr": None},
        {"name": "gsm8k exact_match,strict-match", "value": 0.0, "stderr": 0.0},
    ]


@pytest.mark.torch
def test_metrics_of_the_trainer(program: Program) -> None:
    text = """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1, n_positions=8, bos_token_id=0, eos_token_id=0)
    examples = [{"input_ids": torch.arange(8) + at, "labels": torch.arange(8) + at} for at in range(8)]
    arguments = TrainingArguments(
        "out", max_steps=2, per_device_train_batch_size=4, report_to=[], disable_tqdm=True, save_strategy="no"
    )
    def half(predictions):
        return {"half": 0.5}
    model = GPT2LMHeadModel(config)
    trainer = Trainer(model, arguments, train_dataset=examples, eval_dataset=examples, compute_metrics=half)
    print("loss", trainer.train().training_loss)
    print("eval", trainer.evaluate()["eval_loss"])
    """
    ran = program(text, interpreter=frameworks())
    said = dict(line.split(" ") for line in ran.done.stdout.splitlines() if line.startswith(("loss ", "eval ")))
    assert {score["name"]: score["value"] for score in ran.job()["scores"]} == {
        "train_loss": float(said["loss"]),
        "eval_loss": float(said["eval"]),
        "eval_half": 0.5,
    }
    assert ran.job()["trace"]["steps"] == 2
