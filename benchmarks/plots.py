"""Plots of what was measured, as PNG files beside the figures.

matplotlib is only there with the dependency group "bench".
"""

from pathlib import Path

import matplotlib.pyplot as plt
from figures import servers, spread
from rounds import Rounds
from scenarios import SCENARIOS

plt.switch_backend("Agg")


def draw(rounds: Rounds, file: Path) -> None:
    """One picture per scenario: a panel per figure, a bar per server, the spread of its rounds as a line."""
    for name, each_rounds in rounds.items():
        names = servers(each_rounds)
        if not names:
            continue
        keys = [key for key in next(filter(None, each_rounds))[names[0]] if key != "errors"]
        size = (3.2 * len(keys), 1 + 0.4 * len(names))
        figure, panels = plt.subplots(1, len(keys), figsize=size, squeeze=False)
        for panel, key in zip(panels[0], keys, strict=True):
            spreads = [spread(each_rounds, server, key) for server in names]
            lines = [[s.middle - s.low for s in spreads], [s.high - s.middle for s in spreads]]
            colours = ["tab:orange" if server == "gateway" else "tab:gray" for server in names]
            panel.barh(names, [s.middle for s in spreads], xerr=lines, color=colours)
            panel.invert_yaxis()
            panel.set_title(key, fontsize=9)
            panel.tick_params(labelsize=7)
            if panel is not panels[0][0]:
                panel.set_yticklabels([])
        figure.suptitle(SCENARIOS[name].title, fontsize=10)
        figure.tight_layout()
        figure.savefig(file.with_name(f"{file.stem}-{name}.png"), dpi=120)
        plt.close(figure)
