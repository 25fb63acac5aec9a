"""The networks of `zoo_speed.py` in PyTorch, and their training steps.

    python benchmarks/zoo_torch.py NAME float32|bfloat16 first|last eager|compiled CORES

Answers each line `N` on standard input with the seconds of N steps. A step before the first line
compiles.
"""

import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional

BATCH = 128
PARAMS = {  # as in tests/support/zoo.py: the same networks
    "resnet20": 269_722,
    "resnet18_cifar": 11_173_962,
    "vgg16_cifar": 14_728_266,
    "densenet_bc_40_12": 176_122,
    "mobilenet_v2_cifar": 2_236_682,
}


def conv(
    ins: int, outs: int, kernel: int = 3, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Module:
    """A convolution with symmetric padding."""
    return nn.Conv2d(
        ins,
        outs,
        kernel,
        stride,
        kernel // 2,
        groups=groups,
        bias=bias,
    )


class Basic(nn.Module):
    """He et al. 2015, figure 2; shortcut A pads with zeros, B projects."""

    def __init__(self, ins: int, outs: int, stride: int, projected: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv(ins, outs, stride=stride),
            nn.BatchNorm2d(outs),
            nn.ReLU(),
            conv(outs, outs),
            nn.BatchNorm2d(outs),
        )
        self.stride = stride
        self.missing = outs - ins
        self.project = None
        if projected and (stride > 1 or ins != outs):
            self.project = nn.Sequential(
                conv(
                    ins,
                    outs,
                    1,
                    stride,
                ),
                nn.BatchNorm2d(outs),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block."""
        residual = self.branch(x)
        if self.project is not None:
            x = self.project(x)
        elif self.missing:
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, self.missing // 2, self.missing // 2))
        return functional.relu(x + residual)


class Dense(nn.Module):
    """Huang et al. 2016: a BC layer, whose channels join those before it."""

    def __init__(self, ins: int, growth: int) -> None:
        super().__init__()
        inner = 4 * growth
        self.new = nn.Sequential(
            nn.BatchNorm2d(ins),
            nn.ReLU(),
            conv(ins, inner, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            conv(inner, growth),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer."""
        return torch.cat([x, self.new(x)], 1)


class Inverted(nn.Module):
    """Sandler et al. 2018: an inverted residual."""

    def __init__(self, ins: int, outs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = ins * expansion
        parts = []
        if expansion > 1:
            parts += [
                conv(
                    ins,
                    wide,
                    1,
                ),
                nn.BatchNorm2d(wide),
                nn.ReLU6(),
            ]
        parts += [
            conv(
                wide,
                wide,
                3,
                stride,
                wide,
            ),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
        ]
        parts += [conv(wide, outs, 1), nn.BatchNorm2d(outs)]
        self.branch = nn.Sequential(*parts)
        self.joined = stride == 1 and ins == outs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block."""
        if self.joined:
            return x + self.branch(x)
        return self.branch(x)


class Head(nn.Sequential):
    """The mean of each channel and the logits."""

    def __init__(self, features: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(features, 10),
        )


def resnet(widths: tuple[int, ...], blocks: int, projected: bool) -> nn.Module:
    """A stem, stages of basic blocks, the head."""
    parts = [conv(3, widths[0]), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    before = widths[0]
    for stage, width in enumerate(widths):
        stride = 1 if stage == 0 else 2
        for _ in range(blocks):
            parts.append(
                Basic(
                    before,
                    width,
                    stride,
                    projected,
                )
            )
            before = width
            stride = 1
    return nn.Sequential(*parts, Head(before))


def vgg16() -> nn.Module:
    """Configuration D with batch norm and one dense layer."""
    parts = []
    before = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            parts += [
                conv(
                    before,
                    width,
                    bias=True,
                ),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            before = width
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(512, 10))


def densenet_bc(growth: int = 12, layers_per_block: int = 6) -> nn.Module:
    """Forty layers: three blocks of six BC layers."""
    width = 2 * growth
    parts = [conv(3, width)]
    for block in range(3):
        if block:
            parts += [
                nn.BatchNorm2d(width),
                nn.ReLU(),
                conv(
                    width,
                    width // 2,
                    1,
                ),
                nn.AvgPool2d(2),
            ]
            width //= 2
        for _ in range(layers_per_block):
            parts.append(Dense(width, growth))
            width += growth
    return nn.Sequential(
        *parts,
        nn.BatchNorm2d(width),
        nn.ReLU(),
        Head(width),
    )


def mobilenet_v2() -> nn.Module:
    """The 32-pixel form: stem and second stage without a stride."""
    parts = [conv(3, 32), nn.BatchNorm2d(32), nn.ReLU6()]
    before = 32
    plan = (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for expansion, width, count, stride in plan:
        for _ in range(count):
            parts.append(
                Inverted(
                    before,
                    width,
                    expansion,
                    stride,
                )
            )
            before = width
            stride = 1
    return nn.Sequential(
        *parts,
        conv(
            before,
            1280,
            1,
        ),
        nn.BatchNorm2d(1280),
        nn.ReLU6(),
        Head(1280),
    )


NETWORKS = {
    "resnet20": lambda: resnet((16, 32, 64), 3, projected=False),
    "resnet18_cifar": lambda: resnet(
        (64, 128, 256, 512),
        2,
        projected=True,
    ),
    "vgg16_cifar": vgg16,
    "densenet_bc_40_12": densenet_bc,
    "mobilenet_v2_cifar": mobilenet_v2,
}


def main(name: str, precision: str, layout: str, execution: str, cores: int) -> None:
    """Take steps when asked to."""
    os.sched_setaffinity(0, range(cores))
    torch.set_num_threads(cores)
    model = NETWORKS[name]()
    assert sum(weight.numel() for weight in model.parameters()) == PARAMS[name]
    images = torch.randn(BATCH, 3, 32, 32)
    labels = torch.randint(0, 10, (BATCH,))
    if layout == "last":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    forward = torch.compile(model) if execution == "compiled" else model

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(
            "cpu",
            torch.bfloat16,
            enabled=precision == "bfloat16",
        ):
            loss = functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()

    step()
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    name, precision, layout, execution, cores = sys.argv[1:6]
    main(name, precision, layout, execution, int(cores))
