"""A training from its configuration to its result; it goes on from its last state when it is started again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from diffusers import CogVideoXDDIMScheduler

from ..api.errors import JobFailed, SettingError
from ..api.exclusive import alone_in
from ..api.files import remove_leftovers
from ..engines.void.model import Model, choose_device
from ..engines.void.weights import Weights, find
from . import beginning, examples, learner, store
from .config import BASE, Training
from .course import Course
from .journal import Journal
from .state import State
from .step import loss_of, optimiser, rate_at

#: Of what was told: how far it is, and what is being done.
Report = Callable[[float, str], None]
#: Steps between two versions of the page.
_PAGE_EVERY = 10
# How long a process waits for others that live: the first encodes meanwhile, or waits for another training. Whoever
# starts the processes ends them all where one of them has ended.
_PATIENCE = timedelta(days=30)
# Encoding is told as this share of a training.
_ENCODING = 0.05


def check(config: Training) -> Weights:
    """Raise :class:`~void_server.api.errors.InputError` for what can be known to be wrong before anything is done."""
    if store.folder_of(config).resolve() == config.out.resolve():
        raise SettingError(f"data.encoded is the folder out, {config.out}; leave it out, or choose another.")
    weights = find("" if config.model.start == BASE else config.model.start)
    learner.check(config, weights)
    beginning.check_settings(config)
    return weights


def train(config: Training, report: Report, kind: type[Model] = Model) -> list[Path]:
    """Train, or go on; the files that came of it, for the first of several processes only.

    ``kind`` is the class that loads the model's parts.

    Raises :class:`~void_server.api.errors.InputError` for a wrong configuration or pair, :class:`JobFailed` where the
    loss is no number any more, or the disk is full.
    """
    weights = check(config)
    device = choose_device(config.run.device)
    mixed = "bf16" if config.model.precision == "bfloat16" else "no"
    accelerator = Accelerator(
        mixed_precision=mixed,
        gradient_accumulation_steps=config.optimiser.accumulate,
        cpu=device.type == "cpu",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    if accelerator.device.type == "cuda":
        # so that a training which goes on has the very bits that it would have had
        torch.use_deterministic_algorithms(True, warn_only=True)
    with alone_in(config.out) if accelerator.is_main_process else nullcontext(True) as alone:
        if not alone:
            raise SettingError(
                f"Another training is writing into {config.out}; wait until it ends, stop it, or choose another out."
            )
        model = kind(weights, accelerator.device, precision=getattr(torch, config.model.precision))
        if accelerator.is_main_process:
            prepared = _encoded(config, model, report)
            beginning.agree(config, weights, prepared, accelerator)
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            # all is on disk by now
            report = _silent
            prepared = _prepared(config, model, report)
        scaling = float(model.vae.config.scaling_factor)
        # what was encoded with is not needed again
        model = kind(weights, accelerator.device, precision=model.precision)
        return _Training(config, accelerator, model, prepared, scaling, report).run()


def _silent(share: float, words: str) -> None:
    """The first process tells for all."""
    del share, words


def _encoded(config: Training, model: Model, report: Report) -> store.Prepared:
    """Encode what is not yet, one training after the other where several share the folder."""
    folder = store.folder_of(config)
    report(0.0, f"looking for what is encoded in {folder}")
    with alone_in(folder, waiting=lambda: report(0.0, f"waiting for the other training that encodes in {folder}")):
        # of killed processes, as nobody else is writing here now
        remove_leftovers(config.out)
        remove_leftovers(folder)
        return _prepared(config, model, report)


def _prepared(config: Training, model: Model, report: Report) -> store.Prepared:
    kept = store.Store(store.folder_of(config), config, model)
    return store.prepare(config, kept, lambda share, words: report(_ENCODING * share, words))


class _Training:
    def __init__(
        self,
        config: Training,
        accelerator: Accelerator,
        model: Model,
        prepared: store.Prepared,
        scaling: float,
        report: Report,
    ) -> None:
        self._config, self._accelerator, self._model = config, accelerator, model
        self._prepared, self._report = prepared, report
        transformer = learner.made(config, model)
        parameters = list(learner.learning(transformer).values())
        self._optimiser = optimiser(config.optimiser, config.rate, parameters)
        if plugin := accelerator.state.deepspeed_plugin:
            plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = config.run.batch
            # the published configuration lacks this, so that nothing was cut there
            plugin.deepspeed_config["gradient_clipping"] = config.optimiser.gradient_norm
        self._transformer, self._optimiser = accelerator.prepare(transformer, self._optimiser)
        self._scheduler = CogVideoXDDIMScheduler.from_config(model.scheduler_config)
        steps = int(self._scheduler.config.num_train_timesteps)
        self._course = Course(config, prepared, scaling, accelerator.num_processes, steps)
        self._scaling = scaling
        self._state = State(config.out, accelerator, self._transformer, self._optimiser)

    def run(self) -> list[Path]:
        config, steps = self._config, self._config.run.steps
        done = self._state.load()
        main = self._accelerator.is_main_process
        journal = Journal(config, self._prepared.skipped, done, writes=main)
        with journal:
            for step in range(done, steps):
                journal.note(step + 1, **self._step(step))
                self._report(_ENCODING + (1 - _ENCODING) * (step + 1) / steps, journal.words)
                if (step + 1) % config.run.save_every == 0 or step + 1 == steps:
                    self._state.save(step + 1)
                if config.run.example_every and ((step + 1) % config.run.example_every == 0 or step + 1 == steps):
                    self._show(step + 1)
                if (step + 1) % _PAGE_EVERY == 0 or step + 1 == steps:
                    journal.write_page()
        learnt = self._state.learnt
        if not main:
            return []
        name = f"{config.out.name}_{steps:06d}"
        files = learner.write_result(config, self._model.weights, learnt, config.out, name)
        journal.write_page(files)
        return files

    def _step(self, step: int) -> dict[str, float]:
        """One step of the optimiser; what to note of it. Raises :class:`JobFailed` where a value is no number."""
        config, accelerator = self._config, self._accelerator
        began = time.monotonic()
        losses: list[torch.Tensor] = []
        names: list[str] = []
        rate = rate_at(config, step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        norm: Any = None
        for micro in range(config.optimiser.accumulate):
            number = step * config.optimiser.accumulate + micro
            batch = self._course.batch(number, accelerator.process_index)
            names += batch.names
            with accelerator.accumulate(self._transformer):
                with accelerator.autocast():
                    loss = loss_of(
                        self._transformer,
                        self._model.weights.transformer_config,
                        self._scheduler,
                        batch,
                        accelerator.device,
                        self._model.dtype,
                    )
                accelerator.backward(loss)
                losses.append(loss.detach())
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(
                        learner.learning(self._transformer).values(), config.optimiser.gradient_norm
                    )
                    mean = float(accelerator.gather(torch.stack(losses)).mean())
                    self._check_finite(step, mean, float(norm or 0.0), names)
                self._optimiser.step()
                self._optimiser.zero_grad()
        return {"loss": mean, "norm": float(norm or 0.0), "rate": rate, "seconds": time.monotonic() - began}

    def _check_finite(self, step: int, loss: float, norm: float, names: list[str]) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        what = "The loss" if not math.isfinite(loss) else "The gradient"
        raise JobFailed(
            f"{what} of step {step + 1} is no number any more, with {', '.join(dict.fromkeys(names))}; look at that "
            f"pair, or train into another out with a lower optimiser.rate. {self._config.out} keeps the last state."
        )

    def _show(self, step: int) -> None:
        model = learner.Learning(self._model, self._accelerator.unwrap_model(self._transformer))
        for clip, item in self._prepared.examples:
            picture = examples.made(self._config, model, clip, item, self._prepared.nothing, self._scaling)
            if self._accelerator.is_main_process:
                examples.write(self._config.out, step, clip, picture)
