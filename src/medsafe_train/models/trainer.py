"""TRL's trainers on ready tokens; SFTTrainer with logits for answers only, whose beginning can be weighed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl import DPOTrainer, SFTTrainer

from medsafe_train.models.sampling import MixedUpdates
from medsafe_train.models.soft import DECIDED, SOFT


class AnswerTrainer(SFTTrainer):
    """SFTTrainer; `compute_loss` is the place that TRL names for a loss of one's own.

    Prompt tokens carry no loss, and their logits over the vocabulary cost as much as a third of a small model's
    forward pass: they are not computed. With `first_tokens_weight` 1 the loss equals SFTTrainer's.

    Labels of SOFT and more mark tokens on which the model is to stay with its base: the loss there is KL(base ‖ model) over
    the whole vocabulary, the base being the same model without its adapter (knowledge distillation, arXiv 1503.02531). At
    labels of DECIDED + n SOFT the base's chance of every token in `declining[n]` is taken as nothing, the label's own apart, and
    its chances are sharpened by `distillation_temperature`. All other labels weigh `refusal_weight` beside these.
    """

    def __init__(
        self,
        *args: Any,
        first_tokens: int = 3,
        first_tokens_weight: float = 1.0,
        declining: Sequence[Sequence[int]] = (),
        mixed_updates: bool = False,
        distillation_temperature: float = 1.0,
        refusal_weight: float = 1.0,
        **more: Any,
    ):
        self.mixed_updates = mixed_updates
        self.declining = declining
        self.distillation_temperature = distillation_temperature
        self.refusal_weight = refusal_weight
        self.first_tokens = first_tokens
        self.first_tokens_weight = first_tokens_weight
        self._positions: torch.Tensor | None = None
        super().__init__(*args, **more)
        # A hook, not a call of the inner model: so the forward pass still goes through whatever wraps the model
        # (DDP averages gradients there), and through what a model does to its logits (soft caps, scales).
        head = self.accelerator.unwrap_model(self.model).get_base_model().get_output_embeddings()
        head.register_forward_pre_hook(self._select)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if not self.mixed_updates:
            return super()._get_train_sampler(train_dataset)
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        distilled = [next(label for label in labels if label != -100) >= SOFT for labels in rows["labels"]]
        size = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return MixedUpdates([len(ids) for ids in rows["input_ids"]], distilled, size, self.args.data_seed or 0)

    def _select(self, head: Any, inputs: tuple[Any, ...]) -> Any:
        return inputs if self._positions is None else (inputs[0][self._positions], *inputs[1:])

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean weighted loss over the tokens of answers; TRL's own where the outputs are asked for too."""
        if return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")
        targets = torch.nn.functional.pad(labels, (0, 1), value=-100)[:, 1:]
        trained = targets != -100
        logits = self._logits(model, inputs, trained)
        soft = (targets >= SOFT)[trained]
        loss = torch.nn.functional.cross_entropy(logits, targets[trained] % SOFT, reduction="none")
        if soft.any():
            loss = loss.masked_scatter(soft, self._divergence(model, inputs, targets, logits[soft]))
        weights = answer_weights(targets, self.first_tokens, self.first_tokens_weight)[trained]
        weights = torch.where(soft, weights, weights * self.refusal_weight)
        total = trained.sum() if num_items_in_batch is None else num_items_in_batch
        loss = (loss * weights).sum() / torch.as_tensor(total, device=loss.device).clamp(min=1)
        # As Trainer does: the number of items counts every process, and DDP averages over them.
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return loss

    def _logits(self, model: Any, inputs: dict[str, Any], positions: torch.Tensor) -> torch.Tensor:
        self._positions = positions
        try:
            logits: torch.Tensor = model(**inputs, use_cache=False).logits.float()
            return logits
        finally:
            self._positions = None

    def _divergence(
        self, model: Any, inputs: dict[str, Any], targets: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        soft, labels = targets >= SOFT, targets[targets >= SOFT]
        # Of padded rows only those that are distilled; packed ones are a single row, described by more than its tokens.
        if "attention_mask" in inputs:
            rows = soft.any(-1)
            inputs, soft = {name: value[rows] for name, value in inputs.items()}, soft[rows]
        # Not through DDP: a process whose rows are all refusals would leave the others waiting.
        own = self.accelerator.unwrap_model(model)
        with torch.no_grad(), own.disable_adapter():
            base = self._logits(own, inputs, soft)
        base = torch.log_softmax(self._without_declining(base, labels), dim=-1)
        return (base.exp() * (base - torch.log_softmax(logits, dim=-1))).sum(-1)

    def _without_declining(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        for number, ids in enumerate(self.declining):
            rows = (labels // SOFT == DECIDED // SOFT + number).nonzero().squeeze(-1)
            said = labels[rows] % SOFT
            # Not minus infinity, whose product with a chance of nothing is no number.
            changed = logits[rows].index_fill(-1, torch.tensor(list(ids), device=logits.device, dtype=torch.long), -1e4)
            logits[rows] = changed.scatter(-1, said.unsqueeze(-1), logits[rows, said].unsqueeze(-1))
            logits[rows] /= self.distillation_temperature
        return logits


class PairTrainer(DPOTrainer):
    """DPOTrainer on rows that hold tokens already: text is shaped in one place, and not by the trainer."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def answer_weights(labels: torch.Tensor, first_tokens: int, weight: float) -> torch.Tensor:
    """A weight for each label: `weight` for the first tokens of every answer (a run of labels that are not -100), else 1.

    `labels`: (rows, tokens); several answers may share a row.
    """
    trained = labels != -100
    before = torch.nn.functional.pad(trained, (1, 0))[:, :-1]
    count = trained.cumsum(-1)
    start = torch.where(trained & ~before, count - 1, torch.zeros_like(count)).cummax(-1).values
    first = trained & (count - start <= first_tokens)
    return torch.where(first, weight, 1.0)
