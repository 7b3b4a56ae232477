"""Installed distributions that are nothing but a folder on the path, for tests of how plugins are found."""

from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path,
    name: str,
    modules: Mapping[str, str],
    entry_points: Mapping[str, str],
    *,
    version: str = "1.0",
    metadata: str = "",
) -> None:
    """Write modules and the metadata of a distribution with rltk entry points into ``site``.

    :param modules: source by module name.
    :param entry_points: module by plugin name.
    :param metadata: further lines of METADATA.
    """
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}")
    lines = [f"{plugin} = {module}" for plugin, module in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[rltk]", *lines, ""]))
