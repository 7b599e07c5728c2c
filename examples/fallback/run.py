"""Three upstreams and a gateway on one machine, and two minutes in which everything goes wrong.

One upstream is a Glimt with nano, two are scripted to say the same. While many clients ask through
the gateway, the upstreams are killed and started again, slowed, limited, corrupted and cut at
random. Every answer is compared with what it is without faults. Prints a table; the last line is
JSON. The exit status is 1 where an answer was lost or wrong.

    .venv/bin/python examples/fallback/run.py [--seconds 120] [--streams 50] [--seed 1]
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos import Chaos
from clients import Outcome, crowd, reference
from house import House
from questions import Answer, Question, questions


async def learn(house: House) -> list[tuple[Question, Answer]]:
    """What the real one says to everything; the scripted ones say it too from now on."""
    pairs = [(question, await reference(house.real.url, question)) for question in questions()]
    script = {question.text: answer._asdict() for question, answer in pairs}
    house.script.write_text(json.dumps(script, ensure_ascii=False), encoding="utf-8")
    return pairs


async def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything in turn; the figures of both runs."""
    house = House(folder, arguments.seed)
    names = list(house.wires)
    try:
        say("starting a Glimt as an upstream, and the gateway")
        await house.start()
        pairs = await learn(house)
        await house.start_scripted()
        calm_s = max(2.0, arguments.seconds / 8)
        say(f"{arguments.streams} streams without faults for {calm_s:g} s")
        common = {"streams": arguments.streams, "seed": arguments.seed}
        calm = await crowd(house.gateway.url, pairs, names, seconds=calm_s, **common)
        say(f"{arguments.streams} streams with faults for {arguments.seconds:g} s")
        stormy, faults = await asyncio.gather(
            crowd(house.gateway.url, pairs, names, seconds=arguments.seconds, **common),
            Chaos(house, arguments.seconds, arguments.seed).run(),
        )
    finally:
        await house.close()
    return {"calm": figures(calm), "chaos": figures(stormy), "faults": dict(sorted(faults.items()))}


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Counts, times in seconds, and everything that should not be."""
    hows = Counter(outcome.how for outcome in outcomes)
    answered = [outcome for outcome in outcomes if outcome.how == "answered"]
    firsts = [outcome.first_s for outcome in answered if outcome.first_s is not None]
    wholes = [outcome.whole_s for outcome in answered]
    return {
        "requests": len(outcomes),
        "answered": hows["answered"],
        "resumed": sum(outcome.resumed for outcome in answered),
        "refused": hows["refused"],
        "lost": hows["lost"],
        "wrong": hows["wrong"],
        "first_s": {"p50": percentile(firsts, 50), "p99": percentile(firsts, 99)},
        "whole_s": {"p50": percentile(wholes, 50), "p99": percentile(wholes, 99)},
        "who": dict(Counter(o.who for o in answered if not o.resumed).most_common()),
        "finished": dict(Counter(o.who for o in answered if o.resumed).most_common()),
        "refusals": dict(
            Counter(
                f"{o.why}{' (JSON or a call, drawn)' if o.drawn else ''}"
                for o in outcomes
                if o.how == "refused"
            ).most_common()
        ),
        "bad": [f"{o.how}: {o.question}: {o.why}" for o in outcomes if o.how in ("lost", "wrong")],
    }


def percentile(values: Sequence[float], share: int) -> float:
    """Of at least one value; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)] if ordered else 0.0


def table(calm: dict[str, Any], chaotic: dict[str, Any]) -> list[str]:
    """Both runs, line by line."""
    lines = [f"{'':36}{'no faults':>12}{'faults':>12}{'added':>12}"]
    for name, words in (
        ("requests", "requests"),
        ("answered", "answered, word for word"),
        ("resumed", "of these gone on with elsewhere"),
        ("refused", "refused with a documented error"),
        ("lost", "lost"),
        ("wrong", "wrong"),
    ):
        lines.append(f"{words:36}{calm[name]:12}{chaotic[name]:12}")
    for name, words in (("first_s", "first output"), ("whole_s", "whole answer")):
        for rank in ("p50", "p99"):
            one, other = calm[name][rank], chaotic[name][rank]
            label = f"{words}, {rank}, s"
            lines.append(f"{label:36}{one:12.3f}{other:12.3f}{other - one:12.3f}")
    return lines


def listed(counts: dict[str, int]) -> str:
    """In a line."""
    return ", ".join(f"{name} {number}" for name, number in counts.items()) or "none"


def say(text: str) -> None:
    """Progress, beside what is measured."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long faults last")
    parser.add_argument("--streams", type=int, default=50, help="how many requests at once")
    parser.add_argument(
        "--seed", type=int, default=1, help="of every choice; times are the clock's"
    )
    parser.add_argument("--keep", type=Path, help="a folder for logs, which are thrown away else")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glimt-fallback-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(run(arguments, folder))
    calm, chaotic = found["calm"], found["chaos"]
    print("\n".join(table(calm, chaotic)))
    print("answered by:", listed(chaotic["who"]))
    print("what broke off was finished by:", listed(chaotic["finished"]))
    print("refused:", listed(chaotic["refusals"]))
    print("faults:", listed(found["faults"]))
    for line in [*calm["bad"], *chaotic["bad"]][:20]:
        print(line)
    ok = not any(run[name] for run in (calm, chaotic) for name in ("lost", "wrong"))
    added = {
        f"added_{name}_{rank}_s": round(chaotic[name + "_s"][rank] - calm[name + "_s"][rank], 4)
        for name in ("first", "whole")
        for rank in ("p50", "p99")
    }
    counts = ("requests", "answered", "resumed", "refused", "lost", "wrong")
    print(json.dumps({name: chaotic[name] for name in counts} | added | {"ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
