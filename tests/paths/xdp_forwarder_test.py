#!/usr/bin/env python3
"""xdp_forwarder between a client and a pod, in network namespaces: a file of 10 MiB through every translation.

    xdp_forwarder_test.py XDP_FORWARDER

    client ── veth ── forwarder ── veth ── pod

The forwarder's namespace has the gateways' addresses, so that its kernel answers ARP and neighbour solicitations; it
does not forward: what arrives has come through AF_XDP. Exit status 77 where this cannot be tried.
"""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SKIPPED = 77
SIZE = 10 << 20
MARK = f"kx{os.getpid()}"
CLIENT, FORWARDER, POD = (f"{MARK}{name}" for name in ("c", "f", "p"))

# Of one pod; the fourth service's clients get an address of the forwarder's pool.
SERVICES = """\
ku conf snat4 10.244.1.200
ku vip 10.96.0.1/32 protocol tcp port 80 target_port 8080
ku pod 10.96.0.1/32 10.244.1.2
ku vip 2001:db8:96::1/128 protocol tcp port 80 target_port 8080
ku pod 2001:db8:96::1/128 2001:db8:1::2
ku vip 10.96.0.2/32 protocol tcp port 80 target_port 8080 nat6
ku pod 10.96.0.2/32 2001:db8:1::2
ku vip 2001:db8:96::2/128 protocol tcp port 80 target_port 8080 nat4
ku pod 2001:db8:96::2/128 10.244.1.2
"""


def run(*command: str) -> str:
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def inside(namespace: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, *command]


def why_not() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("ip", "ethtool", "curl"):
        if not shutil.which(tool):
            return f"needs {tool}"
    try:
        run("ip", "netns", "add", f"{MARK}t")
        run("ip", "netns", "del", f"{MARK}t")
    except RuntimeError as wrong:
        return f"no network namespaces: {wrong}"
    return None


def join(namespace: str, name: str, gateway_name: str, addresses: list[tuple[str, str]]) -> None:
    """A link from a namespace to the forwarder's; addresses of both ends, the far one is the way to everywhere."""
    run("ip", "link", "add", name, "netns", namespace, "type", "veth", "peer", "name", gateway_name, "netns", FORWARDER)
    for where, link in ((namespace, name), (FORWARDER, gateway_name)):
        # AF_XDP does not tell of a checksum that the kernel left to the device.
        run(*inside(where, "ethtool", "-K", link, "tx", "off"))
        run(*inside(where, "sysctl", "-qw", f"net.ipv6.conf.{link}.accept_dad=0"))
        run("ip", "-n", where, "link", "set", link, "up")
    for here, gateway in addresses:
        run("ip", "-n", namespace, "address", "add", here, "dev", name)
        run("ip", "-n", FORWARDER, "address", "add", gateway, "dev", gateway_name)
        run("ip", "-n", namespace, "route", "add", "default", "via", gateway.split("/")[0])


def mac(namespace: str, link: str) -> str:
    return re.search(r"link/ether (\S+)", run("ip", "-n", namespace, "link", "show", link))[1]


def wait_for(condition, what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"no {what} after {seconds} s")
        time.sleep(0.05)


class FileThroughServices(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.processes = []
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.addClassCleanup(cls.clean_up)
        for namespace in (CLIENT, FORWARDER, POD):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        join(CLIENT, "kc0", "kf0", [("192.0.2.2/24", "192.0.2.1/24"), ("2001:db8:c::2/64", "2001:db8:c::1/64")])
        join(POD, "kp0", "kf1", [("10.244.1.2/24", "10.244.1.1/24"), ("2001:db8:1::2/64", "2001:db8:1::1/64")])
        # Answers to the pool go to the gateway as those to everywhere, though the prefix is the link's own.
        run("ip", "-n", POD, "route", "add", "10.244.1.200/32", "via", "10.244.1.1")
        cls.serve_file()
        cls.start_forwarder()

    @classmethod
    def clean_up(cls) -> None:
        for process in cls.processes:
            if process.poll() is None:
                process.terminate()
                process.wait()
        for namespace in (CLIENT, FORWARDER, POD):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)

    @classmethod
    def serve_file(cls) -> None:
        content = random.Random(7).randbytes(SIZE)
        cls.digest = hashlib.sha256(content).hexdigest()
        (cls.folder / "file").write_bytes(content)
        command = inside(POD, sys.executable, "-m", "http.server", "8080", "--bind", "::", "--directory", str(cls.folder))
        cls.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(lambda: ":8080 " in run(*inside(POD, "ss", "-Hltn")), "server")

    @classmethod
    def start_forwarder(cls) -> None:
        (cls.folder / "services.ku").write_text(SERVICES)
        to_client, to_pod = f"kf0,{mac(CLIENT, 'kc0')}", f"kf1,{mac(POD, 'kp0')}"
        routes = [f"192.0.2.0/24@{to_client}", f"2001:db8:c::/64@{to_client}"]
        routes += [f"10.244.1.0/24@{to_pod}", f"2001:db8:1::/64@{to_pod}"]
        command = [TOOL, "--interface", "kf0", "--interface", "kf1", "--config", str(cls.folder / "services.ku")]
        for route in routes:
            command += ["--route", route]
        cls.output = cls.folder / "output"
        with cls.output.open("w") as output:
            cls.forwarder = subprocess.Popen(inside(FORWARDER, *command), stdout=output, stderr=subprocess.STDOUT)
        cls.processes.append(cls.forwarder)
        said = cls.output.read_text
        wait_for(lambda: "ready" in said() or cls.forwarder.poll() is not None, "forwarder")
        if cls.forwarder.poll() is not None:
            if "AF_XDP" in said() or "XDP program" in said() or "XSK map" in said():
                print("SKIP: this kernel has no AF_XDP on veth:", said().strip())
                sys.exit(SKIPPED)
            raise RuntimeError(said())

    def fetch(self, address: str) -> None:
        result = self.folder / "fetched"
        result.unlink(missing_ok=True)
        url = f"http://{f'[{address}]' if ':' in address else address}/file"
        done = subprocess.run(
            inside(CLIENT, "curl", "-sS", "--globoff", "--max-time", "60", "-o", str(result), url),
            text=True,
            capture_output=True,
        )
        self.assertEqual(done.returncode, 0, f"{done.stderr}\n{self.output.read_text()}")
        self.assertEqual(hashlib.sha256(result.read_bytes()).hexdigest(), self.digest)

    def test_nat44(self) -> None:
        self.fetch("10.96.0.1")

    def test_nat66(self) -> None:
        self.fetch("2001:db8:96::1")

    def test_nat46(self) -> None:
        self.fetch("10.96.0.2")

    def test_nat64(self) -> None:
        self.fetch("2001:db8:96::2")

    def test_zz_ends_and_says_what_it_did(self) -> None:
        """Runs last: the names of tests are their order."""
        self.forwarder.terminate()
        self.assertEqual(self.forwarder.wait(timeout=20), 0)
        said = self.output.read_text()
        self.assertGreater(int(re.search(r"^forward (\d+)$", said, re.MULTILINE)[1]), 4 * SIZE // 65536, said)
        self.assertNotIn("xdp", run("ip", "-n", FORWARDER, "link", "show", "kf0"), "the program is gone with it")


class Refusals(unittest.TestCase):
    NAMESPACE = f"{MARK}r"

    @classmethod
    def setUpClass(cls) -> None:
        run("ip", "netns", "add", cls.NAMESPACE)
        cls.addClassCleanup(run, "ip", "netns", "del", cls.NAMESPACE)
        run("ip", "-n", cls.NAMESPACE, "link", "add", "kr0", "type", "veth", "peer", "name", "kr1")

    def refused(self, *options: str) -> str:
        done = subprocess.run(inside(self.NAMESPACE, TOOL, *options), text=True, capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_nothing_to_forward_between(self) -> None:
        self.assertIn("--interface is missing", self.refused())

    def test_interfaces_that_it_cannot_have(self) -> None:
        self.assertIn("kubeproxy9: No such device", self.refused("--interface", "kubeproxy9"))
        self.assertIn("lo: an MTU of 65536 does not fit", self.refused("--interface", "lo"))
        self.assertIn("kr0 is given twice", self.refused("--interface", "kr0", "--interface", "kr0"))

    def test_numbers_out_of_their_bounds(self) -> None:
        for option, value in (("queues", "0"), ("queues", "65"), ("flows", "63"), ("flows", "-1"), ("flows", "many")):
            with self.subTest(option=option, value=value):
                self.assertIn(f"--{option} {value}: a number from ", self.refused("--interface", "kr0", f"--{option}={value}"))

    def test_a_configuration_that_is_none(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".ku") as file:
            print("ku pod 10.96.0.1/32 10.0.0.1", file=file, flush=True)
            self.assertIn(f"{file.name}:1", self.refused("--interface", "kr0", "--config", file.name))

    def test_routes_that_are_none(self) -> None:
        for route, why in {
            "10.0.0.0/8": "is no PREFIX@INTERFACE,MAC",
            "10.0.0.0/33@kr0,02:00:00:00:00:01": "10.0.0.0/33 is no prefix",
            "10.0.0.0/8@eth9,02:00:00:00:00:01": "no --interface is eth9",
            "10.0.0.0/8@kr0,02:00:00:00:00": "is no station's MAC",
            "10.0.0.0/8@kr0,01:00:00:00:00:01": "is no station's MAC",
        }.items():
            with self.subTest(route):
                self.assertIn(why, self.refused("--interface", "kr0", "--route", route))


if __name__ == "__main__":
    TOOL = os.path.abspath(sys.argv.pop(1))
    if reason := why_not():
        print(f"SKIP: {reason}")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
