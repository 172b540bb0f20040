"""A web server of one image that answers after a delay, as an image archive would."""

import asyncio
import sys
from pathlib import Path


async def _serve(port: int, path: Path, delay: float) -> None:
    image = path.read_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
    answer = head.encode() + image

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(delay)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):  # the caller has gone
            writer.close()

    server = await asyncio.start_server(answer_all, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
