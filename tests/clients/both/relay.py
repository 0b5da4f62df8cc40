"""Plain LDAP in on loopback, the front door out: TLS with a client certificate, and SASL EXTERNAL in the client's place, when
it connects and after each bind of its own. For clients that have neither (smbtorture); nothing else is changed."""
import socket
import ssl
import threading

# far from what a client begins with; each is used by one bind
OWN_ID = 0x7FFF0000


def length(data):
    """How many bytes the first message of `data` has, or none when more are needed."""
    if len(data) < 2:
        return None
    if data[1] < 0x80:
        return data[1] + 2 if len(data) >= data[1] + 2 else None
    count = data[1] & 0x7F
    if len(data) < 2 + count:
        return None
    whole = int.from_bytes(data[2:2 + count], "big") + 2 + count
    return whole if len(data) >= whole else None


def operation(message):
    """The tag of a message's operation."""
    at = 2 if message[1] < 0x80 else 2 + (message[1] & 0x7F)
    return message[at + 2 + message[at + 1]]


class Connection:
    def __init__(self, client, door):
        self.client, self.door = client, door
        self.lock = threading.Lock()
        self.binds = 0

    def messages(self, source):
        data = b""
        while True:
            while (whole := length(data)) is not None:
                yield data[:whole]
                data = data[whole:]
            try:
                more = source.recv(65536)
            except OSError:
                more = b""
            if not more:
                return
            data += more

    def external(self):
        """A bind of our own, whose answer the client does not see."""
        self.binds += 1
        number = (OWN_ID + self.binds).to_bytes(4, "big")
        choice = b"\xa3\x0a\x04\x08EXTERNAL"
        bind = b"\x60" + bytes([5 + len(choice)]) + b"\x02\x01\x03\x04\x00" + choice
        body = b"\x02\x04" + number + bind
        with self.lock:
            self.door.sendall(b"\x30" + bytes([len(body)]) + body)

    def out(self):
        for message in self.messages(self.client):
            try:
                with self.lock:
                    self.door.sendall(message)
            except OSError:
                break
        self.end()

    def back(self):
        for message in self.messages(self.door):
            if operation(message) == 0x61 and message[2:6] == b"\x02\x04\x7f\xff":
                continue
            if operation(message) == 0x61:
                # before the client can go on
                self.external()
            try:
                self.client.sendall(message)
            except OSError:
                break
        self.end()

    def end(self):
        for side in (self.client, self.door):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Relay:
    """Listens on `address`, port 389, until the process ends."""

    def __init__(self, address, gateway, tls_name, authority, certificate):
        self.gateway, self.tls_name = gateway, tls_name
        self.tls = ssl.create_default_context(cafile=authority)
        self.tls.load_cert_chain(certificate + ".crt", certificate + ".key")
        self.listener = socket.create_server((address, 389))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            try:
                door = self.tls.wrap_socket(socket.create_connection((self.gateway, 636), 10), server_hostname=self.tls_name)
            except OSError:
                client.close()
                continue
            door.settimeout(None)
            connection = Connection(client, door)
            connection.external()
            for way in (connection.out, connection.back):
                threading.Thread(target=way, daemon=True).start()
