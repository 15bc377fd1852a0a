"""The arithmetic and the Markdown of cpu_bench.py.

    rows = summarise({"fulcrum": [700, 690], "torch: default": [300, 310]}, batch_size=128)
    rows["torch: default"]["fulcrum_ratio"]                 # median over rounds of Fulcrum / it within the round
    best_mode(rows)                                         # PyTorch's mode that comes closest to Fulcrum
    print(markdown(cases))                                  # what cpu_bench.py writes, one dictionary a case
"""

from turns import ratio, spread

PEERS = ["libtorch", "dlib"]
DEFAULT_MODE = "torch: default"


def is_torch_mode(name: str) -> bool:
    return name.startswith("torch: ")


def summarise(rates: dict, batch_size: int) -> dict:
    """Of each contestant's images/s in every round."""
    rows = {}
    for name, values in rates.items():
        row = spread(values)
        row["step_ms"] = 1e3 * batch_size / row["median"]
        if name != "fulcrum" and "fulcrum" in rates:
            row["fulcrum_ratio"] = ratio(rates["fulcrum"], values)
        rows[name] = row
    return rows


def best_mode(rows: dict) -> str | None:
    """PyTorch's mode with the smallest ratio of Fulcrum to it; without Fulcrum the fastest."""
    modes = [name for name in rows if is_torch_mode(name)]
    if "fulcrum" in rows:
        return min(modes, key=lambda name: rows[name]["fulcrum_ratio"], default=None)
    return max(modes, key=lambda name: rows[name]["median"], default=None)


def number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def rate(value: float | None) -> str:
    return number(value, 0 if value and value >= 100 else 1)


def line(cells: list) -> str:
    return "| " + " | ".join(cells) + " |"


def table(header: list, rows: list) -> list:
    return [line(header), "|---" * len(header) + "|", *(line(row) for row in rows)]


def summary_row(case: dict) -> list:
    rows, best = case["rows"], case["torch_best"]

    def of(name: str | None, key: str) -> float | None:
        return rows.get(name, {}).get(key)

    return [case["name"], rate(of("fulcrum", "median")), rate(of(best, "median")),
            (best or "").removeprefix("torch: "), number(of(best, "fulcrum_ratio")),
            number(of(DEFAULT_MODE, "fulcrum_ratio")), *(number(of(peer, "fulcrum_ratio")) for peer in PEERS),
            number(of("fulcrum", "peak_mb"), 0), number(of(best, "peak_mb"), 0),
            number(of("fulcrum", "first_step_s")), number(of(best, "first_step_s"))]


def markdown(cases: list) -> str:
    summary = table(["", "Fulcrum, images/s", "PyTorch's best mode, images/s", "that mode", "Fulcrum / best",
                     "/ PyTorch's default", *(f"/ {peer}" for peer in PEERS), "peak MB, Fulcrum", "best mode",
                     "first step s, Fulcrum", "best mode"], [summary_row(case) for case in cases])
    every = []
    for case in cases:
        for name, row in case["rows"].items():
            every.append([case["name"], name, rate(row["median"]), rate(row["min"]), rate(row["max"]),
                          number(row["step_ms"], 3), number(row.get("fulcrum_ratio"), 3), number(row["peak_mb"], 0),
                          number(row["first_step_s"])])
        every += [[case["name"], name, f"left out: {why}", *[""] * 6] for name, why in case["left_out"].items()]
    all_rows = table(["case", "contestant", "images/s", "min", "max", "ms a step", "Fulcrum / it", "peak MB",
                      "first step s"], every)
    return "\n".join([*summary, "", *all_rows]) + "\n"
