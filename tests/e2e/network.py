"""Network namespaces with a forwarder between them, and programs in them. Everything made here is removed at the end.

    client ns               forwarder ns                    pods ns                       far ns
    10.0.0.2/24      .1 ┌───────────────┐ .1      10.244.1.2-5/24    10.244.2.1/24   10.244.2.2/24
    fd00:a::2/64 ─ kc ──┤ tap_forwarder ├── kp ─ fd00:b::2-5/64 ──── veth ────────── fd00:c::2/64
                     ::1└───────────────┘::1     fd00:c::1/64
"""

import atexit
import contextlib
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SKIPPED = 77
WAIT = 20.0  # seconds: longer than anything that works takes
PROCESSORS = sorted(os.sched_getaffinity(0))  # of the forwarder, too
VIP_POOL = ["10.244.1.%d" % i for i in range(2, 6)]
VIP_POOL6 = ["fd00:b::%d" % i for i in range(2, 6)]


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(SKIPPED)


def need(*programs):
    """Skips where this machine cannot run the test."""
    if os.geteuid() != 0:
        skip("network namespaces need root")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        skip("there is no /dev/net/tun")
    for program in ("ip", *programs):
        if shutil.which(program) is None:
            skip(f"{program} is not installed")
    probe = f"kp{os.getpid()}"
    if why := _refusal("netns", "add", probe):
        skip(f"network namespaces cannot be created here: {why}")
    why = _refusal("-n", probe, "tuntap", "add", "dev", "t0", "mode", "tap")
    subprocess.run(["ip", "netns", "del", probe], check=True)
    if why:
        skip(f"TAP devices cannot be created here: {why}")


def _refusal(*words):
    """Why ip does not do this; empty: it has done it."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip() or f"ip ended with {done.returncode}"


def run(*command, check=True, timeout=120, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(holds, what, seconds=WAIT):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.01)


class Namespace:
    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words, check=True):
        return run("ip", "-n", self.name, *words, check=check)

    def sysctl(self, **values):
        for name, value in values.items():
            run("ip", "netns", "exec", self.name, "sysctl", "-qw", f"{name.replace('__', '.')}={value}")

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def run(self, *words, **more):
        return run(*self.command(*words), **more)

    def start(self, *words, **more):
        return subprocess.Popen(self.command(*words), **more)

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes are of the namespace."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            os_setns(there.fileno())
            try:
                yield
            finally:
                os_setns(home.fileno())

    def remove(self):
        for pid in run("ip", "netns", "pids", self.name, check=False).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "del", self.name, check=False)


def os_setns(number):
    if hasattr(os, "setns"):
        return os.setns(number, 0x40000000)  # CLONE_NEWNET
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(number, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Forwarder:
    """The program under test; its standard error is kept line by line."""

    def __init__(self, network, program, *options, ready=True):
        self.lines, self.network = [], network
        self.process = network.router.start(program, *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.banner = []
        self.has_line = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if ready:
            for line in self.process.stdout:
                self.banner.append(line.rstrip("\n"))
                if line == "ready\n":
                    break
            else:
                self.reader.join(WAIT)
                raise AssertionError(f"the forwarder did not start: {self.banner} {self.lines}")

    def _read(self):
        for line in self.process.stderr:
            with self.has_line:
                self.lines.append(line.rstrip("\n"))
                self.has_line.notify_all()

    def wait_for(self, pattern, beyond=0):
        """The first line that matches, from a number of lines on; and the number of lines up to it."""
        end = time.monotonic() + WAIT
        with self.has_line:
            at = beyond
            while True:
                for at in range(at, len(self.lines)):
                    if re.search(pattern, self.lines[at]):
                        return self.lines[at], at + 1
                at = len(self.lines)
                if not self.has_line.wait(end - time.monotonic()) and time.monotonic() > end:
                    raise AssertionError(f"no line {pattern!r} among {self.lines[beyond:]}")

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(WAIT)
        self.reader.join(WAIT)
        self.process.stdout.close()
        self.process.stderr.close()
        return status


class Network:
    """The namespaces, and a forwarder at a time between them."""

    def __init__(self, program, kuctl):
        self.program, self.kuctl_program = program, kuctl
        self.tag = f"ku{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix="kubeproxy-e2e-"))
        self.namespaces, self.processes, self.forwarder = [], [], None
        atexit.register(self.remove)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))  # so that atexit runs
        self.client, self.pods, self.far, self.router = (self._namespace(n) for n in ("c", "p", "f", "r"))
        self.control = self.folder / "control.sock"
        self.metrics = "127.0.0.1:9100"

    def _namespace(self, suffix):
        made = Namespace(f"{self.tag}{suffix}")
        self.namespaces.append(made)
        made.sysctl(net__ipv6__conf__all__accept_dad=0, net__ipv6__conf__default__accept_dad=0)
        return made

    def taps(self, pods_mtu=None):
        suffix = "" if pods_mtu is None else f",mtu={pods_mtu}"
        return [
            "--tap", f"kc@{self.client.name},10.0.0.1/24,fd00:a::1/64",
            "--tap", f"kp@{self.pods.name},10.244.1.1/24,fd00:b::1/64{suffix}",
            "--route", "10.244.2.0/24@10.244.1.2", "--route", "fd00:c::/64@fd00:b::2",
        ]

    def start(self, *options, pods_mtu=None):
        """A forwarder with control socket and metrics, and hosts behind it."""
        self.forwarder = Forwarder(self, self.program, *self.taps(pods_mtu), "--control", self.control, "--metrics",
                                   self.metrics, *options)
        self.give_addresses()
        return self.forwarder

    def give_addresses(self):
        add = lambda where, *what: where.ip(*what, check=False)
        for address in ("10.0.0.2/24", "fd00:a::2/64"):
            add(self.client, "addr", "add", address, "dev", "kc", "nodad")
        for address in (*(f"{a}/24" for a in VIP_POOL), *(f"{a}/64" for a in VIP_POOL6)):
            add(self.pods, "addr", "add", address, "dev", "kp", "nodad")
        for where, device, gateways in ((self.client, "kc", ("10.0.0.1", "fd00:a::1")),
                                        (self.pods, "kp", ("10.244.1.1", "fd00:b::1"))):
            add(where, "link", "set", device, "up")
            for gateway in gateways:
                add(where, "route", "replace", "default", "via", gateway, "dev", device)

    def add_far(self, mtu):
        """A pod behind another router, the pods' host, whose link towards it takes packets of `mtu` only."""
        self.pods.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self.pods.ip("link", "add", "vfar", "type", "veth", "peer", "name", "vpods", "netns", self.far.name)
        for where, device, ours in ((self.pods, "vfar", 1), (self.far, "vpods", 2)):
            where.ip("addr", "add", f"10.244.2.{ours}/24", "dev", device)
            where.ip("addr", "add", f"fd00:c::{ours}/64", "dev", device, "nodad", *(["noprefixroute"] if ours == 1 else []))
            where.ip("link", "set", device, "up")
        self.far.ip("route", "add", "default", "via", "10.244.2.1")
        self.far.ip("route", "add", "default", "via", "fd00:c::1")
        for route in ("10.244.2.0/24", "fd00:c::/64"):
            self.pods.ip("route", "replace", route, "dev", "vfar", "mtu", "lock", mtu)

    def serve(self, where, *addresses, big=None):
        """The servers of servers.py at these addresses."""
        script = Path(__file__).with_name("servers.py")
        server = self.remember(where.start(sys.executable, script, *addresses, stdout=subprocess.PIPE, text=True,
                                           env={**os.environ, "BIG": str(big)}))
        assert server.stdout.readline() == "ready\n", "the servers did not start"
        return server

    def remember(self, process):
        self.processes.append(process)
        return process

    def kuctl(self, line, check=True):
        return run(self.kuctl_program, "-s", self.control, *line.split(), check=check)

    def http(self, path):
        return self.router.run("curl", "-sS", "--max-time", "10", f"http://{self.metrics}{path}").stdout

    def read_metrics(self):
        values = {}
        for line in self.http("/metrics").splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values

    def stop(self, how=signal.SIGTERM):
        forwarder, self.forwarder = self.forwarder, None
        return forwarder.stop(how)

    def remove(self):
        atexit.unregister(self.remove)
        if self.forwarder is not None:
            self.forwarder.process.kill()
            self.forwarder.process.wait()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for namespace in self.namespaces:
            namespace.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


def readable(file, seconds):
    return bool(select.select([file], [], [], seconds)[0])


def slice_of(service, version, addresses):
    """An EndpointSlice of a service of the namespace shop, whose pods serve HTTP at 8080."""
    return {"kind": "EndpointSlice", "addressType": f"IPv{version}",
            "metadata": {"namespace": "shop", "name": f"{service}-{version}",
                         "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [a]} for a in addresses]}


def digest_of(file):
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
