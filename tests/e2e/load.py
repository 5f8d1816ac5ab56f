"""Clients that go on until they are told to stop, and remember what failed."""

import collections
import socket
import threading
import time


class Load:
    """Threads that make short connections to an address and ask for `/`; each answer says which pod it is of."""

    def __init__(self, where, address, port=80, threads=4, pause=0.0):
        self.where, self.address, self.port, self.pause = where, address, port, pause
        self.failures, self.answers = [], collections.Counter()
        self.lock, self.ends = threading.Lock(), threading.Event()
        self.log = []  # (when it began, pod)
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _work(self):
        with self.where.inside():
            while not self.ends.is_set():
                began = time.monotonic()
                try:
                    pod = get(self.address, self.port)
                except (OSError, AssertionError) as wrong:
                    with self.lock:
                        self.failures.append((began, repr(wrong)))
                    continue
                with self.lock:
                    self.answers[pod] += 1
                    self.log.append((began, pod))
                if self.pause:
                    time.sleep(self.pause)

    def count(self):
        with self.lock:
            return sum(self.answers.values())

    def stop(self):
        self.ends.set()
        for thread in self.threads:
            thread.join(20)
        return self


def get(address, port=80, timeout=10.0):
    """The body that a connection of its own is answered with, from the namespace that this thread is in."""
    with socket.create_connection((address, port), timeout) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK"), answer
    return answer.split(b"\r\n\r\n", 1)[1].decode()
