"""The weights of mlp policies under the names that torch's layers would give them."""

from collections.abc import Callable

from torch import Tensor

from rltk_policies.mlp import MLPPolicy


def named_layers(
    policy: MLPPolicy, of: Callable[[Tensor], Tensor | None] = Tensor.detach
) -> dict[str, Tensor]:
    """Return views by ``network.layer.kind``, counting activations as layers.

    :param of: what to look at of each parameter: itself or, say, its gradient; None leaves it out.
    """
    named = {}
    for name in ("actor", "critic"):
        network = getattr(policy, name)
        if (vector := of(network.weights)) is None:
            continue
        for index, pair in enumerate(network.layers(vector)):
            named |= {
                f"{name}.{2 * index}.{kind}": part
                for kind, part in zip(("weight", "bias"), pair, strict=True)
            }
    if policy.log_std.numel() and (log_std := of(policy.log_std)) is not None:
        named["log_std"] = log_std
    return named
