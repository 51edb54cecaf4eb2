"""Programs that others' code drives: a compiled model, Lightning, a Trainer, torchrun. Recorded, and not changed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from fixtures import environments
from probes.program import lay
from tests.probes.program.conftest import Program, Ran

pytestmark = pytest.mark.torch

WEIGHTS = """
import hashlib
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
"""

COMPILED = """
import torch
import torch._dynamo.utils
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.GELU(), torch.nn.LayerNorm(32), torch.nn.Linear(32, 2))
compiled = torch.compile(model, fullgraph=True)
optimizer = torch.optim.Adam(model.parameters())
for step in range(3):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(compiled(torch.randn(16, 8)), torch.randint(0, 2, (16,))).backward()
    optimizer.step()
counters = torch._dynamo.utils.counters
print(dict(counters["stats"]), dict(counters["graph_break"]))
"""

LIGHTNING = """
import lightning, torch
lightning.seed_everything(0)
class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.body, self.head = torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)
    def training_step(self, batch, index):
        x, y = batch
        return torch.nn.functional.cross_entropy(self.head(torch.relu(self.body(x))), y)
    def validation_step(self, batch, index):
        self.body(batch[0])
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-2)
x = torch.randn(64, 4)
data = torch.utils.data.TensorDataset(x, (x.sum(1) > 0).long())
loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
model = Net()
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
lightning.Trainer(max_epochs=1, accelerator="cpu", **quiet).fit(model, loader, loader)
"""

TRAINER = """
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed
set_seed(0)
model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=32, n_positions=16))
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 32
    def __getitem__(self, index):
        x = torch.arange(index, index + 8) % 32
        return {"input_ids": x, "labels": x}
options = dict(per_device_train_batch_size=4, max_steps=3, gradient_accumulation_steps=2, report_to=[], use_cpu=True)
options.update(save_strategy="no", eval_strategy="steps", eval_steps=2, disable_tqdm=True)
arguments = TrainingArguments(output_dir="out", **options)
Trainer(model=model, args=arguments, train_dataset=Data(), eval_dataset=Data()).train()
"""


def runs(program: Program, text: str, begin: int = 1) -> tuple[Ran, Ran]:
    """In both modes, after it has been seen that the program's own output is what it is alone."""
    python, whole = environments.frameworks(), text + WEIGHTS
    alone = program(whole, words=["/usr/bin/env", "-u", "PYTHONPATH", python, "prog.py"])
    assert alone.done.returncode == 0, alone.done.stderr
    steps = program(whole, interpreter=python)
    operators = program(whole, interpreter=python, wanted=lay.Wanted(trace="operators", window=(begin, begin + 1)))
    told = [
        [line for line in one.done.stdout.splitlines() if "runtime" not in line] for one in (alone, steps, operators)
    ]
    assert told[0] == told[1] == told[2]
    assert told[0][-1].startswith("weights ")
    return steps, operators


def test_a_compiled_model_is_compiled_as_without_the_recorder(program: Program) -> None:
    steps, operators = runs(program, COMPILED)
    assert steps.names(1, "forward") == ["output"]
    assert steps.names(1, "update") == [
        f"weight:{name}" for name in ("0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias")
    ]
    assert "output" in operators.names(1, "forward")
    assert "aten::nll_loss_forward.0" in operators.names(1, "loss")
    assert steps.collected.notes == []
    assert operators.collected.notes == [
        "torch.compile: of the operators in compiled code, only those that it dispatches are seen"
    ]


def test_lightning(program: Program) -> None:
    steps, operators = runs(program, LIGHTNING)
    assert steps.job()["trace"]["steps"] == 4
    assert steps.names(0)[:2] == ["evaluation.batch", "evaluation.output"]  # what it looks at before it begins
    assert steps.names(3)[-2:] == ["evaluation.batch", "evaluation.output"]
    assert [name for name in steps.names(1, "data") if name.startswith("batch")] == ["batch.0", "batch.1"]
    assert steps.names(1, "forward") == ["output", "input.0", "output#1"]
    assert steps.inputs(1, "forward", "input.0") == ["output", "batch.0", "batch.1"]
    assert "aten::addmm" in operators.names(1, "forward")


def test_a_trainer_of_transformers(program: Program) -> None:
    steps, operators = runs(program, TRAINER)
    assert steps.job()["trace"]["steps"] == 3
    batch = ["batch.input_ids", "batch.labels"]
    assert [name for name in steps.names(1, "data") if name.rpartition("#")[0] in batch or name in batch] == [
        *batch,
        *[f"{name}#1" for name in batch],
    ]
    assert steps.names(1, "loss") == ["loss", "loss#1"]
    assert steps.names(1)[-2:] == ["evaluation.batch", "evaluation.output"]
    assert steps.collected.facts["program.batch"]["value"]["input_ids"] == [4, 8]
    modules = {row.get("module", "") for row, _ in operators.rows(1)}
    assert {"transformer.h.0.attn.c_attn", "transformer.h.0.ln_1"} <= modules
    # Made before the window: a batch that was fetched ahead, the trainer's own sum of losses.
    unseen = {row["phase"] for row, _ in operators.rows(1) if row["tensor"].startswith("unseen")}
    assert unseen == {"data", "backward"}


RANKS = """
    import torch
    import torch.distributed as dist
    from torch.distributed._functional_collectives import all_reduce
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    class Data(torch.utils.data.Dataset):
        def __init__(self):
            self.prepares = torch.nn.Linear(4, 4)
        def __len__(self):
            return 48
        def __getitem__(self, index):
            return self.prepares(torch.full((4,), float(index))).detach()
    def trained(model, loader):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x in loader:
            optimizer.zero_grad()
            model(x).pow(2).mean().backward()
            optimizer.step()
    def hands_around(rank):
        model, groups, before = torch.nn.Linear(4, 2), [dist.new_group(), dist.new_group()], []
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            model(torch.ones(1, 4)).sum().backward()
            parts = torch.zeros(2, 4)
            if rank:
                dist.recv(parts[0], 0)
                dist.send(parts[0], 0)
            else:
                work = dist.irecv(parts[0], 1)
                dist.send(parts[1].add_(1), 1)
                work.wait()
            sums = parts.cumsum(0)
            for work, given in before:
                work.wait()
                given.neg_()
            before = [(dist.all_reduce(sums, async_op=True), sums)]
            for given in [all_reduce(parts, "sum", group) for group in (groups if rank else groups[::-1])]:
                given.wait()
            optimizer.step()
        before[0][0].wait()
    def piped(rank):
        model = torch.nn.Linear(4, 4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        stage = PipelineStage(model, rank, 2, torch.device("cpu"))
        schedule = ScheduleGPipe(stage, n_microbatches=2, loss_fn=torch.nn.functional.mse_loss)
        schedule.step(target=torch.ones(4, 4)) if rank else schedule.step(torch.ones(4, 4))
        optimizer.step()
    def compressed():
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
        model.register_comm_hook(None, fp16_compress_hook)
        trained(model, torch.ones(1, 8, 4))
    if __name__ == "__main__":
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
        torch.manual_seed(0)
        data, model = Data(), torch.nn.Linear(4, 2)
        sampler = torch.utils.data.DistributedSampler(data)
        options = dict(sampler=sampler, num_workers=1, multiprocessing_context="spawn")
        loader = torch.utils.data.DataLoader(data, 8, **options)
        trained(torch.nn.parallel.DistributedDataParallel(model), loader)
        plan = {"0": ColwiseParallel(), "1": RowwiseParallel()}
        whole = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 2))
        trained(parallelize_module(whole, init_device_mesh("cpu", (2,)), plan), torch.randn(1, 8, 4))
        whole = torch.nn.Sequential(fully_shard(torch.nn.Linear(4, 3)), torch.nn.Linear(3, 2))
        trained(fully_shard(whole), torch.randn(2, 8, 4) + rank)
        hands_around(rank)
        piped(rank)
        compressed()
        torch.distributed.destroy_process_group()
"""


def test_two_ranks_are_two_jobs(program: Program) -> None:
    """First replicas, whose batches a spawned worker computes; then parts, and shards; then what is begun in a part of
    some memory, or in two orders, and read a step later: nothing waits for it but the program; then stages, which
    compute once with what nobody has written."""
    python = environments.frameworks()
    words = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "prog.py"]
    ran = program(dedent(RANKS), words=words, wanted=lay.Wanted(None, "operators", (2, 10)), OMP_NUM_THREADS="1")
    assert ran.done.returncode == 0, ran.done.stderr
    assert [job["name"] for job in ran.collected.jobs] == ["program.rank0", "program.rank1"]
    assert [job["trace"]["steps"] for job in ran.collected.jobs] == [10, 10]
    assert ran.collected.notes == [
        "DataLoader workers: of their work, the batches are recorded",
        "callbacks of futures (communication hooks): what they compute is not seen",
    ]
    assert ran.collected.facts["program.world_size"]["value"] == 2
    rows = [{row["tensor"]: digest for row, digest in ran.rows(1, f"program.rank{n}")} for n in (0, 1)]
    assert rows[0]["batch"] != rows[1]["batch"]
    assert rows[0]["grad:weight"] == rows[1]["grad:weight"]  # the mean over both
    assert rows[0]["weight:weight"] == rows[1]["weight:weight"]
    job = "program.rank0"
    rows = [{row["tensor"]: digest for row, digest in ran.rows(2, f"program.rank{n}")} for n in (0, 1)]
    assert rows[0]["c10d::allreduce_"] == rows[1]["c10d::allreduce_"]
    assert ran.inputs(2, "backward", "c10d::allreduce_", job) == ["aten::mul#2", "aten::mul#3"]
    assert ran.inputs(2, "backward", "aten::copy_", job) == ["c10d::allreduce_"]
    rows = [{row["tensor"]: digest for row, digest in ran.rows(3, f"program.rank{n}")} for n in (0, 1)]
    assert rows[0]["aten::addmm"] != rows[1]["aten::addmm"]
    assert rows[0]["_c10d_functional::all_reduce"] == rows[1]["_c10d_functional::all_reduce"]
    assert rows[0]["output"] == rows[1]["output"]
    rows = [{row["tensor"]: digest for row, digest in ran.rows(5, f"program.rank{n}")} for n in (0, 1)]
    assert {"aten::addmm", "aten::addmm#1", "output", "loss"} <= set(rows[0])
    gathered = ran.inputs(5, "forward", "fsdp::split_with_sizes_copy.0", job)
    assert gathered == ["c10d::_allgather_base_"]
    assert ran.inputs(5, "forward", gathered[0], job) == ["fsdp::all_gather_copy_in"]
    assert rows[0]["c10d::_allgather_base_"] == rows[1]["c10d::_allgather_base_"]
    assert ran.inputs(5, "backward", "c10d::_reduce_scatter_base_", job) == ["fsdp::chunk_cat#1"]
    assert ran.inputs(5, "backward", "grad:FSDPSequential.0.weight", job)[0].startswith("c10d::_reduce_scatter_base_")
    assert not any(name.startswith("unseen") for name in rows[0])
    shard = "weight:FSDPSequential.0.weight"
    assert rows[0][shard] != rows[1][shard]
    rows = [{row["tensor"]: digest for row, digest in ran.rows(6, f"program.rank{n}")} for n in (0, 1)]
    assert ran.inputs(6, "backward", "aten::cumsum", job) == ["aten::zeros", "aten::add_", "c10d::recv_"]
    assert rows[0]["c10d::recv_"] == rows[1]["c10d::recv_"]
    assert ran.inputs(7, "backward", "c10d::allreduce_", job) == ["before aten::cumsum"]
    assert ran.inputs(7, "backward", "aten::neg_", job) == ["c10d::allreduce_"]
    assert rows[0]["_c10d_functional::all_reduce"] == rows[1]["_c10d_functional::all_reduce#1"]
    names = [[row["tensor"] for row, _ in ran.rows(8, f"program.rank{n}")] for n in (0, 1)]
    assert [sum(name.startswith("output") for name in one) for one in names] == [2, 2]
    rows = [{row["tensor"]: digest for row, digest in ran.rows(9, f"program.rank{n}")} for n in (0, 1)]
    grads = [{name: digest for name, digest in one.items() if name.startswith("grad:")} for one in rows]
    assert len(grads[0]) == 2
    assert grads[0] == grads[1]
    assert "c10d::allreduce_" not in rows[0]


STARTED = """
    import sys, torch
    def rank(number, place):
        torch.distributed.init_process_group("gloo", f"file://{place}", rank=number, world_size=2)
        train(number, torch.nn.Linear(4, 2))
        torch.distributed.destroy_process_group()
    def train(number, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.ones(8, 4)).sum().backward()
        optimizer.step()
    def look(number, model):
        model(torch.ones(1, 4))
    if __name__ == "__main__":
        start = torch.multiprocessing.start_processes
        looking = start(look, (torch.nn.Linear(4, 2),), 1, join=False, start_method="spawn")
        start(train, (torch.nn.Linear(4, 2),), 1, start_method="fork")
        start(rank, (sys.argv[1],), 2, start_method="spawn")
        looking.join()
"""


def test_processes_that_the_program_starts_itself(program: Program, tmp_path: Path) -> None:
    python = environments.frameworks()
    ran = program(dedent(STARTED), str(tmp_path / "meeting"), interpreter=python, OMP_NUM_THREADS="1")
    assert (ran.done.returncode, ran.done.stderr) == (0, "")
    assert [job["name"] for job in ran.collected.jobs] == ["program.rank0", "program.rank1"]
    assert sorted(ran.collected.notes) == [
        "a process trains that was forked when torch was there: its steps are not recorded",
        "processes that the program starts are not recorded, unless they train",
    ]


def test_a_forked_process_that_trains_with_what_was_made_before(program: Program) -> None:
    text = """
        import os, torch
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        def step():
            model(torch.ones(8, 4)).sum().backward()
            optimizer.step()
        child = os.fork()
        step()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
    """
    ran = program(text, interpreter=environments.frameworks(), OMP_NUM_THREADS="1")
    assert (ran.done.returncode, ran.done.stderr) == (0, "")
    assert [job["name"] for job in ran.collected.jobs] == ["program"]
    assert ran.collected.notes == ["a process trains that was forked when torch was there: its steps are not recorded"]
