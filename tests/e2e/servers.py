"""What runs in the pods: python3 servers.py ADDRESS... Every address answers for itself.

    8080 TCP  HTTP: / says the address, /big sends the file $BIG, anything is taken by PUT, whose sha256 is the answer
    8081 TCP  sends back what it gets
    53 UDP    DNS: the A record of any name is the address (of IPv6: its last byte, as 192.0.2.x)
    9000 UDP  sends back what it gets
"""

import asyncio
import hashlib
import ipaddress
import os
import socket
import struct
import sys


async def http(reader, writer, me):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, path, _ = head.split(b"\r\n", 1)[0].split(b" ")
            lower = head.lower()
            if method == b"PUT":
                length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
                if b"100-continue" in lower:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                digest = hashlib.sha256()
                while length:
                    piece = await reader.read(min(length, 1 << 18))
                    if not piece:
                        return
                    digest.update(piece)
                    length -= len(piece)
                body = digest.hexdigest().encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            elif path == b"/big":
                with open(os.environ["BIG"], "rb") as big:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % os.fstat(big.fileno()).st_size)
                    await writer.drain()
                    await asyncio.get_running_loop().sendfile(writer.transport, big)
            else:
                body = me.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            if b"connection: close" in lower:
                break
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def echo(reader, writer):
    try:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self.answer = answer

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(self.answer(data), address)


def dns(me):
    address = ipaddress.ip_address(me)
    packed = address.packed if address.version == 4 else bytes([192, 0, 2, address.packed[-1]])

    def answer(query):
        question_end = query.index(b"\0", 12) + 5
        header = query[:2] + struct.pack(">HHHHH", 0x8580, 1, 1, 0, 0)
        return header + query[12:question_end] + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + packed

    return answer


async def main(addresses):
    loop = asyncio.get_running_loop()
    for me in addresses:
        await asyncio.start_server(lambda r, w, me=me: http(r, w, me), me, 8080, backlog=4096)
        await asyncio.start_server(echo, me, 8081, backlog=4096)
        for port, answer in ((53, dns(me)), (9000, bytes)):
            family = socket.AF_INET6 if ":" in me else socket.AF_INET
            datagrams = socket.socket(family, socket.SOCK_DGRAM)
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            datagrams.bind((me, port))
            await loop.create_datagram_endpoint(lambda answer=answer: Datagrams(answer), sock=datagrams)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1:]))
