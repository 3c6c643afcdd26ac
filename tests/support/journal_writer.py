"""A process that appends to a journal until it is killed, and says what `flush` answered for.

Arguments: folder, name, frames between two flushes. Each line on standard output is a number: all
frames below it are promised to be on disk.
"""

import asyncio
import sys

from zvt_crypto.services.journal import Direction, JournalConfig, JournalWriter


async def main(folder: str, name: str, step: int) -> None:
    config = JournalConfig(flush_s=0.001, block_bytes=2_000, segment_bytes=20_000)
    async with JournalWriter(folder, config) as journal:
        number = 0
        while True:
            for _ in range(step):
                journal.append(
                    f"wss://{name}", Direction.IN, 1_000_000 + number, f"{name}-{number}".encode()
                )
                number += 1
            await journal.flush()
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
