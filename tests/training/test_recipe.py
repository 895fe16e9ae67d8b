"""bench/training/recipe.py: what a method has of its own in its training is used, checked, said and counted; the rest stays as it is."""

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bench
from bench import registry
from bench.data.loading import load
from bench.data.parts import batch_rows
from bench.datasets.base import as_batch
from bench.errors import TrialError, UsageError
from bench.methods.base import Method, MethodConfig, Prediction
from bench.names import Choice
from bench.question.trial import Trial
from bench.seeds import stream
from bench.training import loop, recipe
from bench.training.loop import Steps, build_method
from bench.training.trial import run_trial, validate_trial

FILE = Path(__file__).parents[1] / "support" / "recipes.py"
CPU = torch.device("cpu")


def trial_of(name, options=None, epochs=3, **changes):
    method = f"{FILE}:{name}"
    dataset = Choice("breast-cancer")
    config = registry.config_of(registry.method_class(method), Choice(method, "", options or {}), {})
    return Trial(
        method=method, preset="default", options=options or {}, training={"epochs": epochs, "batch_size": 64, **changes},
        dataset="breast-cancer", dataset_options={}, combination="MEW", protocol="mcar(0.3)", seed=0, selection="accuracy",
        vary="training", fixed_seed=0, fingerprint=load(dataset).fingerprint,
        version=registry.version_of(registry.method_class(method), config),
    )  # fmt: skip


def made(cls, samples, **config):
    return build_method(cls, cls.Config(**{"batch_size": 8, **config}), samples, 0, CPU)


class Linear(Method):
    """All modalities side by side, zero where not observed."""

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.layer = nn.Linear(sum(math.prod(m.shape) for m in schema), len(schema.classes))

    def forward(self, batch):
        return Prediction(self.layer(torch.cat([torch.nan_to_num(x).flatten(1) for x in batch.inputs.values()], 1)))


def trained(method, samples, epochs=2):
    """Losses of each batch."""
    steps, order, losses = Steps(method, method.config), stream(0, "order"), []
    method.train()
    for epoch in range(epochs):
        losses += [loss.item() for loss in steps.epoch(as_batch(samples), samples.observed, epoch, order)]
        steps.check()
    return losses


# ---- the default


@pytest.mark.parametrize("schedule", ["constant", "poly", "step"])
def test_method_without_hooks_trains_as_ever(make_samples, schedule):
    """The loop as it was before there were hooks, written out, gives the same bits."""
    samples = make_samples(n=25)
    method = made(Linear, samples, epochs=3, schedule=schedule, weight_decay=0.1, clip_norm=0.5, amsgrad=True)
    losses = trained(method, samples, 3)
    twin = made(Linear, samples, epochs=3)
    adam = torch.optim.Adam(twin.parameters(), 1e-3, weight_decay=0.1, amsgrad=True, fused=True)
    data, order, expected = as_batch(samples), stream(0, "order"), []
    for epoch in range(3):
        factor = {"constant": 1.0, "poly": (1 - epoch / 3) ** 0.9, "step": 1.0}[schedule]
        for group in adam.param_groups:
            group["lr"] = 1e-3 * factor
        for rows in batch_rows(len(samples), 8, order):
            batch = data.rows(torch.from_numpy(rows))
            loss = F.cross_entropy(twin(batch).logits, batch.target)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
            adam.step()
            expected.append(loss.item())
    assert losses == expected
    assert all(torch.equal(a, b) for a, b in zip(method.parameters(), twin.parameters(), strict=True))


def test_record_of_the_suites_recipe_says_nothing_of_it():
    record, _ = run_trial(trial_of("Plain"))
    assert record.facts.recipe == []
    assert "recipe" not in record.facts.as_json()


# ---- one's own


def test_record_says_what_is_of_its_own():
    record, _ = run_trial(trial_of("Own", accumulate=2, precision="mixed"))
    assert record.facts.recipe == [
        "own loss", "own optimiser", "own schedule", "own choice of training rows", "gradients of 2 batches a step",
        "mixed precision was asked for, cpu trained in single precision",
    ]  # fmt: skip
    assert record.metrics["accuracy"] > 0.6


def test_groups_keep_their_own_rates_under_a_schedule_by_step(make_samples):
    samples, rates = make_samples(n=32, missing=0.0), []
    cls = registry.method_class(f"{FILE}:Own")

    class Watched(cls):
        def loss(self, prediction, batch):
            rates.append([group["lr"] for group in steps.optimiser.param_groups])
            return super().loss(prediction, batch)

    method = made(Watched, samples, learning_rate=0.01)
    steps = Steps(method, method.config)
    for epoch in range(3):
        list(steps.epoch(as_batch(samples), samples.observed, epoch, stream(0, "order")))
    factors = [min(1, k / 8) for k in range(1, 13)]
    assert rates == [pytest.approx([0.001 * factor, 0.01 * factor]) for factor in factors]


def test_own_loss_is_what_is_descended_and_penalties_are_added(make_samples):
    samples = make_samples(n=8)

    class Squared(Linear):
        def forward(self, batch):
            return Prediction(super().forward(batch).logits, {"size": self.layer.weight.square().sum()})

        def loss(self, prediction, batch):
            return (prediction.logits - F.one_hot(batch.target, 3)).square().mean()

    method = made(Squared, samples)
    batch = as_batch(samples)
    logits = method(batch).logits
    expected = (logits - F.one_hot(batch.target, 3)).square().mean() + method.layer.weight.square().sum()
    assert Steps(method, method.config).take(batch, "here").item() == pytest.approx(expected.item())


def test_rows_of_a_warm_up_are_the_only_ones_trained_on(make_samples):
    samples, seen = make_samples(n=40), []

    class Complete(Linear):
        def rows(self, epoch, observed):
            assert isinstance(observed, np.ndarray)
            return observed.all(1) if epoch == 0 else super().rows(epoch, observed)

        def forward(self, batch):
            seen.extend(batch.index.tolist())
            return super().forward(batch)

    method = made(Complete, samples)
    steps, order = Steps(method, method.config), stream(0, "order")
    list(steps.epoch(as_batch(samples), samples.observed, 0, order))
    complete = np.flatnonzero(samples.observed.all(1))
    assert sorted(seen) == complete.tolist()
    permutation = stream(0, "order").permutation(40)
    assert seen == [row for row in permutation.tolist() if row in complete]  # in the order that they have among all
    seen.clear()
    list(steps.epoch(as_batch(samples), samples.observed, 1, order))
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize("rows", [32, 29, 17], ids="{} rows".format)
def test_accumulated_batches_step_as_one_large_batch_does(make_samples, rows):
    samples = make_samples(n=rows)
    small, large = (made(Linear, samples, batch_size=size, accumulate=each, clip_norm=0.1) for size, each in ((4, 4), (16, 1)))
    for method in (small, large):
        trained(method, samples)
    for a, b in zip(small.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_accumulation_takes_a_step_for_what_is_left_over(make_samples):
    samples = make_samples(n=20)
    method = made(Linear, samples, batch_size=4, accumulate=3)
    asked = []
    method.schedule = lambda epoch, step, steps: asked.append((epoch, step, steps)) or 1.0
    steps = Steps(method, method.config)
    list(steps.epoch(as_batch(samples), samples.observed, 0, stream(0, "order")))
    assert asked == [(0, 0, 2), (0, 1, 2)]
    assert steps.optimiser.state[method.layer.weight]["step"].item() == 2


def test_prototypes_after_training_are_what_is_tested_and_validated():
    record, predictions = run_trial(trial_of("Prototypes"))
    assert record.facts.recipe == ["a step of its own after training"]
    assert (predictions.outputs <= 0).all()  # distances, not the head's logits
    valid, _ = validate_trial(trial_of("Prototypes"))
    assert valid.facts.valid == record.facts.valid


def test_checkpoint_is_chosen_before_and_its_score_taken_after(monkeypatch):
    scored = []
    original = loop.selection_score
    monkeypatch.setattr(loop, "selection_score", lambda *args: scored.append(original(*args)) or scored[-1])
    record, _ = run_trial(trial_of("Prototypes", epochs=4))
    assert len(scored) == 5
    assert record.facts.best_epoch == scored.index(max(scored[:4])) + 1
    assert record.facts.valid == scored[4][0]


@pytest.mark.parametrize("name", ["Prototypes", "Neighbours"])
def test_kept_weights_come_back_with_what_was_made_after_training(tmp_path, name):
    pytest.importorskip("safetensors", reason="needs safetensors (extra weights)")
    asked = {"datasets": "breast-cancer", "noise": 0.3, "seeds": 0, "training": {"epochs": 2}, "quiet": True}
    bench.run(methods=f"{FILE}:{name}", out=tmp_path, keep_weights=True, **asked)
    from bench.records.database import Store

    with Store(tmp_path, create=False) as store:
        (record,) = store.records()
        predictions = store.predictions([record.trial.id])[record.trial.id]
    assert bench.load_weights(record.trial.id, tmp_path).logits().tobytes() == predictions.outputs.tobytes()


# ---- the budget


def test_budget_counts_own_loss_rows_and_what_comes_after_training(make_samples):
    plain = validate_trial(trial_of("Plain"))[0].facts.train_gflops
    assert validate_trial(trial_of("Own", {"warm": 0}))[0].facts.train_gflops == pytest.approx(plain, rel=0.01)
    assert validate_trial(trial_of("Own", {"warm": 3}))[0].facts.train_gflops < 0.6 * plain  # complete rows alone
    assert validate_trial(trial_of("Prototypes"))[0].facts.train_gflops > plain


def test_products_in_a_loss_count_to_a_step(make_samples):
    from bench.training.cost import training_flops

    samples = make_samples(n=8)

    class Costly(Linear):
        def loss(self, prediction, batch):
            return super().loss(prediction, batch) + (prediction.logits @ prediction.logits.T).mean()

    plain, costly = (training_flops(made(cls, samples), as_batch(samples)) for cls in (Linear, Costly))
    assert costly - plain == 3 * 2 * 8 * 8 * 3  # forwards, and twice backwards


def test_tuning_reaches_the_fields_of_a_recipe():
    one, other = (run_trial(trial_of("Own", {"smoothing": value}))[1].outputs for value in (0.0, 0.3))
    assert not np.array_equal(one, other)


# ---- precision


def test_mixed_precision_is_where_the_device_has_it(monkeypatch):
    mixed = MethodConfig(precision="mixed")
    assert isinstance(recipe.autocast(mixed, CPU), nullcontext)
    monkeypatch.setattr(recipe, "has_mixed", lambda device: True)
    assert isinstance(recipe.autocast(MethodConfig(), CPU), nullcontext)
    with recipe.autocast(mixed, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_mixed_steps_train_and_scores_stay_single(make_samples, monkeypatch):
    monkeypatch.setattr(recipe, "has_mixed", lambda device: True)
    samples = make_samples(n=32)
    method = made(Linear, samples, precision="mixed", learning_rate=0.01)
    losses = trained(method, samples, 20)
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    assert loop.predict(method, as_batch(samples), 8).dtype == torch.float32
    assert {parameter.dtype for parameter in method.parameters()} == {torch.float32}


# ---- what is refused


def broken(**hooks):
    return type("Broken", (Linear,), hooks)


class NeedsClosure(torch.optim.SGD):
    def step(self, closure):
        return super().step(closure)


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"optimiser": lambda self: None}, "Broken.optimiser must return a torch.optim.Optimizer, got NoneType"),
        ({"optimiser": lambda self: ([], [])}, "got tuple; a schedule has a hook of its own"),
        ({"optimiser": lambda self: torch.optim.LBFGS(self.parameters())}, "got LBFGS, which asks for the loss again"),
        ({"optimiser": lambda self: torch.optim.SGD([self.layer.weight], 0.1)}, "got none of layer.bias"),
        (
            {"optimiser": lambda self: torch.optim.SGD([*self.parameters(), torch.zeros(1, requires_grad=True)], 0.1)},
            "a tensor that is none of them",
        ),
        (
            {"schedule": lambda self, epoch, step, steps: math.nan},
            "must return a finite number of at least 0, got nan (epoch 1, step 1 of 3)",
        ),
        ({"schedule": lambda self, epoch, step, steps: None}, "at least 0, got None"),
        (
            {"loss": lambda self, prediction, batch: 0.5},
            "Broken.loss must return one floating-point number, a tensor of shape (), got float",
        ),
        ({"loss": lambda self, prediction, batch: prediction.logits.sum(1)}, r"got torch.float32 of shape (8,) (epoch 1, batch 1)"),
        ({"loss": lambda self, prediction, batch: prediction.logits.sum().detach()}, "got one without: it was detached"),
        ({"loss": lambda self, prediction, batch: prediction.logits.sum() * math.nan}, "non-finite loss: Broken.loss"),
        ({"rows": lambda self, epoch, observed: np.arange(3)}, "Broken.rows must return bool (24,), True for each training row to take"),
        ({"rows": lambda self, epoch, observed: None}, "got NoneType (epoch 1)"),
        ({"rows": lambda self, epoch, observed: np.zeros(len(observed), bool)}, "a row at least, got none of 24 (epoch 1)"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_hook_that_gives_what_it_may_not_is_told_so(make_samples, hooks, said):
    samples = make_samples(n=24)
    with pytest.raises(TrialError) as error:
        trained(made(broken(**hooks), samples), samples)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["loss", "optimiser", "schedule", "rows", "prepare"])
def test_attribute_that_hides_a_hook_is_refused(make_samples, name):
    class Hides(Linear):
        def __init__(self, schema, config):
            super().__init__(schema, config)
            setattr(self, name, nn.CrossEntropyLoss())

    with pytest.raises(TrialError, match=f"self.{name} of Hides hides the function {name} of Method"):
        made(Hides, make_samples())


@pytest.mark.parametrize("fused", [True, False, None])
def test_no_optimiser_moves_anything_once_a_loss_is_not_finite(make_samples, fused):
    samples = make_samples(n=24)

    class Lost(Linear):
        def optimiser(self):
            return torch.optim.AdamW(self.parameters(), 0.1, weight_decay=0.5, fused=fused)

        def loss(self, prediction, batch):
            return super().loss(prediction, batch) * (math.nan if self.lost else 1.0)

    method = made(Lost, samples)
    method.lost, steps = False, Steps(method, method.config)
    steps.take(as_batch(samples), "one")
    before, method.lost = method.layer.weight.detach().clone(), True

    def go_on():
        steps.take(as_batch(samples), "two")
        steps.check()

    with pytest.raises(TrialError, match=r"non-finite loss: Lost.loss \(two\)"):
        go_on()
    assert torch.equal(method.layer.weight, before)


@pytest.mark.parametrize("changes", [{"accumulate": 0}, {"precision": "half"}])
def test_config_refuses_what_no_step_can_be(changes):
    with pytest.raises(ValueError, match="accumulate must be at least 1, precision single or mixed"):
        MethodConfig(**changes)


def test_same_seed_same_bits_with_a_recipe():
    trial = trial_of("Own", {"warm": 1})
    first = run_trial(trial)[1].outputs
    torch.manual_seed(5)
    assert np.array_equal(first, run_trial(trial)[1].outputs)
    assert not np.array_equal(first, run_trial(replace(trial, seed=1))[1].outputs)


# ---- names that nearly are hooks


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("configure_optimizers", "optimiser(self)"),
        ("optimizer", "optimiser(self)"),
        ("scheduler", "schedule(self, epoch"),
        ("lr_scheduler", "schedule(self, epoch"),
        ("training_step", "loss(self, prediction"),
        ("loss_fn", "loss(self, prediction"),
        ("get_loss", "loss(self, prediction"),
        ("criterion", "loss(self, prediction"),
        ("filter_rows", "rows(self, epoch"),
        ("on_train_end", "after_training(self, train"),
        ("on_train_epoch_start", "on_epoch(self, epoch"),
        ("validation_step", "on_evaluate(self)"),
    ],
)
def test_name_that_nearly_is_a_hook_is_refused_when_the_class_is_defined(name, hook):
    with pytest.raises(TypeError) as error:
        broken(**{name: lambda self: None})
    assert str(error.value).startswith(f"Broken defines {name}, which bench never calls; what it calls is {hook}")
    assert "\n" not in str(error.value)


def test_near_name_from_a_base_of_another_library_is_refused_too():
    class Lightning:
        def configure_optimizers(self):
            return None

    with pytest.raises(TypeError, match="Lightning defines configure_optimizers"):

        class Both(Lightning, Linear):
            pass


def test_near_name_beside_the_hook_itself_is_a_helper():
    assert broken(compute_loss=lambda self: None, loss=lambda self, prediction, batch: prediction.logits.sum())


def test_near_name_in_a_file_is_one_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from bench.methods.base import Method\n\n\nclass Mine(Method):\n    def training_step(self, batch, index):\n        return 0\n"
    )
    with pytest.raises(UsageError, match="does not import: TypeError: Mine defines training_step, which bench never calls") as error:
        registry.method_class(f"{tmp_path / 'mine.py'}:Mine")
    assert "\n" not in str(error.value)


# ---- files that options name


def test_state_that_does_not_fit_is_one_line(make_samples):
    class Loads(Linear):
        def __init__(self, schema, config):
            super().__init__(schema, config)
            self.load_state_dict({"layer.weight": torch.zeros(1, 1), "more": torch.zeros(1)})

    with pytest.raises(TrialError) as error:
        made(Loads, make_samples())
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith("weights that Loads loads do not fit it: ")
    assert all(word in said for word in ("layer.bias", "more", "size mismatch for layer.weight"))


@pytest.mark.parametrize(
    "wrap", [str, Path, lambda path: (str(path),), lambda path: {"encoder": path}], ids=["text", "path", "tuple", "mapping"]
)
def test_content_of_a_named_file_is_part_of_the_version(tmp_path, wrap):
    from bench.registry.code import contents_of

    file = tmp_path / "x.pt"
    file.write_bytes(b"one")
    before = contents_of([wrap(file)])
    file.write_bytes(b"two")
    assert len(before) == 1
    assert contents_of([wrap(file)]) != before


# ---- the page


def test_row_of_a_method_with_its_own_recipe_says_so(tmp_path):
    asked = {"datasets": "breast-cancer", "noise": 0.3, "seeds": 0, "training": {"epochs": 1}, "quiet": True}
    bench.run(methods=[f"{FILE}:Own", f"{FILE}:Plain", "constant"], out=tmp_path, **asked)
    board = bench.board(tmp_path)
    flags = {row.label.rpartition(":")[2]: row.flags for setting in board.settings for row in setting.rows}
    assert [word for word in flags["Own"] if word.startswith("own")] == [
        "own loss",
        "own optimiser",
        "own schedule",
        "own choice of training rows",
    ]
    assert not any("own " in word for word in flags["Plain"])
