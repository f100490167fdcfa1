"""What guests say to one another in interfaces.test.ts. Plain Python: what every guest of the host's root has."""

import hashlib
import os
import socket
import struct
import sys
import time


def serve():
    """Answers each line twice at TCP port 7; tells the digest of what comes at port 9."""
    ports = [socket.socket() for _ in range(2)]
    for port, number in zip(ports, (7, 9)):
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(("", number))
        port.listen(16)
    if os.fork() == 0:
        take_much(ports[1])
    print("ready", flush=True)
    while True:
        client, _ = ports[0].accept()
        if os.fork() == 0:
            for line in client.makefile("rb"):
                client.sendall(line.strip() * 2 + b"\n")
            os._exit(0)
        client.close()


def take_much(port):
    while True:
        client, _ = port.accept()
        digest = hashlib.sha256()
        while True:
            piece = client.recv(1 << 16)
            if not piece:
                break
            digest.update(piece)
        client.sendall(digest.hexdigest().encode())
        client.close()


def ask(host, word):
    """Until an answer comes: then nothing more is lost."""
    for _ in range(60):
        try:
            with socket.create_connection((host, 7), 5) as server:
                server.sendall(word.encode() + b"\n")
                print(server.makefile().readline().strip())
                return
        except OSError as error:
            last = error
            time.sleep(0.2)
    sys.exit("no answer from %s: %s" % (host, last))


def send_much(host, count):
    data = os.urandom(int(count))
    with socket.create_connection((host, 9), 60) as server:
        server.sendall(data)
        server.shutdown(socket.SHUT_WR)
        answer = b""
        while len(answer) < 64:
            answer += server.recv(64)
    print("same" if answer.decode() == hashlib.sha256(data).hexdigest() else "other")


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(host, size):
    """ICMP echo of so many bytes, in one piece, until one comes back."""
    line = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    line.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: never in fragments
    line.settimeout(5)
    data = b"x" * int(size)
    head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1)
    head = struct.pack("!BBHHH", 8, 0, checksum(head + data), os.getpid() & 0xFFFF, 1)
    for _ in range(20):
        line.sendto(head + data, (host, 0))
        try:
            while True:
                answer, (sender, _) = line.recvfrom(65536)
                if answer[20] == 0 and answer[24:26] == head[4:6] and answer[28:] == data:
                    print("answered")
                    return
        except socket.timeout:
            pass
    sys.exit("no answer from " + host)


def flood(address, count):
    """Broadcasts as fast as it goes, for a time or for ever; what finds no place is lost."""
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    line.setblocking(False)
    sent = 0
    while int(count) == 0 or sent < int(count):
        sent += 1
        try:
            line.sendto(bytes(1000), (address, 99))
        except OSError:
            pass


globals()[sys.argv[1]](*sys.argv[2:])
