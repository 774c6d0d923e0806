"""How often one finding is told."""

A_MINUTE = 60.0


class Reminder:
    """Remembers what was told when; times in seconds of any one clock."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def due(self, kind: str, subject: str, now: float, *, pause: float = A_MINUTE) -> bool:
        """Whether to tell it now; if so, it counts as told."""
        told = self._told.get((kind, subject))
        if told is not None and now - told < pause:
            return False
        self._told[kind, subject] = now
        return True
