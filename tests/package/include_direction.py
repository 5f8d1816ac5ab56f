#!/usr/bin/env python3
"""Who may include whom, and what each header must not hold.

    include_direction.py INCLUDE_DIR    checks the tree; exit status 1 and a line for each breach
    include_direction.py --self-test    makes bad trees and demands that each is refused
"""

import re
import sys
import tempfile
from pathlib import Path

# The rules, from the design: {verdict, sync} <- wire <- flow <- {service, nat} <- dataplane <- handover; control
# includes what a snapshot is made of.
# A header includes only its own folder, version.hpp and what stands here: a folder, or one header of it.
MAY_INCLUDE = {
    "verdict.hpp": [],
    "version.hpp": [],
    "sync": [],
    "wire": ["verdict.hpp", "sync"],
    "flow": ["verdict.hpp", "sync", "wire"],
    "service": ["verdict.hpp", "sync", "wire", "flow"],
    "nat": ["verdict.hpp", "sync", "wire", "flow"],
    "dataplane": ["verdict.hpp", "sync", "wire", "flow", "service", "nat"],
    "handover": ["verdict.hpp", "sync", "wire", "flow", "service", "nat", "dataplane"],
    "control": [
        "wire/address.hpp",
        "wire/address_text.hpp",
        "wire/embedded_address.hpp",
        "sync",
        # what a snapshot is made of, and where it is published
        "service/snapshot.hpp",
        "service/frontend.hpp",
        "service/frontend_index.hpp",
        "service/paged_array.hpp",
        "service/maglev.hpp",
        "service/ring_hash.hpp",
        "service/publication.hpp",
        "service/counters.hpp",
    ],
    "kubeproxy.hpp": ["verdict.hpp", "sync", "wire", "flow", "service", "nat", "dataplane"],
}
# Opt-in: nothing else brings these, they need a Boost library.
OPT_IN = re.compile(r"control/kubernetes/\w+\.hpp")
# Boost in the headers: which part, and where; beside it in OPT_IN. No other part, and no Boost elsewhere.
BOOST = {
    "boost/endian": ["wire"],
    "boost/json": [],
}
# Nothing of an operating system's network: a DPDK host compiles no socket header.
SYSTEM = re.compile(r"(sys/(socket|ioctl|uio|un)\.h|netinet/|arpa/|linux/|net/|netdb\.h|poll\.h|unistd\.h|pcap|asio)")
# Memory of a packet is reached in one file.
CASTS = re.compile(r"\breinterpret_cast\b|\bmemcpy\s*\(")
CASTS_IN = "wire/bytes.hpp"
UMBRELLA = "kubeproxy.hpp"
MAX_LINES = 300
# The version stands in macros, for a program that asks with #if; there is no other macro of ours.
VERSION_HEADER = "version.hpp"
MACROS = ["KUBEPROXY_VERSION_MAJOR", "KUBEPROXY_VERSION_MINOR", "KUBEPROXY_VERSION_PATCH"]
MACRO = re.compile(r"^[ \t]*#[ \t]*(?:define|undef)[ \t]+(\w+)[^\n]*", re.MULTILINE)
# universal-ctags and clangd index nothing in `namespace kubeproxy::inline v1_7 {`.
NAMESPACE = re.compile(r"\bnamespace\s+(kubeproxy\b[^{;=]*?)\s*[{;=](?:\s*inline\s+namespace\s+(\w+)\s*\{)?")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
COMMENT_OR_LITERAL = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)


def folder_of(header: str) -> str:
    return header.split("/")[0]


def allowed(header: str, by: list[str]) -> bool:
    return header in by or folder_of(header) in by


def own_includes(text: str) -> list[str]:
    return [name.removeprefix("kubeproxy/") for _, name in INCLUDE.findall(text) if name.startswith("kubeproxy/")]


def include_breaches(header: str, text: str, headers: set[str]) -> list[str]:
    found = []
    includes = INCLUDE.findall(text)
    if header != VERSION_HEADER and not (includes and includes[0][1].startswith("kubeproxy/")):
        found.append(f"includes no header of ours first: {VERSION_HEADER} at least, which demands C++20")
    for quote, name in includes:
        if name.startswith("kubeproxy/"):
            other = name.removeprefix("kubeproxy/")
            if quote != '"':
                found.append(f"includes <{name}>: ours are written in quotes")
            if other not in headers:
                found.append(f"includes {name}, which does not exist")
            elif folder_of(other) not in (folder_of(header), VERSION_HEADER) and not allowed(
                other, MAY_INCLUDE[folder_of(header)]
            ):
                found.append(f"must not include {name}")
            if OPT_IN.fullmatch(other) and not OPT_IN.fullmatch(header):
                found.append(f"must not include {name}, which is opt-in")
        elif quote == '"':
            found.append(f'includes "{name}": ours are written from kubeproxy/ on, others in angle brackets')
        elif name.startswith("boost/"):
            part = "/".join(Path(name).with_suffix("").parts[:2])
            is_opt_in = part == "boost/json" and OPT_IN.fullmatch(header)
            if not is_opt_in and not allowed(header, BOOST.get(part, [])):
                found.append(f"must not include {name}")
        if SYSTEM.search(name):
            found.append(f"must not include {name}, a system's network header")
    return found


def abi_namespace(version: str) -> str:
    """The namespace of everything: with another major or minor version, one that no object file of this one links."""
    numbers = dict(re.findall(r"^#define KUBEPROXY_VERSION_(MAJOR|MINOR) (\d+)$", version, re.MULTILINE))
    return f"kubeproxy {{ inline namespace v{numbers.get('MAJOR')}_{numbers.get('MINOR')}"


def name_breaches(header: str, bare: str, abi: str) -> list[str]:
    found = []
    for macro in MACRO.findall(bare):
        if header != VERSION_HEADER or macro not in MACROS:
            found.append(f"defines {macro}, which is no macro that the library promises")
    opened = []
    for name, inline in NAMESPACE.findall(bare):
        opened.append(" ".join(name.split()) + (f" {{ inline namespace {inline}" if inline else ""))
    found += [f"opens namespace {name}, not {abi}" for name in opened if name != abi]
    if header != UMBRELLA and not opened:
        found.append(f"declares nothing in {abi}")
    return found


def breaches_of(header: str, text: str, headers: set[str], abi: str) -> list[str]:
    if folder_of(header) not in MAY_INCLUDE:
        return ["is in no folder of the design"]
    found = include_breaches(header, text, headers)
    bare = COMMENT_OR_LITERAL.sub(" ", text)
    found += name_breaches(header, bare, abi)
    if header != CASTS_IN and CASTS.search(bare):
        found.append(f"casts or copies raw memory, which only {CASTS_IN} may")
    if (lines := text.count("\n")) > MAX_LINES:
        found.append(f"has {lines} lines, more than {MAX_LINES}")
    if header == UMBRELLA and re.sub(r"^[ \t]*#.*$|\s", "", bare, flags=re.MULTILINE):
        found.append("holds code, it may only include")
    return found


def cycles(texts: dict[str, str]) -> list[str]:
    found, done, way = [], set(), []

    def visit(header: str) -> None:
        if header in way:
            found.append(f"{header}: includes itself: {' -> '.join([*way[way.index(header):], header])}")
        elif header not in done and header in texts:
            way.append(header)
            for other in own_includes(texts[header]):
                visit(other)
            way.pop()
            done.add(header)

    for header in sorted(texts):
        visit(header)
    return found


def check(include_dir: Path) -> list[str]:
    root = include_dir / "kubeproxy"
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*.hpp"))}
    if not texts:
        return [f"{root} holds no header"]
    abi = abi_namespace(texts.get(VERSION_HEADER, ""))
    found = cycles(texts)
    for header, text in texts.items():
        found += [f"{header}: {breach}" for breach in breaches_of(header, text, set(texts), abi)]
    return found


VERSION = """#define KUBEPROXY_VERSION_MAJOR 1
#define KUBEPROXY_VERSION_MINOR 7
#define KUBEPROXY_VERSION_PATCH 3"""
# Stands in each header of the trees that opens no namespace.
NOTHING = "namespace kubeproxy { inline namespace v1_7 {} }"
INCLUDE_VERSION = '#include "kubeproxy/version.hpp"'
GOOD_TREE = {
    "version.hpp": VERSION,
    "verdict.hpp": INCLUDE_VERSION,
    "sync/quiescence.hpp": INCLUDE_VERSION,
    "wire/bytes.hpp": f"{INCLUDE_VERSION}\n#include <boost/endian/conversion.hpp>\nauto p = reinterpret_cast<int*>(q);",
    "wire/address.hpp": '#include "kubeproxy/verdict.hpp"',
    "flow/table.hpp": '#include "kubeproxy/wire/address.hpp"\n// no reinterpret_cast here\nauto s = "memcpy(";',
    "service/maglev.hpp": f"{INCLUDE_VERSION}\nnamespace  kubeproxy\n{{ inline  namespace v1_7 {{}} }}",
    "service/snapshot.hpp": '#include "kubeproxy/flow/table.hpp"\n#include "kubeproxy/service/maglev.hpp"',
    "nat/rewrite.hpp": '#include "kubeproxy/flow/table.hpp"',
    "dataplane/proxy.hpp": '#include "kubeproxy/nat/rewrite.hpp"\n#include "kubeproxy/service/snapshot.hpp"',
    "handover/file.hpp": '#include "kubeproxy/dataplane/proxy.hpp"',
    "control/kubernetes/reader.hpp": '#include "kubeproxy/service/snapshot.hpp"\n#include <boost/json.hpp>',
    "control/kubernetes/node.hpp": '#include "kubeproxy/control/kubernetes/reader.hpp"\n#include <boost/json.hpp>',
    "control/controller.hpp": '#include "kubeproxy/wire/address.hpp"\n#include <string>',
    "kubeproxy.hpp": '#include "kubeproxy/version.hpp"\n#include "kubeproxy/dataplane/proxy.hpp" // the core',
}
# (header, what replaces it, what the refusal must say)
BAD_HEADERS = [
    ("verdict.hpp", '#include "kubeproxy/wire/address.hpp"', "must not include kubeproxy/wire/address.hpp"),
    ("sync/quiescence.hpp", '#include "kubeproxy/verdict.hpp"', "must not include kubeproxy/verdict.hpp"),
    ("wire/address.hpp", '#include "kubeproxy/flow/table.hpp"', "must not include kubeproxy/flow/table.hpp"),
    ("flow/table.hpp", '#include "kubeproxy/service/maglev.hpp"', "must not include kubeproxy/service/maglev.hpp"),
    ("nat/rewrite.hpp", '#include "kubeproxy/service/maglev.hpp"', "must not include kubeproxy/service/maglev.hpp"),
    ("service/maglev.hpp", '  #  include "kubeproxy/nat/rewrite.hpp"', "must not include kubeproxy/nat/rewrite.hpp"),
    ("dataplane/proxy.hpp", '#include "kubeproxy/control/controller.hpp"', "must not include kubeproxy/control/controller.hpp"),
    ("dataplane/proxy.hpp", '#include "kubeproxy/handover/file.hpp"', "must not include kubeproxy/handover/file.hpp"),
    ("control/controller.hpp", '#include "kubeproxy/dataplane/proxy.hpp"', "must not include kubeproxy/dataplane/proxy.hpp"),
    ("control/controller.hpp", '#include "kubeproxy/wire/bytes.hpp"', "must not include kubeproxy/wire/bytes.hpp"),
    ("flow/table.hpp", "#include <boost/endian/conversion.hpp>", "must not include boost/endian/conversion.hpp"),
    ("control/controller.hpp", "#include <boost/json.hpp>", "must not include boost/json.hpp"),
    ("control/controller.hpp", "#include <boost/asio/ip/address.hpp>", "must not include boost/asio/ip/address.hpp"),
    ("wire/address.hpp", "", "includes no header of ours first"),
    ("wire/address.hpp", f"#include <array>\n{INCLUDE_VERSION}", "includes no header of ours first"),
    ("wire/address.hpp", "#include <arpa/inet.h>", "a system's network header"),
    ("wire/address.hpp", "#include <kubeproxy/verdict.hpp>", "in quotes"),
    ("wire/address.hpp", '#include "bytes.hpp"', "from kubeproxy/ on"),
    ("wire/address.hpp", '#include "kubeproxy/wire/gone.hpp"', "does not exist"),
    ("wire/address.hpp", "auto p = reinterpret_cast<char*>(q);", "casts or copies raw memory"),
    ("nat/rewrite.hpp", "void f() { std::memcpy(a, b, 4); }", "casts or copies raw memory"),
    ("nat/rewrite.hpp", "\n" * (MAX_LINES + 1), "more than 300"),
    ("kubeproxy.hpp", "inline int answer;", "holds code"),
    ("kubeproxy.hpp", '#include "kubeproxy/control/controller.hpp"', "must not include kubeproxy/control/controller.hpp"),
    ("kubeproxy.hpp", '#include "kubeproxy/control/kubernetes/node.hpp"', "which is opt-in"),
    ("control/controller.hpp", '#include "kubeproxy/control/kubernetes/reader.hpp"', "which is opt-in"),
    ("service/maglev.hpp", '#include "kubeproxy/service/snapshot.hpp"', "includes itself"),
    ("utils/misc.hpp", "", "in no folder of the design"),
    ("wire/address.hpp", "#define KUBEPROXY_FAST 1", "defines KUBEPROXY_FAST"),
    ("wire/address.hpp", "#define KUBEPROXY_VERSION_MAJOR 1", "defines KUBEPROXY_VERSION_MAJOR"),
    ("version.hpp", f"{VERSION}\n  # define LIKELY(x) x", "defines LIKELY"),
    ("nat/rewrite.hpp", "#ifdef A\n#else\n#undef assert\n#endif", "defines assert"),
    (
        "version.hpp",
        VERSION.replace("MINOR 7", "MINOR 8"),
        "opens namespace kubeproxy { inline namespace v1_7, not kubeproxy { inline namespace v1_8",
    ),
    ("flow/table.hpp", "namespace kubeproxy {}", "opens namespace kubeproxy, not"),
    ("flow/table.hpp", "namespace kubeproxy::detail {}", "opens namespace kubeproxy::detail, not"),
    ("flow/table.hpp", "namespace kubeproxy::inline v1_7\n{ int a; }", "opens namespace kubeproxy::inline v1_7, not"),
    ("flow/table.hpp", "namespace kubeproxy { inline namespace v1_6 {} }", "{ inline namespace v1_6, not"),
    ("flow/table.hpp", f"{NOTHING} namespace kubeproxy::v1_7 {{}}", "opens namespace kubeproxy::v1_7, not"),
    ("flow/table.hpp", "namespace other { int a; }", "declares nothing in kubeproxy { inline namespace v1_7"),
    ("flow/table.hpp", f"// {NOTHING}\nnamespace n {{}}", "declares nothing in kubeproxy { inline namespace v1_7"),
]


def refusals(tree: dict[str, str]) -> list[str]:
    with tempfile.TemporaryDirectory() as temporary:
        for header, text in tree.items():
            path = Path(temporary) / "kubeproxy" / header
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n" if header == UMBRELLA or "namespace" in text else f"{text}\n{NOTHING}\n")
        return check(Path(temporary))


def self_test() -> list[str]:
    failed = [f"the good tree is refused: {breach}" for breach in refusals(GOOD_TREE)]
    for header, text, expected in BAD_HEADERS:
        found = refusals({**GOOD_TREE, header: text})
        if not any(expected in breach for breach in found):
            failed.append(f"{header} with {text.strip()!r} is not refused with {expected!r}, but {found}")
    with tempfile.TemporaryDirectory() as empty:
        if not check(Path(empty)):
            failed.append("a tree without headers is not refused")
    return failed


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    found = self_test() if sys.argv[1] == "--self-test" else check(Path(sys.argv[1]))
    print("\n".join(found) or "no breach")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
