"""One table, one JSON file and one picture of what the benchmarks measured.

    report.py RESULT.json... --json OUT --svg OUT
"""
import argparse
import collections
import json
import math
import pathlib
import platform
import statistics

TRANSLATIONS = ("44", "66", "46", "64")
FLOWS = (1 << 10, 1 << 16, 1 << 20, 1 << 23)
LABELS = {1 << 10: "1k", 1 << 16: "64k", 1 << 20: "1M", 1 << 23: "8M"}
UNITS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


def nanoseconds(run):
    """Of one packet, lookup or whatever an item is; of an iteration where nothing says how many it has."""
    if "ns/packet" in run:
        return run["ns/packet"]
    if "items_per_second" in run:
        return 1e9 / run["items_per_second"]
    return run["cpu_time"] * UNITS[run["time_unit"]]


def load(paths):
    """Medians over the repetitions, by program and benchmark; and what the machine says of itself."""
    times, extra, context = collections.defaultdict(list), {}, {}
    for path in map(pathlib.Path, paths):
        if not path.read_text().strip():
            continue
        document = json.loads(path.read_text())
        context = document["context"]
        for run in document["benchmarks"]:
            if run.get("run_type") == "aggregate":
                continue
            if run.get("error_occurred"):
                raise SystemExit(f"{path.stem}: {run['name']}: {run['error_message']}")
            name = run["run_name"].replace("/manual_time", "")
            name = "/".join(part for part in name.split("/") if not part.startswith(("iterations:", "repeats:")))
            times[path.stem, name].append(nanoseconds(run))
            extra[name] = {k: run[k] for k in ("of_parts", "ratio", "bytes/flow", "refused", "entered") if k in run}
    medians = collections.defaultdict(dict)
    for (program, name), values in times.items():
        medians[program][name] = statistics.median(values)
    return medians, extra, context


class Table:
    def __init__(self):
        self.lines = []

    def title(self, text):
        self.lines += ["", text]

    def row(self, name, *cells):
        texts = [f"{c:10.1f}" if isinstance(c, float) else f"{'' if c is None else c:>10}" for c in cells]
        self.lines.append(f"  {name:<54}" + "".join(texts))

    def __str__(self):
        return "\n".join(self.lines)


def read_line(path, prefix=""):
    try:
        with open(path) as file:
            return next((line.split(":", 1)[-1].strip() for line in file if line.startswith(prefix)), "unknown")
    except OSError:
        return "unknown"


def machine(context):
    caches = ", ".join(f"L{c['level']}{c['type'][0].lower()} {c['size'] // 1024} KiB" for c in context["caches"])
    huge = read_line("/sys/kernel/mm/transparent_hugepage/enabled")
    return [f"{read_line('/proc/cpuinfo', 'model name')}, {context['num_cpus']} CPUs; {caches}",
            f"{platform.system()} {platform.release()}; transparent huge pages {huge}; {context['date']}"]


def floor_of(limits, translation, flows):
    """What a path cannot do without: read the headers, carry the checksums, and the lines of its flow's entry."""
    version = "ipv4" if translation[0] == "4" else "ipv6"
    width = "narrow" if translation == "44" else "wide"
    parts = [limits.get(f"parse_only/{version}"), limits.get(f"checksums_only/{version}"),
             limits.get(f"table_lines/{width}/{flows}")]
    return None if None in parts else sum(parts)


def ratio(a, b):
    return None if a is None or b is None else a / b


def put_path(table, path, limits, extra):
    def at(t, size, direction, flows):
        return path.get(f"nat{t}/established/{size}/{direction}/{flows}")

    table.title("Whole path, known flows: bytes to verdict, bursts of 32, one worker     flows:")
    table.row("", *LABELS.values())
    for t in TRANSLATIONS:
        for size in ("64B", "imix"):
            for direction in ("original", "reply", "mixed"):
                table.row(f"NAT{t} {size} {direction}", *(at(t, size, direction, n) for n in FLOWS))
    table.title("64B mixed beside the limit: parse + checksums + the table's lines of this run")
    for t in TRANSLATIONS:
        floors = [floor_of(limits, t, n) for n in FLOWS]
        table.row(f"NAT{t} limit", *floors)
        table.row(f"NAT{t} path / limit", *(f"{r:.2f}" if (r := ratio(at(t, "64B", "mixed", n), f)) else None
                                           for n, f in zip(FLOWS, floors)))
    lines = [limits.get(f"line/{how}/huge/DRAM/1073741824") for how in ("read", "write")]
    for t in TRANSLATIONS:
        small, large = (at(t, "64B", "mixed", n) for n in (1 << 10, 1 << 20))
        if None not in (small, large, *lines):
            table.row(f"NAT{t} path at 1M / (path at 1k + 2 random lines)", f"{large / (small + sum(lines)):.2f}")


def put_events(table, medians, extra):
    table.title("Whole path, other packets     flows in the table:")
    names = collections.defaultdict(dict)
    for program in ("path_new_bench", "path_mixed_bench", "path_workers_bench"):
        for name, time in medians[program].items():
            stem, _, flows = name.rpartition("/")
            names[stem][int(flows)] = time
            if "ratio" in extra[name]:
                names[stem + ", of its parts alone"][int(flows)] = extra[name]["of_parts"]
                names[stem + ", ratio"][int(flows)] = extra[name]["ratio"]
    sizes = (1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 20)
    table.row("", "1k", "16k", "64k", "256k", "1M")
    for stem, by_flows in names.items():
        cells = [by_flows.get(n) for n in sizes]
        table.row(stem, *(f"{c:.2f}" if c is not None and stem.endswith("ratio") else c for c in cells))


def put_workers(table, workers):
    for t in ("44", "66"):
        for flows in FLOWS:
            names = ("1_worker", "2_workers", "2_workers_replies_crossed", "2_workers_replies_crossed_at_once")
            one, two, *crossed = (workers.get(f"nat{t}/shared/{n}/{flows}") for n in names)
            if one and two and all(crossed):
                table.row(f"NAT{t} {LABELS[flows]}: two workers / one; crossed replies' cost, at once", f"{one / two:.2f}",
                          *(f"{each / two:.2f}" for each in crossed))


def put_rivals(table, medians):
    table.title("Flow table against general maps, IPv4; keys are twice the flows     flows:")
    sizes = (1000, 64000, 1000000, 3350000)
    table.row("", *sizes)
    for what in ("hit", "churn"):
        rows = {"flow_table": [medians["flow_table_bench"].get(f"{what}<flow_table, ipv4>/{n}") for n in sizes]}
        for program, name in (("boost_map_bench", "boost_flat_map"), ("absl_map_bench", "absl_flat_hash_map"),
                              ("rte_hash_bench", "rte_hash")):
            rows[name] = [medians[program].get(f"{name}/{what}/{n}") for n in sizes]
        for name, cells in rows.items():
            if any(cells):
                table.row(f"{what}: {name}", *cells)
            else:
                table.row(f"{what}: {name}", "skipped: not installed")
        for name, cells in rows.items():
            if name != "flow_table" and any(cells):
                table.row(f"{what}: {name} / flow_table", *(f"{r:.2f}" if (r := ratio(c, own)) else None
                                                             for c, own in zip(cells, rows["flow_table"])))


def put_rest(table, medians):
    shown = ("limits_bench", "path_bench", "path_new_bench", "path_mixed_bench", "path_workers_bench", "boost_map_bench",
             "absl_map_bench", "rte_hash_bench")
    for program in sorted(set(medians) - set(shown)):
        table.title(f"{program.removesuffix('_bench')} (ns an item; of maglev's ring_build, a ring)")
        for name, time in medians[program].items():
            table.row(name, time)
    lookups = medians["service_bench"]
    for version in ("ipv4", "ipv6"):
        few, many = (lookups.get(f"service_lookup/{version}/{n}") for n in (10, 100000))
        if few and many:
            table.row(f"service_lookup/{version}: 100,000 services above 10", many - few)


def curve(points, x, y, style):
    path = " ".join(f"{x(n):.0f},{y(t):.0f}" for n, t in points)
    return f'<polyline fill="none" stroke-width="2" {style} points="{path}"/>'


def picture(path, limits):
    """Nanoseconds a packet over the number of flows, and under each curve its limit."""
    width, height, left, bottom = 720, 420, 50, 370
    colours = {"44": "#1f77b4", "66": "#d62728", "46": "#2ca02c", "64": "#9467bd"}
    curves = {t: [(n, path[k]) for n in FLOWS if (k := f"nat{t}/established/64B/mixed/{n}") in path]
              for t in TRANSLATIONS}
    floors = {t: [(n, f) for n in FLOWS if (f := floor_of(limits, t, n))] for t in ("44", "66")}
    top = max((t for c in [*curves.values(), *floors.values()] for _, t in c), default=100)
    top = math.ceil(top / 20) * 20
    last = max([1 << 16, *(n for c in curves.values() for n, _ in c)])

    def x(n):
        return left + 20 + (math.log2(n) - 10) / (math.log2(last) - 10) * (width - left - 170)

    def y(t):
        return bottom - t / top * (bottom - 40)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="20">ns a packet, 64-byte UDP, both directions mixed, one core; dashed: the limit</text>']
    for t in range(0, top + 1, 20):
        out += [f'<line x1="{left}" x2="{width - 130}" y1="{y(t):.0f}" y2="{y(t):.0f}" stroke="#ddd"/>',
                f'<text x="{left - 8}" y="{y(t) + 4:.0f}" text-anchor="end">{t}</text>']
    for n in FLOWS:
        if n <= last:
            out.append(f'<text x="{x(n):.0f}" y="{bottom + 20}" text-anchor="middle">{LABELS[n]} flows</text>')
    ends = []
    for t in TRANSLATIONS:
        if curves[t]:
            out.append(curve(curves[t], x, y, f'stroke="{colours[t]}"'))
            ends.append((curves[t][-1][1], f"NAT{t}", colours[t]))
        if floors.get(t):
            out.append(curve(floors[t], x, y, f'stroke="{colours[t]}" stroke-dasharray="5 4"'))
            ends.append((floors[t][-1][1], f"limit {t}", colours[t]))
    above = height
    for time, text, colour in sorted(ends):
        above = min(y(time) + 4, above - 15)
        out.append(f'<text x="{x(last) + 8:.0f}" y="{above:.0f}" fill="{colour}">{text} {time:.0f}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results", nargs="+")
    parser.add_argument("--json", required=True)
    parser.add_argument("--svg", required=True)
    arguments = parser.parse_args()
    medians, extra, context = load(arguments.results)
    limits, path = medians["limits_bench"], medians["path_bench"]

    table = Table()
    table.lines += machine(context) + ["Nanoseconds a packet unless a line says otherwise; medians."]
    table.title("Limits of this machine: a cache line at random, prefetched over 32; what no path can leave out")
    for name, time in limits.items():
        table.row(name, time)
    put_path(table, path, limits, extra)
    put_events(table, medians, extra)
    put_workers(table, medians["path_workers_bench"])
    put_rivals(table, medians)
    put_rest(table, medians)
    print(table)
    pathlib.Path(arguments.json).write_text(json.dumps(
        {"machine": machine(context), "ns": medians, "more": {k: v for k, v in extra.items() if v}}, indent=1) + "\n")
    pathlib.Path(arguments.svg).write_text(picture(path, limits))


main()
