"""The bare loop in Python: asyncio and aiohttp, 500 rows in a transaction. python3 bare.py DATABASE URL CONNECTIONS"""
import asyncio
import csv
import sqlite3
import sys

import aiohttp


async def look(session, url, email):
    async with session.get(url + "/api/v1.0/account/lookup", params={"email": email}) as found:
        if found.status == 404:
            await found.read()
            return "absent", None
        sid = (await found.json())["sid"]
    async with session.get(url + "/userinfo", params={"service_id": sid}) as shown:
        name = (await shown.json())["given_name"]
    return ("present" if name == "Ann" else "other"), sid


async def main(path, url, connections):
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous = FULL")
    rows = iter(database.execute("SELECT id, email FROM requests ORDER BY id").fetchall())
    batch = []

    def write():
        with database:
            database.executemany("UPDATE requests SET verdict = ?, sid = ? WHERE id = ?", batch)
        batch.clear()

    async def work(session):
        for number, email in rows:
            batch.append((*await look(session, url, email), number))
            if len(batch) >= 500:
                write()

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers={"authorization": "Bearer t"}) as session:
        await asyncio.gather(*(work(session) for _ in range(connections)))
    write()
    with open(path + ".csv", "w", newline="") as report:
        csv.writer(report).writerows(database.execute("SELECT id, email, verdict, sid FROM requests ORDER BY id"))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
