"""A model file as PyTorch users write it, safetensors.torch.save_file(model.state_dict()), and what the model says.

torch_model.safetensors: the state dict of Net, f32 and one i64 counter.  The description has the evaluation-mode
logits of symmetric((2, 3, 6, 6), 1, IMAGE_STREAM), in float64.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

import philox

IMAGE_STREAM = 7000


class Net(nn.Module):
    """Layers whose numbers would be misread in another order: in != out, kernel 3x2."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, (3, 2), stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.bn1(self.conv1(x))).mean(dim=(2, 3)))


def model_file() -> tuple[dict, dict]:
    torch.manual_seed(philox.SEED)
    model = Net()
    images = torch.from_numpy(philox.symmetric((2, 3, 6, 6), 1.0, IMAGE_STREAM))
    model(images)  # moves the running statistics and the counter
    exact = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        logits = exact(images.double())
    return model.state_dict(), {
        "seed": philox.SEED,
        "images": {"shape": [2, 3, 6, 6], "bound": 1.0, "stream": IMAGE_STREAM},
        "logits": logits.flatten().tolist(),
    }
