# Datagrams between sockets of this VM over 127.0.0.1, as ESP-IDF's lwIP takes them round (CONFIG_LWIP_NETIF_LOOPBACK):
# no other address can be reached, and there are no streams. A socket keeps six datagrams that nobody has fetched
# (CONFIG_LWIP_UDP_RECVMBOX_SIZE); what comes then is lost, as is what is sent to a port that nobody has.
import io, time

AF_INET = 2
SOCK_STREAM = 1
SOCK_DGRAM = 2
_bound = {}


def getaddrinfo(host, port, *_):
    if host not in ("127.0.0.1", "0.0.0.0", ""):
        raise OSError(-202)  # EAI_FAIL: there is no network
    return [(2, 1, 0, "", (host or "0.0.0.0", port))]


class socket(io.IOBase):
    def __init__(self, af=2, type=1, proto=0):
        if type != 2:
            raise OSError(93)  # EPROTONOSUPPORT
        self._port = 0
        self._wait = -1
        self._queue = []

    def bind(self, address):
        port = address[1]
        while not port:
            port = 49152 + time.ticks_us() % 16384
            if port in _bound:
                port = 0
        if port in _bound:
            raise OSError(112)  # EADDRINUSE of lwIP
        self._port = port
        _bound[port] = self

    def sendto(self, data, address):
        if address[0] != "127.0.0.1":
            raise OSError(118)  # EHOSTUNREACH of lwIP
        if not self._port:
            self.bind(("", 0))
        to = _bound.get(address[1])
        if to is not None and len(to._queue) < 6:
            to._queue.append((bytes(data), ("127.0.0.1", self._port)))
        return len(data)

    def recvfrom(self, size):
        start = time.ticks_ms()
        while not self._queue:
            if 0 <= self._wait <= time.ticks_diff(time.ticks_ms(), start):
                raise OSError(116 if self._wait else 11)  # ETIMEDOUT, EAGAIN
            time.sleep_ms(1)
        data, sender = self._queue.pop(0)
        return data[:size], sender

    def recv(self, size):
        return self.recvfrom(size)[0]

    def settimeout(self, seconds):
        self._wait = -1 if seconds is None else int(seconds * 1000)

    def setblocking(self, flag):
        self._wait = -1 if flag else 0

    def ioctl(self, request, argument):
        if request != 3:  # MP_STREAM_POLL
            return -1
        return argument & (5 if self._queue else 4)

    def close(self):
        if _bound.get(self._port) is self:
            del _bound[self._port]
