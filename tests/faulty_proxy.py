"""A TCP proxy on loopback that does to connections what networks do: cut, delay, corrupt, fall silent."""

import contextlib
import dataclasses
import itertools
import socket
import threading
import time

METHODS = (b"GET ", b"HEAD ", b"PUT ", b"POST ", b"DELETE ")


@dataclasses.dataclass
class Fault:
    """What is done to requests whose bytes contain `on`, to the first `times` of them.

    Attributes:
        kind: "silent" passes no request on; "lost answer" passes no answer back; "cut" closes the connection
            in the middle of the answer, "cut request" in that of the request; "corrupt" flips a bit in the
            middle of the answer, "corrupt request" in that of the request; "delay" waits for `seconds` before
            each answer.
        on: part of the request, such as b"GET /bucket/study".
        times: how many requests; None for all.
        seconds: of "delay".
        least: bytes of the body in a packet that is cut or corrupted.
        done: how often it was inflicted.
    """

    kind: str
    on: bytes = b""
    times: int | None = None
    seconds: float = 0.0
    least: int = 200
    done: int = 0


class FaultyProxy:
    """Forwards connections to `target`. Threads are daemons; `close` ends it."""

    def __init__(self, target: tuple[str, int]) -> None:
        """Listen on a free port."""
        self._target, self._faults = target, []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def inflicting(self, *faults):
        """In the block, each request meets the first of these faults that is due."""
        self._faults = faults
        try:
            yield
        finally:
            self._faults = []
            with self._lock:
                left, self._open = self._open, set()
            for connection in left:  # so that none goes on waiting for an answer
                _close(connection)

    def close(self) -> None:
        """Refuse connections from now on."""
        _close(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                with self._lock:
                    self._open |= {client, server}
                met: list[Fault] = []  # the fault of the request under way
                for ends, forward in (((client, server), self._request), ((server, client), self._answer)):
                    threading.Thread(target=self._pump, args=(*ends, forward, met), daemon=True).start()

    def _pump(self, source, sink, forward, met) -> None:
        with contextlib.suppress(OSError):
            while packet := source.recv(2**16):
                forward(packet, source, sink, met)
        _close(source)
        _close(sink)

    def _request(self, packet, source, sink, met) -> None:
        if packet.startswith(METHODS):
            due = (each for each in self._faults if each.on in packet and each.done != each.times)
            met[:] = itertools.islice(due, 1)
        if met and met[0].kind in ("cut request", "corrupt request") and self._due(met[0], packet):
            packet = self._spoilt(met[0], packet, source, sink)
        if not (met and met[0].kind == "silent" and self._due(met[0], packet)):
            sink.sendall(packet)

    def _answer(self, packet, source, sink, met) -> None:
        fault = met[0] if met else None
        if fault and fault.kind == "lost answer" and self._due(fault, packet):
            return
        if fault and fault.kind == "delay" and self._due(fault, packet):
            time.sleep(fault.seconds)
        if fault and fault.kind in ("cut", "corrupt") and self._due(fault, packet):
            packet = self._spoilt(fault, packet, source, sink)
        sink.sendall(packet)

    def _due(self, fault, packet) -> bool:
        with self._lock:
            small = fault.kind in ("silent", "lost answer", "delay")
            large = small or len(packet) - _body(packet) >= fault.least
            due = large and (fault.times is None or fault.done < fault.times)
            fault.done += due
            return due

    def _spoilt(self, fault, packet, source, sink) -> bytes:
        middle = (_body(packet) + len(packet)) // 2
        if fault.kind.startswith("cut"):
            sink.sendall(packet[:middle])
            _close(source)
            raise ConnectionAbortedError
        bit = 16 if fault.kind.endswith("request") else 1  # two faults must not undo each other
        return packet[:middle] + bytes([packet[middle] ^ bit]) + packet[middle + 1 :]


def _body(packet: bytes) -> int:
    """Where the body of a request or an answer begins in a packet, which may hold all of it, or none."""
    starts = (*METHODS, b"HTTP/")
    return packet.find(b"\r\n\r\n") + 4 if packet.startswith(starts) else 0


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
