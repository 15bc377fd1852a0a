"""Fulcrum's risks for the losses of a PyTorch model, which PyTorch differentiates:

    weigher = Weigher(fulcrum.KlRisk(lambda_=5, gamma=0.7))       # ABSGD's weights
    for x, y in loader:
        losses = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
        optimizer.zero_grad()
        weigher(losses).backward()                                # sum of p_i l_i, p without gradient
        optimizer.step()

Losses and weights are exchanged by DLPack, without a copy if they are on the CPU.
"""

import torch

from . import from_dlpack

__all__ = ["Weigher"]


class Weigher:
    """Weighs torch losses [B] by a fulcrum risk. On a GPU this copies B numbers each way."""

    def __init__(self, risk):
        self.risk = risk
        self.weights = None  # of the last batch: a torch tensor [B], float32 (float64 for such losses)

    def weigh(self, losses, indices=None, groups=None):
        """The weights p of losses [B] as a torch tensor, without gradient; indices and groups are int64 [B] or None."""
        numbers = losses.detach()
        if numbers.dtype not in (torch.float32, torch.float64):
            numbers = numbers.float()
        p = self.risk._checked_weights(_to_fulcrum(numbers), _to_fulcrum(indices), _to_fulcrum(groups))
        self.weights = torch.from_dlpack(p).to(losses.device)
        return self.weights

    def state_dict(self):
        """A copy of the risk's state as torch tensors on the CPU, for torch.save."""
        return {name: torch.from_dlpack(tensor) for name, tensor in self.risk.state_dict().items()}

    def load_state_dict(self, state):
        """Goes on from a state_dict(). Raises fulcrum.Error, and changes nothing, if a tensor is missing, unexpected or of
        another shape."""
        self.risk.load_state_dict({name: _to_fulcrum(tensor) for name, tensor in state.items()})

    def __call__(self, losses, indices=None, groups=None):
        """The sum of p_i l_i, to be differentiated."""
        return (self.weigh(losses, indices, groups) * losses).sum()


def _to_fulcrum(tensor):
    return None if tensor is None else from_dlpack(tensor.detach().cpu().contiguous())
