"""The other end of the machines' network: takes datagrams, and sends back what comes over TCP connections.

QEMU's user-mode network connects to it from this machine, on the loopback interface.
"""

import socket
import threading


class Host:
    """Serves until it is closed."""

    def __init__(self) -> None:
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.bind(("127.0.0.1", 0))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._sink, self._listener]
        for serve in (self._take, self._accept):
            threading.Thread(target=serve, daemon=True).start()

    @property
    def udp_port(self) -> int:
        return self._sink.getsockname()[1]

    @property
    def tcp_port(self) -> int:
        return self._listener.getsockname()[1]

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_) -> None:
        for one in self._open:
            one.close()

    def _take(self) -> None:
        while self._receive(self._sink) is not None:
            pass

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._echo, args=[connection], daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        while content := self._receive(connection):
            try:
                connection.sendall(content)
            except OSError:
                return

    @staticmethod
    def _receive(one: socket.socket) -> bytes | None:
        try:
            return one.recv(65536)
        except OSError:  # closed
            return None
