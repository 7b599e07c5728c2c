"""Who does it: a coroutine for each upstream, which puts it into one trouble after the other."""

import asyncio
import random
from collections import Counter
from typing import Final

from house import House, Process

from wire import Wire

KILL: Final = "kill"
CALM_S: Final = (0.05, 0.4)
TROUBLE_S: Final = (0.5, 2.5)
WEIGHTS: Final = {KILL: 2, "limited": 1, "slow": 2, "corrupt": 3, "cutting": 6}


class Chaos:
    """Trouble for everybody for so long.

    Attributes:
        kills: How often whom.
    """

    def __init__(self, house: House, seconds: float, seed: int) -> None:
        self._house = house
        self._seconds = seconds
        self._seed = seed
        self.kills: Counter[str] = Counter()

    async def run(self) -> Counter[str]:
        """Everybody is well again when it returns. What was done, and how often."""
        end_s = asyncio.get_running_loop().time() + self._seconds
        await asyncio.gather(*(self._trouble(one, end_s) for one in self._house.upstreams))
        return (
            sum((wire.faults for wire in self._house.wires.values()), Counter[str]()) + self.kills
        )

    async def _trouble(self, upstream: Process, end_s: float) -> None:
        """One upstream's life until then."""
        rng = random.Random(f"{self._seed}-{upstream.name}")
        wire = self._house.wires[upstream.name]
        loop = asyncio.get_running_loop()
        while (left_s := end_s - loop.time()) > 0:
            await asyncio.sleep(min(rng.uniform(*CALM_S), left_s))
            [kind] = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
            length_s = max(0.0, min(rng.uniform(*TROUBLE_S), end_s - loop.time()))
            if kind == KILL:
                await self._kill(upstream, wire, length_s)
            else:
                wire.mood = kind
                await asyncio.sleep(length_s)
                wire.mood = "fine"

    async def _kill(self, upstream: Process, wire: Wire, length_s: float) -> None:
        """Dead for so long, and then for as long as it takes to start."""
        self.kills[f"{upstream.name} killed"] += 1
        await upstream.kill()
        await wire.disconnect()
        await asyncio.sleep(length_s)
        await upstream.start()
        await wire.connect()
