"""MFM: factors that make the label and help to make every modality, and factors that make one modality alone (ICLR 2019).

Idea:    A shared, discriminative factor gives the label; together with a factor of its own each modality is generated from it. Both come
         from codes that follow N(0, I). Where modalities are missing, surrogate networks infer the codes from those that are observed.
Source:  Tsai, Liang, Zadeh, Morency, Salakhutdinov, arXiv 1806.06176 (abstract; its formulas from memory, checked against the code);
         official code pliang279/factorized, `mfm_model.py`, `mfm_mosi.py`.
Differs: see `deviations`. Above all, one network infers the label's code from whatever is observed, so that training rows need not be
         complete, and the kernel of the code's distribution match, blind from 32 dimensions on, has a bandwidth that grows with them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from bench.datasets.base import Batch, Samples, Schema
from bench.methods.base import Method, MethodConfig, Prediction, loss_of_rows, prior_logits
from bench.methods.decoders import Decoders
from bench.methods.encoders import Encoders, rows_by_modality
from bench.methods.layers import Dropout, uniform_subset

log = logging.getLogger(__name__)

CHOICES: dict[str, tuple[str, ...]] = {
    "factors": ("both", "shared", "specific", "joint"), "kernel": ("gaussian", "released"), "surrogate_y": ("amortised", "separate"),
    "subsets": ("uniform", "leave_one_out"),
}  # fmt: skip
ENOUGH_COMPLETE = 0.05  # share of complete training rows below which a separate network for them would stay untrained


@dataclass(frozen=True, kw_only=True)
class MFMConfig(MethodConfig):
    epochs: int = 30  # code, its best MOSI run
    batch_size: int = 32  # code; the distribution match needs rows
    learning_rate: float = 1e-3  # code
    tokens: int = 1  # T, tokens an encoder gives; their mean is used
    width: int = 128  # d, of encoders, inference networks and decoders; ours
    code: int = 32  # z, size of each code; code 8 to 80
    factor: int = 64  # f, size of each factor; code 8 to 88
    dropout: float = 0.2  # code 0 to 0.7
    reconstruction: float = 0.1  # lambda_x, of every modality; code .01 to 10. Cross entropy is of order 1, reconstruction of order M
    mmd: float = 1.0  # lambda, of the match of codes with N(0, I); code .01 to 200, for its own kernel
    surrogate: float = 1.0  # w_s, of all that is learnt from subsets of what is observed; code 1
    kernel: str = "gaussian"  # exp(-|x-y|^2 / 2z) over pairs of different rows; "released": exp(-|x-y|^2 / z^2) over all pairs
    surrogate_y: str = "amortised"  # one network infers the label's code under every pattern; "separate": its own for incomplete rows
    subsets: str = "uniform"  # a random subset of what is observed; "leave_one_out": all but one modality, as released
    last_recon_slip: bool = False  # True: the last modality's surrogate reconstruction is of rows without the one before, as released
    factors: str = "both"  # "shared": no own ones (M_C in the code); "specific": no shared one (M_B); "joint": one own code of all (M_A)
    target_clip: float = 5.0  # reconstruction targets are cut at +- this many standard deviations, 0: not; ours

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("tokens", "width", "code", "factor"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("reconstruction", "mmd", "surrogate", "target_clip"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.surrogate_y == "separate" and (self.factors == "specific" or self.surrogate == 0):
            raise ValueError(
                "surrogate_y 'separate' needs a shared factor and a surrogate weight above 0, got factors "
                f"{self.factors!r} and surrogate {self.surrogate}: else nothing trains it"
            )


def kernel_matrix(x: Tensor, y: Tensor, kernel: str) -> Tensor:
    """Similarity of each two codes. Shapes: (n, Z), (k, Z) -> (n, k). The released one divides by Z twice, and so fades with it."""
    distances = (x.unsqueeze(1) - y.unsqueeze(0)).square()  # (n, k, Z)
    size = x.shape[1]
    return torch.exp(-distances.sum(2) / size**2 if kernel == "released" else -distances.sum(2) / (2 * size))


def mmd(codes: Tensor, prior: Tensor, kernel: str) -> Tensor:
    """Maximum mean discrepancy () of codes and draws of the prior, 0 for fewer than two. Shapes: both (n, Z).

    "gaussian" leaves each row's similarity with itself out, so that its mean is 0 for codes of the prior; it may be below 0.
    """
    rows = len(codes)
    if rows < 2:
        return codes.sum() * 0.0
    own, others = kernel_matrix(codes, codes, kernel), kernel_matrix(prior, prior, kernel)
    across = 2 * kernel_matrix(prior, codes, kernel).mean()
    if kernel == "released":
        return others.mean() + own.mean() - across
    pairs = rows * (rows - 1)
    return (others.sum() + own.sum() - 2 * rows) / pairs - across  # the diagonals are ones


def all_but_one(observed: Tensor, generator: Generator) -> Tensor:
    """Each row without one of its observed modalities, uniformly drawn; rows with one keep it. Shapes: (B, M) bool -> (B, M) bool."""
    keys = torch.rand(observed.shape, generator=generator, device=observed.device).masked_fill(~observed, -1.0)
    dropped = torch.zeros_like(observed).scatter(1, keys.argmax(1, keepdim=True), True)
    return observed & ~(dropped & (observed.sum(1, keepdim=True) > 1))


class Inference(nn.Sequential):
    """Linear, ReLU, dropout, linear: a code, without activation, so that it can follow N(0, I)."""

    def __init__(self, features: int, config: MFMConfig) -> None:
        super().__init__(nn.Linear(features, config.width), nn.ReLU(), Dropout(config.dropout), nn.Linear(config.width, config.code))


class Factor(nn.Sequential):
    """G: from a code to a factor. Shapes: (n, Z) -> (n, F)."""

    def __init__(self, config: MFMConfig) -> None:
        sizes, size = (config.code, config.factor), config.factor
        super().__init__(nn.Linear(*sizes), nn.ReLU(), Dropout(config.dropout), nn.Linear(size, size), nn.ReLU())


class TrainingOnly(nn.ModuleList):
    """Modules that no prediction needs: they count as idle."""

    @property
    def idle_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def with_mask(states: Tensor, subset: Tensor) -> Tensor:
    """States of a subset of the modalities, zero elsewhere, each with its mask bit. Shapes: (B, M, D), (B, M) bool -> (B, M * (D + 1))."""
    mask = subset.unsqueeze(2)
    return torch.cat([torch.where(mask, states, 0.0), mask.to(states.dtype)], dim=2).flatten(1)


class MFM(Method):
    """A shared factor for the label, factors of its own for each modality. Shapes: batch -> logits (B, C).

    Penalties in training: `reconstruction`, `mmd`, `surrogate`, each already weighted; a term of weight 0 is not computed, and modules
    that would serve it alone are not built. Gradients are stopped nowhere: stopped at the codes' targets, codes run away.
    """

    Config = MFMConfig
    config: MFMConfig
    log_prior: Tensor
    seen: Tensor
    has_complete: Tensor
    paper = "Tsai, Liang, Zadeh, Morency, Salakhutdinov: Learning Factorized Multimodal Representations, ICLR 2019, arXiv 1806.06176"
    year = 2019
    repository = "pliang279/factorized"
    traces = ("embeddings", "gradients")
    presets = {
        "paper": {},
        "as_released": {"kernel": "released", "surrogate_y": "separate", "subsets": "leave_one_out", "last_recon_slip": True},
        "no_surrogate": {"surrogate": 0.0},
        "no_recon": {"reconstruction": 0.0},
        "no_mmd": {"mmd": 0.0},
        "discriminative": {"surrogate": 0.0, "reconstruction": 0.0, "mmd": 0.0},
        "shared_only": {"factors": "shared"},
        "specific_only": {"factors": "specific"},
        "joint_generative": {"factors": "joint"},
    }  # fmt: skip
    search = {
        "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3), "code": (16, 32, 64), "factor": (32, 64, 128), "dropout": (0.0, 0.2, 0.5),
        "reconstruction": (0.01, 0.1, 1.0), "mmd": (0.1, 1.0, 10.0), "surrogate": (0.3, 1.0), "batch_size": (32, 64),
    }  # fmt: skip
    deviations = (
        "The suite's encoders and perceptrons infer the codes; the code has an LSTM for each modality and, for the label, a Memory Fusion "
        "Network, which needs modalities aligned word by word.",
        "The label loss is the suite's for the kind of target; the code's labels are numbers, with an absolute error.",
        "One network infers the label's code from any subset, with a mask bit a modality: complete training rows can be rare. "
        "surrogate_y='separate' (as_released) has a second one for incomplete rows, which takes over where under 5 % are complete.",
        "One surrogate network a modality, for any subset; the code has six, for three modalities of which one is missing.",
        "A training step draws one subset of each row's observed modalities; the code leaves each modality out once, in every step.",
        "Scaled values are reconstructed: of sequences the real steps, of images and volumes averages over at most 16 (8) cells an axis.",
        "What a row does not observe is no target of any loss; the code trains on complete rows alone.",
        "The kernel is exp(-|x-y|^2 / 2z) without pairs of a row with itself. The code's divides by z twice: from 32 dimensions on it "
        "prefers collapsed codes to those of the prior (kernel='released').",
        "In as_released the last modality's surrogate reconstruction is, as in the code, that of rows without the modality before it, so "
        "that its surrogate network gets no gradient from it; the paper's is of rows without the modality itself.",
        "One weight for the reconstruction of all modalities; the code draws one for each.",
        "Reconstruction targets are cut at 5 standard deviations, so that one outlier does not fill the loss.",
        "Rows without any modality get the class shares of training; a modality that no training row observes counts as missing.",
        "The released learning rate schedule is left out: constant rate, the suite's loader and its choice of the checkpoint.",
        "The model that MultiBench calls MFM has no codes, no prior and no surrogates; it is not built.",
    )

    def __init__(self, schema: Schema, config: MFMConfig) -> None:
        super().__init__(schema, config)
        modalities, width, size = len(schema), config.width, config.factor
        seen = modalities * (width + 1)
        is_specific, has_own = config.factors == "specific", config.factors in ("both", "specific")
        generates = bool(config.reconstruction or config.mmd or config.surrogate)
        self.encoders = Encoders(schema, config.tokens, width)
        self.infer_y = None if is_specific else Inference(seen, config)  # Q(Z_y | X)
        self.surrogate_y = Inference(seen, config) if config.surrogate_y == "separate" else None  # Phi(Z_y | X_O)
        self.factor_y = None if is_specific else Factor(config)
        own = nn.ModuleList if is_specific else TrainingOnly
        self.infer = own(
            Inference(width, config) for _ in range(modalities if has_own and (generates or is_specific) else 0)
        )  # Q(Z_m | X_m)
        self.factor = own(Factor(config) for _ in range(modalities if has_own and (config.reconstruction or is_specific) else 0))
        is_joint = config.factors == "joint" and bool(config.reconstruction or config.mmd)
        self.infer_joint = TrainingOnly([Inference(seen, config)] if is_joint else [])
        self.factor_joint = TrainingOnly([Factor(config)] if is_joint and config.reconstruction else [])
        self.surrogates = TrainingOnly(Inference(seen, config) for _ in range(modalities if has_own and config.surrogate else 0))  # Phi_m
        parts = {"both": 2, "joint": 2, "shared": 1, "specific": 1}[config.factors]
        self.decoders = Decoders(schema, parts * size, width, config.target_clip) if config.reconstruction else None
        inputs = modalities * size if is_specific else size
        self.head = nn.Sequential(nn.Linear(inputs, size), nn.ReLU(), Dropout(config.dropout), nn.Linear(size, schema.outputs))
        self.register_buffer("log_prior", torch.zeros(schema.outputs))  # (O,) logits of the shares of training
        self.register_buffer("seen", torch.ones(modalities, dtype=torch.bool))  # (M,) observed by a training row
        self.register_buffer("has_complete", torch.ones((), dtype=torch.bool))  # enough training rows are complete

    def prepare(self, train: Samples) -> None:
        """Class shares of the training rows, and what they observe: a modality that none does counts as missing from here on."""
        self.log_prior.copy_(prior_logits(train))
        self.seen.copy_(torch.from_numpy(train.observed.any(0)))
        complete = train.observed.all(1).mean() if len(train) else 0.0
        self.has_complete.fill_(bool(complete >= ENOUGH_COMPLETE))
        for name, seen in zip(self.schema.names, self.seen.tolist(), strict=True):
            if not seen:
                log.warning("mfm: no training row observes %s; it counts as missing", name)

    def forward(self, batch: Batch) -> Prediction:
        batch = replace(batch, observed=batch.observed & self.seen)
        observed = batch.observed
        states = self.watch(self.encoders(batch).mean(2), observed)  # (B, M, D), zero where not observed
        own = self.own_codes(states, observed)  # (B, M, Z), zero where not observed; M = 0 where there are none
        code, factor, logits = self.label(states, own, observed)
        self.trace_codes(states, own, batch)
        return Prediction(logits, self.penalties(batch, states, own, code, factor) if self.training else {})

    def own_codes(self, states: Tensor, observed: Tensor) -> Tensor:
        """Z_m of the modalities observed: (B, M, Z), zero elsewhere; in evaluation only where the label or a tracer needs them."""
        if not self.infer or not (self.training or self.tracer is not None or self.config.factors == "specific"):
            return states.new_zeros(len(states), 0, self.config.code)
        empty, found = states.new_zeros(len(states), self.config.code), []
        for m, rows in enumerate(rows_by_modality(observed)):
            found.append(empty.index_copy(0, rows, self.infer[m](states[rows, m])) if len(rows) else empty)
        return torch.stack(found, dim=1)

    def label(self, states: Tensor, own: Tensor, subset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The label's code (B, Z), its factor (B, F) and logits (B, C), from a subset of the modalities; (B, 0) without a shared factor."""
        if self.infer_y is None or self.factor_y is None:
            parts = [torch.where(subset[:, m : m + 1], factor(own[:, m]), 0.0) for m, factor in enumerate(self.factor)]
            code = factor = states.new_zeros(len(states), 0)
            logits = self.head(torch.cat(parts, dim=1))
        else:
            code = self.label_code(states, subset)
            factor = self.factor_y(code)
            logits = self.head(factor)
        return code, factor, torch.where(subset.any(1, keepdim=True), logits, self.log_prior)

    def label_code(self, states: Tensor, subset: Tensor) -> Tensor:
        """Z_y (B, Z): of incomplete rows from a network of their own, if there is one."""
        assert self.infer_y is not None
        seen = with_mask(states, subset)
        if self.surrogate_y is None:
            return self.infer_y(seen)
        is_whole = (subset | ~self.seen).all(1, keepdim=True) & self.has_complete
        return torch.where(is_whole, self.infer_y(seen), self.surrogate_y(seen))

    def draw_subset(self, observed: Tensor) -> Tensor:
        """What the surrogates may see of each row. Shapes: (B, M) bool -> (B, M) bool."""
        draw = uniform_subset if self.config.subsets == "uniform" else all_but_one
        return draw(observed, self.generator)

    def penalties(self, batch: Batch, states: Tensor, own: Tensor, code: Tensor, factor: Tensor) -> dict[str, Tensor]:
        """The three terms of training. Shapes: states (B, M, D), own (B, M, Z), code (B, Z), factor (B, F)."""
        config, observed = self.config, batch.observed
        found: dict[str, Tensor] = {}
        joint = self.infer_joint[0](with_mask(states, observed)) if len(self.infer_joint) else None  # (B, Z)
        if config.reconstruction:
            found["reconstruction"] = config.reconstruction * self.reconstruction(batch, observed, factor, own, joint).sum()
        if config.mmd:
            found["mmd"] = config.mmd * self.match(observed, own, code, joint)
        if config.surrogate:
            subset = self.draw_subset(observed)
            matched, error = self.from_subset(batch, states, own, code, subset, joint)
            found["surrogate"] = config.surrogate * matched
            if config.reconstruction:
                found["reconstruction"] = found["reconstruction"] + config.reconstruction * config.surrogate * error.sum()
        return found

    def reconstruction(self, batch: Batch, cells: Tensor, factor: Tensor, own: Tensor, joint: Tensor | None) -> Tensor:
        """Mean squared error of each modality over the rows of `cells`. Shapes: (B, M) bool, factor (B, F), own (B, M, Z) -> (M,)."""
        assert self.decoders is not None
        errors = [
            self.decoders.error(m, self.factors_of(m, rows, factor, own, joint), batch, rows)
            for m, rows in enumerate(rows_by_modality(cells))
        ]  # fmt: skip
        return torch.stack(errors)

    def factors_of(self, m: int, rows: Tensor, factor: Tensor, own: Tensor, joint: Tensor | None) -> Tensor:
        """What a decoder reads of some rows: the shared factor, then the modality's own. Shapes: rows (n,) -> (n, parts * F)."""
        shared = factor[rows]
        if self.config.factors == "shared":
            return shared
        specific = self.factor_joint[0](joint[rows]) if joint is not None else self.factor[m](own[rows, m])
        return torch.cat([shared, specific], dim=1)  # (n, 0 + F) without a shared one

    def match(self, observed: Tensor, own: Tensor, code: Tensor, joint: Tensor | None) -> Tensor:
        """How far the codes of the rows that have them are from N(0, I), summed over the codes."""
        masks = torch.cat([observed, observed.any(1, keepdim=True)], dim=1)
        *rows_of, any_of = rows_by_modality(masks)
        codes = [own[rows, m] for m, rows in enumerate(rows_of)] if own.shape[1] else []
        codes += [whole[any_of] for whole in (code, joint) if whole is not None and whole.shape[1]]
        terms = [mmd(each, self.prior(each), self.config.kernel) for each in codes]
        return torch.stack(terms).sum()

    def prior(self, codes: Tensor) -> Tensor:
        """As many draws of N(0, I) as there are codes."""
        return torch.randn(codes.shape, generator=self.generator, device=codes.device, dtype=codes.dtype)

    def from_subset(
        self, batch: Batch, states: Tensor, own: Tensor, code: Tensor, subset: Tensor, joint: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What the surrogates owe: label and codes () from a subset, and (M,) the errors of reconstructing what was left out of it.

        Shapes: states (B, M, D), own (B, M, Z), code (B, Z), subset (B, M) bool.
        """
        left_out = batch.observed & ~subset  # (B, M) not shown, and known
        rows = left_out.any(1)  # (B,)
        code_s, factor_s, logits = self.label(states, own, subset)
        total = loss_of_rows(self.schema.target, logits, batch.target, rows, self.config.value_loss)  # the label's part of the loss
        if code.shape[1]:
            total = total + mean_of_rows((code_s - code).square().mean(1), rows)
        joint_s = None if joint is None else self.infer_joint[0](with_mask(states, subset))
        if joint is not None and joint_s is not None:
            total = total + mean_of_rows((joint_s - joint).square().mean(1), rows)
        guessed = own  # (B, M, Z), the surrogates' codes of what was left out
        if len(self.surrogates):
            seen = with_mask(states, subset)
            surrogates = torch.stack([surrogate(seen) for surrogate in self.surrogates], dim=1)
            distance = (surrogates - own).square().mean(2)  # (B, M)
            total = total + torch.stack([mean_of_rows(distance[:, m], left_out[:, m]) for m in range(left_out.shape[1])]).sum()
            guessed = torch.where(left_out.unsqueeze(2), surrogates, own)
        if self.decoders is None:
            return total, total.new_zeros(len(self.schema))
        cells = left_out
        if self.config.last_recon_slip and left_out.shape[1] > 1:  # as released: rows without the modality before, with their own code
            cells = torch.cat([left_out[:, :-1], left_out[:, -2:-1] & batch.observed[:, -1:]], dim=1)
            guessed = torch.cat([guessed[:, :-1], own[:, -1:]], dim=1)
        return total, self.reconstruction(batch, cells, factor_s, guessed, joint_s)

    @torch.no_grad()
    def imagine(self, batch: Batch) -> dict[str, Tensor]:
        """What the method takes each modality of each row to be, missing ones included, in scaled values.

        Shapes: as its decoders give them, (B, F), (B, L, F) or (B, channels, *grid). Raises: ValueError if it has no decoders, or no
        surrogates for what is missing.
        """
        if self.decoders is None or (self.config.factors in ("both", "specific") and not len(self.surrogates)):
            raise ValueError("imagine needs reconstruction and surrogate weights above 0: else there are no networks that do it")
        batch = replace(batch, observed=batch.observed & self.seen)
        states, everyone = self.encoders(batch).mean(2), torch.arange(len(batch), device=batch.observed.device)
        own = torch.stack([infer(states[:, m]) for m, infer in enumerate(self.infer)], dim=1) if len(self.infer) else states[:, :0]
        _, factor, _ = self.label(states, own, batch.observed)
        seen = with_mask(states, batch.observed)
        if len(self.surrogates):
            own = torch.where(batch.observed.unsqueeze(2), own, torch.stack([each(seen) for each in self.surrogates], dim=1))
        joint = self.infer_joint[0](seen) if len(self.infer_joint) else None
        found = enumerate(self.schema.names)
        return {name: self.decoders.decode(m, self.factors_of(m, everyone, factor, own, joint)) for m, name in found}

    def trace_codes(self, states: Tensor, own: Tensor, batch: Batch) -> None:
        """Codes of the modalities, before and after surrogates stand in for missing ones."""
        if self.tracer is None or self.training or not len(self.surrogates):
            return
        seen = with_mask(states, batch.observed)
        after = torch.where(batch.observed.unsqueeze(2), own, torch.stack([each(seen) for each in self.surrogates], dim=1))
        self.trace("embeddings", sample=batch.index, observed=batch.observed, before=own, after=after)


def mean_of_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Mean over the rows named, 0 if there is none. Shapes: (B,), (B,) bool -> ()."""
    return torch.where(rows, values, 0.0).sum() / rows.sum().clamp(min=1)
