"""The CycleGAN training step in PyTorch, as its users would write it.

It is what our step is compared with: the networks, losses and updates of
`synthct_jax.model.cyclegan` with the reference's settings (LSGAN, Adam, no replay
pool), in layers of torch.nn. Parameters have the names of the reference implementation,
so that its recorded tensors load.
"""

import itertools

import torch
from torch import nn

BETAS, LEARNING_RATE = (0.5, 0.999), 2e-4
CYCLE, IDENTITY = 10.0, 5.0  # weights of these losses


class ResidualBlock(nn.Module):
    """Return x + norm(conv(relu(norm(conv(x)))))."""

    def __init__(self, width: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class Generator(nn.Module):
    """ResNet generator, as `networks.ResNetGenerator`: (n, c, h, w) -> (n, o, h, w)."""

    def __init__(self, channels_in: int, channels: int, *, width: int, blocks: int):
        super().__init__()
        layers = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels_in, width, 7, bias=False),
            *_norm_relu(width),
        ]
        for scale in (1, 2):
            narrow, wide = width * scale, width * scale * 2
            layers += [
                nn.Conv2d(narrow, wide, 3, stride=2, padding=1, bias=False),
                *_norm_relu(wide),
            ]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for scale in (4, 2):
            wide, narrow = width * scale, width * scale // 2
            layers += [
                nn.ConvTranspose2d(
                    wide, narrow, 3, 2, padding=1, output_padding=1, bias=False
                ),
                *_norm_relu(narrow),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class Discriminator(nn.Module):
    """PatchGAN discriminator, as `networks.PatchDiscriminator` with three layers."""

    def __init__(self, channels: int, *, width: int):
        super().__init__()
        layers = [nn.Conv2d(channels, width, 4, 2, padding=1), nn.LeakyReLU(0.2)]
        for scale, stride in ((1, 2), (2, 2), (4, 1)):
            narrow, wide = width * scale, width * scale * 2
            layers += [
                nn.Conv2d(narrow, wide, 4, stride, padding=1, bias=False),
                nn.InstanceNorm2d(wide),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(8 * width, 1, 4, padding=1))
        self.model = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


def _norm_relu(width: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(width), nn.ReLU()]


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class TorchCycleGan:
    """Networks, optimisers and the training step.

    Entries of `generators` and `discriminators` may be replaced by compiled networks
    with the same parameters.
    """

    def __init__(
        self, channels: int, *, width: int, blocks: int, autocast: bool = False
    ):
        self.generators = {
            "to_ct": Generator(channels, 1, width=width, blocks=blocks),
            "to_mr": Generator(1, channels, width=width, blocks=blocks),
        }
        self.discriminators = {
            "ct": Discriminator(1, width=width),
            "mr": Discriminator(channels, width=width),
        }
        self._optimisers = [
            torch.optim.Adam(_parameters(networks), LEARNING_RATE, BETAS)
            for networks in (self.generators, self.discriminators)
        ]
        self._autocast = autocast

    def step(self, mr: torch.Tensor, ct: torch.Tensor) -> dict[str, float]:
        """Update both generators, then both discriminators; return the losses."""
        for_generators, for_discriminators = self._optimisers
        for network in self.discriminators.values():
            network.requires_grad_(False)
        for_generators.zero_grad(set_to_none=True)
        with self._precision():
            terms, synthetic = self.generator_loss(mr, ct)
        sum(terms.values()).backward()
        for_generators.step()

        for network in self.discriminators.values():
            network.requires_grad_(True)
        for_discriminators.zero_grad(set_to_none=True)
        with self._precision():
            discriminator_terms = self.discriminator_loss(
                {"ct": ct, "mr": mr}, {k: v.detach() for k, v in synthetic.items()}
            )
        sum(discriminator_terms.values()).backward()
        for_discriminators.step()
        return {
            name: float(value.detach())
            for name, value in (terms | discriminator_terms).items()
        }

    def generator_loss(self, mr: torch.Tensor, ct: torch.Tensor):
        """Return the weighted loss terms and the synthetic images, by domain."""
        to_ct, to_mr = self.generators["to_ct"], self.generators["to_mr"]
        synthetic = {"ct": to_ct(mr), "mr": to_mr(ct)}
        terms = {
            f"adversarial_{domain}": _lsgan(self.discriminators[domain](image), 1.0)
            for domain, image in synthetic.items()
        }
        terms["cycle_mr"] = CYCLE * _l1(to_mr(synthetic["ct"]), mr)
        terms["cycle_ct"] = CYCLE * _l1(to_ct(synthetic["mr"]), ct)
        as_mr, as_ct = ct.expand(-1, mr.shape[1], -1, -1), mr.mean(1, keepdim=True)
        terms["identity_ct"] = IDENTITY * _l1(to_ct(as_mr), ct)
        terms["identity_mr"] = IDENTITY * _l1(to_mr(as_ct), mr)
        return terms, synthetic

    def discriminator_loss(self, real: dict, fake: dict) -> dict[str, torch.Tensor]:
        return {
            f"discriminator_{domain}": 0.5
            * (_lsgan(network(real[domain]), 1.0) + _lsgan(network(fake[domain]), 0.0))
            for domain, network in self.discriminators.items()
        }

    def _precision(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self._autocast)


def _parameters(networks: dict[str, nn.Module]):
    return itertools.chain(*(network.parameters() for network in networks.values()))


def _lsgan(scores: torch.Tensor, target: float) -> torch.Tensor:
    return (scores.float() - target).square().mean()


def _l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.float() - b).abs().mean()
